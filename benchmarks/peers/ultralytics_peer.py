"""Ultralytics at work: asked in JSON lines on stdin, answers in JSON lines on stdout.

Runs in `.venv-peers` and imports nothing of ours; `benchmarks.peers.peer` is who asks.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import ultralytics
from ultralytics import YOLO

CONFIDENCE, IOU, MOST = 0.25, 0.45, 300

Answer = dict[str, Any]


def predict_video(model: str, video: str, size: list[int], warm_up: int) -> Answer:
    """Frames a second of `predict(stream=True)` on a video, and the process's peak memory.

    The input is `size` exactly: with `rect` it would be the video's own shape where the file is dynamic.
    """
    results = _yolo(model).predict(
        source=video, stream=True, imgsz=size, rect=False, conf=CONFIDENCE, iou=IOU, verbose=False
    )
    ended_s = [time.perf_counter() for _ in results]
    counted = ended_s[warm_up - 1 :]
    return {"rate_hz": (len(counted) - 1) / (counted[-1] - counted[0]), "frames": len(ended_s)}


def letterbox(model: str, pictures: str, size: list[int], times: int) -> Answer:
    """Seconds that feeding one picture takes: letterbox, channels first, float, in 0..1."""
    frames = list(np.load(pictures))
    yolo = _yolo(model)
    yolo.predict(source=frames[0], imgsz=size, rect=False, verbose=False)
    feed: Callable[[list[Any]], torch.Tensor] = yolo.predictor.preprocess
    return {"seconds": [_timed(feed, [frames[index % len(frames)]]) for index in range(times)]}


def decode(model: str, output: str, size: list[int], frame: list[int], times: int) -> Answer:
    """Seconds that one output `[1, 4 + classes, anchors]` takes, from thresholds to results in the frame."""
    yolo = _yolo(model)
    picture = np.zeros((*frame, 3), np.uint8)
    yolo.predict(
        source=picture, imgsz=size, rect=False, conf=CONFIDENCE, iou=IOU, max_det=MOST, verbose=False
    )
    given, fed = torch.from_numpy(np.load(output)), torch.zeros(1, 3, *size)

    def once(raw: torch.Tensor) -> None:
        yolo.predictor.postprocess(raw, fed, [picture])

    # It writes into what it is given.
    return {"seconds": [_timed(once, given.clone()) for _ in range(times)]}


def detect(model: str, pictures: str, size: list[int]) -> Answer:
    """What is found in each picture: boxes in pixels, confidences, class ids."""
    yolo = _yolo(model)
    found = []
    for frame in np.load(pictures):
        (result,) = yolo.predict(
            source=frame, imgsz=size, rect=False, conf=CONFIDENCE, iou=IOU, max_det=MOST, verbose=False
        )
        boxes = result.boxes
        found.append(
            {
                "boxes": boxes.xyxy.double().tolist(),
                "confidence": boxes.conf.double().tolist(),
                "class_id": boxes.cls.int().tolist(),
            }
        )
    return {"found": found}


def versions() -> Answer:
    """What measured."""
    return {"ultralytics": ultralytics.__version__, "torch": torch.__version__, "opencv": cv2.__version__}


def _yolo(model: str) -> YOLO:
    return YOLO(model, task="detect")


def _timed(call: Callable[[Any], Any], argument: Any) -> float:
    began_s = time.perf_counter()
    call(argument)
    return time.perf_counter() - began_s


ASKED: dict[str, Callable[..., Answer]] = {
    each.__name__: each for each in (predict_video, letterbox, decode, detect, versions)
}


def main() -> None:
    """Answer until stdin ends. What libraries print goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        question = json.loads(line)
        answer = ASKED[question.pop("ask")](**question)
        answer["peak_mb"] = _peak_mb()
        print(json.dumps(answer), file=answers, flush=True)


def _peak_mb() -> float:
    """Source: VmHWM in proc_pid_status(5)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
