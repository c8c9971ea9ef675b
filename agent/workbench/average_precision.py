"""Average precision as COCO defines it, by COCO's own library.

Source: the detection metrics at https://cocodataset.org/#detection-eval: precision made monotone, sampled at
101 recalls, overlaps 0.50 to 0.95 in steps of 0.05, at most 100 objects of a class a picture.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agent.domain.errors import Code, RefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST: Final = 100
RECALLS: Final = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class Scored:
    """One picture's answer and truth.

    `boxes` `[N, 4]` and `true_boxes` `[M, 4]`: x1, y1, x2, y2 in the same pixels. `confidence` `[N]`.
    `class_id` `[N]` and `true_class_id` `[M]`: integers. `crowd` `[M]`: bool, or None for no crowd.
    """

    boxes: NDArray[np.float64]
    confidence: NDArray[np.floating]
    class_id: NDArray[np.integer]
    true_boxes: NDArray[np.float64]
    true_class_id: NDArray[np.integer]
    crowd: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Of one class; NaN where it is nowhere in the truth.

    `recall`: the share found at an overlap of 0.5, however weak. `precision`: float64 `[101]`, at `RECALLS`,
    overlap 0.5. `best_confidence`: the threshold with the best F1 at an overlap of 0.5, and that `best_f1`.
    """

    name: str
    objects: int
    ap50: float
    ap50_95: float
    recall: float
    best_f1: float
    best_confidence: float
    precision: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """Means are over the classes that are there."""

    pictures: int
    classes: tuple[ClassFigures, ...]

    @property
    def objects(self) -> int:
        return sum(one.objects for one in self.classes)

    @property
    def map50(self) -> float:
        return self._mean([one.ap50 for one in self.classes])

    @property
    def map50_95(self) -> float:
        return self._mean([one.ap50_95 for one in self.classes])

    @property
    def recall(self) -> float:
        return self._mean([one.recall for one in self.classes])

    def _mean(self, values: list[float]) -> float:
        there = [value for value, one in zip(values, self.classes, strict=True) if one.objects]
        return float(np.mean(there)) if there else float("nan")


def need_library() -> None:
    """Before an hour of work, not after.

    Raises:
        RefusedError: the extra `eval` is not installed.
    """
    try:
        import pycocotools.cocoeval  # noqa: F401
    except ImportError as error:
        raise RefusedError(
            "evaluating needs pycocotools: install nanofleet with the extra `eval`", code=Code.MODEL
        ) from error


def evaluate(pictures: Sequence[Scored], names: Mapping[int, str]) -> Figures:
    """How good the answers are, for the classes of `names`.

    Raises:
        RefusedError: the extra `eval` is not installed.
    """
    need_library()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, answer = COCO(), COCO()
    images = [{"id": index} for index in range(len(pictures))]
    categories = [{"id": class_id, "name": name} for class_id, name in names.items()]
    truth.dataset = {"images": images, "categories": categories, "annotations": _truth(pictures)}
    answer.dataset = {"images": images, "categories": categories, "annotations": _answers(pictures)}
    # It prints what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        answer.createIndex()
        evaluation = COCOeval(truth, answer, "bbox")
        evaluation.params.catIds = list(names)
        evaluation.params.maxDets = [_MOST]
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    objects = dict.fromkeys(names, 0)
    for picture in pictures:
        for class_id in picture.true_class_id[~_crowd(picture)].tolist():
            objects[class_id] = objects.get(class_id, 0) + 1
    made = evaluation.eval
    return Figures(
        len(pictures),
        tuple(
            _of_class(name, objects[class_id], made, place)
            for place, (class_id, name) in enumerate(names.items())
        ),
    )


def _of_class(name: str, objects: int, made: Any, place: int) -> ClassFigures:
    """From the library's arrays: precision and scores [overlap, recall, class, area, most], and recall."""
    precision = made["precision"][:, :, place, 0, 0].astype(np.float64)
    scores = made["scores"][0, :, place, 0, 0].astype(np.float64)
    if not objects:
        nothing = float("nan")
        empty = np.full(len(RECALLS), np.nan)
        return ClassFigures(name, 0, nothing, nothing, nothing, nothing, nothing, empty)
    at_half = precision[0]
    f1 = 2 * at_half * RECALLS / np.maximum(at_half + RECALLS, 1e-12)
    best = int(f1.argmax())
    return ClassFigures(
        name=name,
        objects=objects,
        ap50=float(at_half.mean()),
        ap50_95=float(precision.mean()),
        recall=float(made["recall"][0, place, 0, 0]),
        best_f1=float(f1[best]),
        # Where nothing is found rightly no threshold is better than another.
        best_confidence=float(scores[best]) if f1[best] > 0 else float("nan"),
        precision=at_half,
    )


def _truth(pictures: Sequence[Scored]) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = []
    for index, picture in enumerate(pictures):
        crowd = _crowd(picture)
        for row, box in enumerate(picture.true_boxes.tolist()):
            one = _annotation(len(annotations), index, box, int(picture.true_class_id[row]))
            annotations.append({**one, "iscrowd": int(crowd[row])})
    return annotations


def _answers(pictures: Sequence[Scored]) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = []
    for index, picture in enumerate(pictures):
        for row, box in enumerate(picture.boxes.tolist()):
            one = _annotation(len(annotations), index, box, int(picture.class_id[row]))
            annotations.append({**one, "iscrowd": 0, "score": float(picture.confidence[row])})
    return annotations


def _annotation(number: int, image: int, box: list[float], class_id: int) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    return {
        "id": number + 1,  # 0 stands for "no match" in the library
        "image_id": image,
        "category_id": class_id,
        "bbox": [x1, y1, width, height],
        "area": width * height,
    }


def _crowd(picture: Scored) -> NDArray[np.bool_]:
    return np.zeros(len(picture.true_boxes), np.bool_) if picture.crowd is None else picture.crowd
