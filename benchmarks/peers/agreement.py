"""Whether our detections are Ultralytics': the same objects, and by how much they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from benchmarks.peers.peer import Peer, store_pictures
from benchmarks.subject import read_subject, shared_testdata

_MODEL: Final = "yolo11n-person.onnx"
_PICTURES: Final = ("bus.jpg", "zidane.jpg")
_CLIP: Final = "vtest.avi"
_CLIP_FRAMES: Final = 6


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest differences over all objects: of a side, and of a confidence relative to the peer's."""

    objects: int
    box_error_px: float
    confidence_error: float


def compare(peer: Peer, folder: Path, *, rewrite: str) -> Agreement | None:
    """A trained model on real pictures, here with its graph rewritten, there as exported; None without them.

    Raises:
        RuntimeError: the two find different objects.
    """
    path = shared_testdata() / "models" / _MODEL
    if not path.is_file():
        return None
    subject = read_subject(path)
    served = subject.rewritten(rewrite, folder)
    size = subject.size.height_px, subject.size.width_px
    # Groups of one size: an array holds them.
    groups = [[_read(shared_testdata() / "images" / name)] for name in _PICTURES]
    groups.append(_frames(shared_testdata() / "clips" / _CLIP))
    worst = Agreement(0, 0.0, 0.0)
    detector = served.load(threads=1)
    for number, pictures in enumerate(groups):
        theirs = peer.detect(path, store_pictures(folder / f"agreement-{number}.npy", pictures), size)
        ours, _ = zip(*(detector.detect([Look(each, Thresholds())]) for each in pictures), strict=True)
        worst = _worse(worst, [found for (found,) in ours], theirs)
    return worst


def _worse(worst: Agreement, ours: Sequence[Detections], theirs: Sequence[Detections]) -> Agreement:
    for one, other in zip(ours, theirs, strict=True):
        if one.class_id.tolist() != other.class_id.tolist():
            raise RuntimeError(f"we find {one.class_id.tolist()}, Ultralytics {other.class_id.tolist()}")
        if len(one):
            relative = np.abs(one.confidence - other.confidence) / other.confidence
            worst = Agreement(
                worst.objects + len(one),
                max(worst.box_error_px, float(np.abs(one.boxes - other.boxes).max())),
                max(worst.confidence_error, float(relative.max())),
            )
    return worst


def _read(path: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise RuntimeError(f"{path.name} is no picture")
    return np.asarray(pixels, np.uint8)


def _frames(path: Path) -> list[NDArray[np.uint8]]:
    clip = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    for _ in range(_CLIP_FRAMES):
        done, pixels = clip.read()
        if not done:
            raise RuntimeError(f"{path.name} has fewer than {_CLIP_FRAMES} frames")
        frames.append(np.asarray(pixels, np.uint8))
    clip.release()
    return frames
