"""How good a model is on pictures whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agent.domain.errors import Code, RefusedError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from agent.vision.feeding import size_of
from agent.workbench.average_precision import ClassFigures, Figures, Scored, evaluate
from agent.workbench.pictures import read_one

if TYPE_CHECKING:
    from agent.adapters.onnx.detector import OnnxDetector
    from agent.domain.detections import Detections
    from agent.workbench.datasets import Dataset, Sample

LEAVE_OUT: Final = "-"
"""In place of a model's class: this class of the dataset is not evaluated."""

# The whole curve of precision over recall is wanted, so nearly everything passes.
_LEAST: Final = 0.001


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`unseen`: classes of the model that the dataset does not have; what is found of them does not count.

    `problems`: one sentence for each picture or label that was left out.
    """

    figures: Figures
    unseen: tuple[str, ...]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, None where a class is nowhere in the truth."""
        return {
            "pictures": self.figures.pictures,
            "objects": self.figures.objects,
            "map50": _plain(self.figures.map50),
            "map50_95": _plain(self.figures.map50_95),
            "recall": _plain(self.figures.recall),
            "classes": [_class_json(one) for one in self.figures.classes],
            "classes_not_in_the_dataset": list(self.unseen),
            "problems": list(self.problems),
        }


def evaluate_model(
    detector: OnnxDetector,
    dataset: Dataset,
    *,
    renamed: Mapping[str, str],
    iou: float,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Run the model over every picture.

    `renamed`: the model's name for a class that the dataset calls otherwise, or `LEAVE_OUT`. `progress` is
    told how many pictures are done.

    Raises:
        RefusedError: a class of the dataset is none of the model's, no picture could be read, or the extra
            `eval` is missing.
    """
    ids = match_classes(dataset, detector.facts.class_names, renamed=renamed)
    thresholds = Thresholds(confidence=_LEAST, iou=iou)
    scored: list[Scored] = []
    problems = list(dataset.problems)
    for done, sample in enumerate(dataset.samples, start=1):
        try:
            pixels = read_one(sample.path)
        except RefusedError as error:
            problems.append(error.message)
        else:
            (found,), _ = detector.detect([Look(pixels, thresholds)])
            true_boxes = sample.boxes_px(size_of(pixels))
            scored.append(_scored(found, sample, true_boxes, ids))
        progress(done)
    if not scored:
        raise RefusedError(f"no picture could be read; the last: {problems[-1]}", code=Code.FILE)
    seen = set(ids.values())
    names = {key: name for key, name in detector.facts.class_names.items() if key in seen}
    unseen = tuple(name for key, name in detector.facts.class_names.items() if key not in seen)
    return Evaluation(evaluate(scored, names), unseen, tuple(problems))


def match_classes(
    dataset: Dataset, model: Mapping[int, str], *, renamed: Mapping[str, str]
) -> dict[int, int]:
    """From the dataset's ids to the model's, by name; without those left out, or which never occur.

    Raises:
        RefusedError: a name that occurs is none of the model's, or `renamed` names one that is not there.
    """
    by_name = {name.strip().casefold(): key for key, name in model.items()}
    known = ", ".join(list(model.values())[:10]) + (" …" if len(model) > 10 else "")
    stray = [name for name in renamed if name not in dataset.class_names.values()]
    if stray:
        there = ", ".join(dataset.class_names.values())
        raise RefusedError(f"the dataset has no class {stray[0]!r}; it has {there}", code=Code.MODEL)
    occurring = {int(key) for sample in dataset.samples for key in np.unique(sample.class_id)}
    ids = {}
    for key, name in dataset.class_names.items():
        wanted = renamed.get(name, name)
        if wanted == LEAVE_OUT:
            continue
        found = by_name.get(wanted.strip().casefold())
        if found is not None:
            ids[key] = found
        elif key in occurring or name in renamed:
            raise RefusedError(
                f"the dataset's class {wanted!r} is none of the model's ({known}): say which with --class "
                f"{name!r}=NAME, or leave it out with --class {name!r}={LEAVE_OUT}",
                code=Code.MODEL,
            )
    if not ids:
        raise RefusedError(f"the dataset has no class of the model's ({known})", code=Code.MODEL)
    return ids


def _scored(found: Detections, sample: Sample, true_boxes: Any, ids: Mapping[int, int]) -> Scored:
    """In the model's ids, without what is left out."""
    counts = np.array([key in ids for key in sample.class_id.tolist()], np.bool_)
    mine = np.isin(found.class_id, list(ids.values()))
    return Scored(
        boxes=found.boxes[mine],
        confidence=found.confidence[mine],
        class_id=found.class_id[mine],
        true_boxes=true_boxes[counts],
        true_class_id=np.array([ids[key] for key in sample.class_id[counts].tolist()], np.int32),
        crowd=sample.crowd[counts],
    )


def _class_json(one: ClassFigures) -> dict[str, Any]:
    said = asdict(one)
    del said["precision"]
    return {key: _plain(value) for key, value in said.items()}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
