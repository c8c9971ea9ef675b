"""Single steps beside Ultralytics': feeding a picture, decoding an output, and what both find."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Feeder, Feeding
from agent.vision.heads.yolov8 import YoloV8Head
from agent.vision.letterbox import Letterbox, Size
from benchmarks.peers.peer import Peer, store_pictures
from benchmarks.subject import Subject

_TURNS: Final = 6
_TIMES: Final = 40
_CLASSES: Final = 80
_ANCHORS: Final = 8400
_CANDIDATES: Final = 100
_FRAME: Final = Size(720, 1280)


def time_feeding(
    peer: Peer, subject: Subject, pictures: Sequence[NDArray[np.uint8]], folder: Path, *, threads: int
) -> float:
    """Our time with so many threads ÷ the peer's with all, for a 720p picture into a float32 input."""
    cv2.setNumThreads(threads)
    stored = store_pictures(folder / "pictures.npy", pictures)
    size = subject.size.height_px, subject.size.width_px
    feeder = Feeder(slots=1, size=subject.size, feeding=Feeding())
    turns = cycle(pictures)
    return _ratio(
        lambda: [_timed(partial(feeder.put, 0, next(turns))) for _ in range(_TIMES)],
        lambda: peer.letterbox_s(subject.path, stored, size, times=_TIMES),
    )


def time_decoding(peer: Peer, subject: Subject, folder: Path) -> float:
    """Our time ÷ the peer's for an output `[1, 84, 8400]` with 100 candidates, both taking turns."""
    output = candidates_output()
    stored = folder / "output.npy"
    np.save(stored, output)
    head = YoloV8Head(
        class_names={index: f"c{index}" for index in range(_CLASSES)},
        keypoint_shape=None,
        output_name="output0",
    )
    size = subject.size
    letterbox, thresholds = Letterbox.fit(_FRAME, size), Thresholds()
    return _ratio(
        lambda: [_timed(lambda: head.decode([output[0]], letterbox, thresholds)) for _ in range(_TIMES)],
        lambda: peer.decode_s(
            subject.path,
            stored,
            (size.height_px, size.width_px),
            (_FRAME.height_px, _FRAME.width_px),
            times=_TIMES,
        ),
    )


def candidates_output() -> NDArray[np.float32]:
    """An output `[1, 84, 8400]` in which 100 anchors pass the threshold, some of them on the same object."""
    random = np.random.default_rng(7)
    output = np.zeros((1, 4 + _CLASSES, _ANCHORS), np.float32)
    output[0, 4:] = random.uniform(0.0, 0.2, (_CLASSES, _ANCHORS))
    output[0, :2] = random.uniform(40, 600, (2, _ANCHORS))
    output[0, 2:4] = random.uniform(10, 120, (2, _ANCHORS))
    chosen = random.choice(_ANCHORS, _CANDIDATES, replace=False)
    output[0, 4 + random.integers(0, _CLASSES, _CANDIDATES), chosen] = random.uniform(0.3, 0.95, _CANDIDATES)
    # Every second one beside the one before it, as neighbouring anchors see one object.
    output[0, :4, chosen[1::2]] = output[0, :4, chosen[::2]] + random.uniform(-2, 2, (_CANDIDATES // 2, 4))
    return output


def _ratio(ours: Callable[[], list[float]], theirs: Callable[[], list[float]]) -> float:
    """The median over turns of median ÷ median; the first turn warms both up."""
    ratios = [median(ours()) / median(theirs()) for _ in range(_TURNS + 1)]
    return median(ratios[1:])


def _timed(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s
