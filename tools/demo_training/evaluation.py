"""How well the exported detector does on scenes that it never saw, fed as the agent feeds it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from agent.adapters.cameras.conveyor import ConveyorScene
from tools.demo_training.average_precision import Scored, average_precision, pairwise_iou
from tools.demo_training.pictures import UNSEEN_OFFSET

_LEAST_CONFIDENCE, _SUPPRESSION_IOU, _MOST_OBJECTS = 0.001, 0.45, 300
_FORMATS = ((640, 480), (1280, 720))


@dataclass(frozen=True, slots=True)
class DetectorFigures:
    """`ap50`, `ap50_95`: by class, in their order. `run_ms`: median of one picture on one core."""

    scenes: int
    parts: int
    map50: float
    map50_95: float
    ap50: list[float]
    ap50_95: list[float]
    run_ms: float


def evaluate_detector(
    path: Path, *, classes: int, scenes: int, seed: int, progress: Callable[[float], None]
) -> DetectorFigures:
    """Average precision over `scenes` pictures, each of a scene of its own seed, half 4:3 and half 16:9."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    size = int(json.loads(session.get_modelmeta().custom_metadata_map["imgsz"])[0])
    scored, run_s = [], []
    for index in range(scenes):
        width, height = _FORMATS[index % 2]
        scene_seed = UNSEEN_OFFSET + seed * 10_000 + index
        scene = ConveyorScene(width_px=width, height_px=height, seed=scene_seed, shuffled=True)
        images, scale, left, top = _letterbox(scene.render(index), size)
        began = time.perf_counter()
        output = session.run(None, {"images": images})[0]
        run_s.append(time.perf_counter() - began)
        boxes, confidence, class_id = _decode(output[0])
        truth = scene.truth(index)
        boxes = (boxes - (left, top, left, top)) / scale
        boxes = np.clip(boxes, 0, (width, height, width, height))
        scored.append(Scored(boxes, confidence, class_id, truth.boxes, truth.class_id))
        progress((index + 1) / scenes)
    precision = average_precision(scored, classes=classes)
    return DetectorFigures(
        scenes=scenes,
        parts=sum(len(s.true_class_id) for s in scored),
        map50=float(precision[:, 0].mean()),
        map50_95=float(precision.mean()),
        ap50=[float(v) for v in precision[:, 0]],
        ap50_95=[float(v) for v in precision.mean(1)],
        run_ms=float(np.median(run_s) * 1000),
    )


def _letterbox(picture: NDArray[np.uint8], size: int) -> tuple[NDArray[np.float32], float, int, int]:
    """The square input, its scale, and the padding at the left and the top: centred, 114, INTER_LINEAR."""
    height, width = picture.shape[:2]
    scale = min(size / width, size / height)
    inner = (round(width * scale), round(height * scale))
    left, top = round((size - inner[0]) / 2 - 0.1), round((size - inner[1]) / 2 - 0.1)
    padded = np.full((size, size, 3), 114, np.uint8)
    small = cv2.resize(picture, inner, interpolation=cv2.INTER_LINEAR)
    padded[top : top + inner[1], left : left + inner[0]] = small
    images = np.ascontiguousarray(padded[None, ..., ::-1].transpose(0, 3, 1, 2), np.float32) / np.float32(255)
    return images, scale, left, top


def _decode(
    output: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes as x1, y1, x2, y2 in input pixels, best first, after suppression class by class."""
    confidence, class_id = output[4:].max(0), output[4:].argmax(0)
    best = np.argsort(-confidence, kind="stable")
    best = best[confidence[best] > _LEAST_CONFIDENCE]
    confidence, class_id = confidence[best], class_id[best]
    centre, half = output[:2, best].T.astype(np.float64), output[2:4, best].T / 2
    boxes = np.concatenate([centre - half, centre + half], 1)
    apart = boxes + class_id[:, None] * 1e4
    overlap = pairwise_iou(apart, apart)
    alive = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    for index in range(len(boxes)):
        if alive[index] and len(kept) < _MOST_OBJECTS:
            kept.append(index)
            alive &= overlap[index] <= _SUPPRESSION_IOU
    return boxes[kept], confidence[kept], class_id[kept]
