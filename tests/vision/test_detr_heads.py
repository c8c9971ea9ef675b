from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.vision.heads import Evidence, Output
from agent.vision.heads.choose import choose_head
from agent.vision.heads.end2end import EndToEndHead
from agent.vision.heads.queries import QueryHead
from agent.vision.heads.rfdetr import RfDetrHead
from agent.vision.heads.rtdetr import RtDetrHead
from agent.vision.letterbox import Letterbox, Placement, Size

INPUT: Final = Size(64, 64)
FRAME: Final = Size(100, 400)
STRETCHED: Final = Letterbox.fit(FRAME, INPUT, "stretch")

RTDETR: Final = ("images", "orig_target_sizes")


def names(count: int) -> dict[int, str]:
    return {index: f"c{index}" for index in range(count)}


def evidence(*outputs: tuple[str, tuple[int, ...]], **known: Any) -> Evidence:
    everything: dict[str, Any] = {
        "task": None,
        "class_names": None,
        "keypoint_shape": None,
        "end_to_end": False,
        "input_size": INPUT,
        "element": "float32",
        "input_names": ("images",),
        "said": {},
    }
    shown = tuple(Output(name, shape) for name, shape in outputs)
    return Evidence(outputs=shown, **(everything | known))


def finished(queries: int = 4, **known: Any) -> Evidence:
    shapes = (("labels", (1, queries)), ("boxes", (1, queries, 4)), ("scores", (1, queries)))
    return evidence(*shapes, **({"input_names": RTDETR} | known))


def logits(queries: int, classes: int, **known: Any) -> Evidence:
    return evidence(("logits", (1, queries, classes)), ("pred_boxes", (1, queries, 4)), **known)


def rfdetr(queries: int, slots: int, **known: Any) -> Evidence:
    return evidence(("dets", (1, queries, 4)), ("labels", (1, queries, slots)), **known)


def head_for(known: Evidence) -> QueryHead:
    head = choose_head(known)
    assert isinstance(head, QueryHead)
    return head


DECODER: Final = {"head": "RTDETRDecoder"}
DESCRIBED: Final = {"description": "Ultralytics rtdetr-l model trained on coco.yaml"}


@pytest.mark.parametrize(
    ("known", "classes", "normalised", "shrinking"),
    [
        (finished(), 0, False, "area"),
        (finished(class_names=names(3)), 3, False, "area"),
        (evidence(("output0", (1, 300, 6)), said=DECODER, class_names=names(80)), 80, False, "linear"),
        (evidence(("output0", (1, 300, 6)), said=DECODER, class_names=names(2)), 2, False, "linear"),
        (evidence(("output0", (1, 300, 6)), said=DESCRIBED, class_names=names(5)), 5, False, "linear"),
        (evidence(("output0", (1, 300, 84)), class_names=names(80)), 80, False, "linear"),
        (evidence(("output0", (1, 126, 84)), said=DESCRIBED, class_names=names(80)), 80, False, "linear"),
        (logits(300, 80), 0, False, "area"),
        (logits(300, 80, class_names=names(80)), 80, False, "area"),
        (logits(100, 7, said={"head": "rtdetr"}), 0, False, "area"),
        (logits(300, 91, said={"head": "dfine"}), 0, False, "area"),
        (logits(300, 91, said={"head": "rfdetr"}), 80, True, "linear"),
        (rfdetr(300, 91), 80, True, "linear"),
        (rfdetr(100, 6), 5, True, "linear"),
        (rfdetr(100, 6, class_names=names(5)), 5, True, "linear"),
        (rfdetr(100, 5, class_names=names(5)), 5, True, "linear"),
        (rfdetr(300, 91, class_names=names(90)), 90, True, "linear"),
    ],
)
def test_choose_head_tells_the_families_apart(
    known: Evidence, classes: int, normalised: bool, shrinking: str
) -> None:
    head = head_for(known)
    assert type(head) is (RfDetrHead if normalised else RtDetrHead)
    assert len(head.class_names) == classes
    assert head.feeding.placement == "stretch"
    assert head.feeding.code.colours == "rgb"
    assert (head.feeding.code.mean != (0.0, 0.0, 0.0)) is normalised
    assert head.feeding.shrinking == shrinking
    assert head.feeding.size_input == (RTDETR[1] if known.input_names == RTDETR else None)


@pytest.mark.parametrize("known", [{"class_names": names(80)}, {"class_names": names(2)}, {}])
def test_finished_boxes_of_others_are_left_to_them(known: dict[str, Any]) -> None:
    assert isinstance(choose_head(evidence(("output0", (1, 300, 6)), task="detect", **known)), EndToEndHead)


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (logits(100, 92), "say head=rtdetr or head=rfdetr"),
        (logits(300, 91), "say head=rtdetr or head=rfdetr"),
        (logits(300, 80, class_names=names(79)), "say head=rtdetr or head=rfdetr"),
        (rfdetr(300, 91, class_names=names(80)), "as many classes as its metadata names"),
        (rfdetr(300, 91, task="pose", keypoint_shape=(17, 3)), "RF-DETR's dets and labels"),
        (
            evidence(("dets", (1, 9, 4)), ("labels", (1, 9, 2)), ("keypoints", (1, 9, 2, 3))),
            "RF-DETR's dets and labels",
        ),
        (evidence(("boxes", (1, 9, 4)), input_names=RTDETR), "labels, boxes and scores is known"),
        (logits(300, 80, said={"head": "rfdetr"}, class_names=names(3)), "head=rfdetr of 3 classes"),
    ],
)
def test_choose_head_says_what_would_be_right(known: Evidence, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        choose_head(known)


def strong(*rows: tuple[float, int]) -> list[NDArray[np.float32]]:
    """RT-DETR's outputs: boxes of 10 x 20 px of the frame, 30 px from one another."""
    boxes = [[30 * n, 5, 30 * n + 10, 25] for n in range(len(rows))]
    return [
        np.array([class_id for _, class_id in rows], np.float32),
        np.array(boxes, np.float32),
        np.array([score for score, _ in rows], np.float32),
    ]


ROWS: Final = strong((0.5, 1), (0.9, 0), (0.5, 0), (0.3, 2))


@pytest.mark.parametrize(
    ("thresholds", "wanted"),
    [
        ({"confidence": 0.4}, [30, 0, 60]),
        ({"confidence": 0.5}, [30]),
        ({"confidence": 0.4, "by_class": {"class-2": 0.2}}, [30, 0, 60, 90]),
        ({"confidence": 0.4, "by_class": {"class-0": 1.01}}, [0]),
        ({"confidence": 0.4, "by_class": {"someone": 0.1}}, [30, 0, 60]),
        ({"confidence": 0.1, "max_objects": 2}, [30, 0]),
        ({"confidence": 0.1, "min_side_px": 10.1}, []),
        ({"confidence": 0.1, "min_side_px": 9.9}, [30, 0, 60, 90]),
        ({"confidence": 0.99}, []),
    ],
)
def test_thresholds_decide_what_counts(thresholds: dict[str, Any], wanted: list[int]) -> None:
    found = head_for(finished()).decode(ROWS, STRETCHED, Thresholds(**thresholds))
    assert [round(x) for x in found.boxes[:, 0].tolist()] == wanted


def test_boxes_that_overlap_stay_as_the_model_wants_them() -> None:
    labels, boxes, scores = strong((0.9, 0), (0.8, 0))
    found = head_for(finished()).decode([labels, boxes[[0, 0]], scores], STRETCHED, Thresholds())
    assert len(found) == 2


@pytest.mark.parametrize("placement", ["stretch", "centre", "corner", "crop"])
def test_finished_boxes_are_found_again_wherever_a_picture_is_laid(placement: Placement) -> None:
    letterbox = Letterbox.fit(FRAME, INPUT, placement)
    truth = np.array([[180.0, 20.0, 220.0, 70.0]])
    # The model sees them in the input and scales by the size that it was told.
    told = np.array([letterbox.shown.width_px, letterbox.shown.height_px] * 2)
    seen = letterbox.boxes_to_input(truth) / ([INPUT.width_px, INPUT.height_px] * 2) * told
    outputs = [np.zeros(1, np.float32), seen.astype(np.float32), np.ones(1, np.float32)]
    found = head_for(finished()).decode(outputs, letterbox, Thresholds())
    np.testing.assert_allclose(found.boxes, truth, atol=1e-3)


def test_no_more_pairs_of_query_and_class_count_than_there_are_queries() -> None:
    table = np.array([[4, 3, 2, -9], [1, 0, -1, -9]], np.float32)
    boxes = np.array([[0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.1, 0.1]], np.float32)
    found = head_for(rfdetr(2, 4)).decode([boxes, table], STRETCHED, Thresholds())
    assert found.class_id.tolist() == [0, 1]
    assert found.candidates == 6
    np.testing.assert_allclose(found.boxes, [[160, 40, 240, 60]] * 2, atol=1e-4)
    np.testing.assert_allclose(found.confidence, 1 / (1 + np.exp([-4.0, -3.0])), atol=1e-7)


@pytest.mark.parametrize("confidence", [0.0, 0.25, 0.5, 0.999, 1.0])
def test_logits_count_just_as_their_confidences_would(confidence: float) -> None:
    rng = np.random.default_rng(5)
    table = rng.normal(0, 3, (40, 7)).astype(np.float32)
    table[0, :3] = [-800, 90, np.log(confidence / (1 - confidence)) if 0 < confidence < 1 else 0]
    boxes = rng.uniform(0.2, 0.4, (40, 4)).astype(np.float32)
    head = head_for(logits(40, 7, said={"head": "rtdetr"}))
    found = head.decode([table, boxes], STRETCHED, Thresholds(confidence=confidence, max_objects=1000))
    sure = (1 / (1 + np.exp(-np.maximum(table.astype(np.float64), -700)))).astype(np.float32)
    passing = np.sort(sure[sure > np.float32(confidence)])[::-1]
    assert found.candidates == len(passing)
    np.testing.assert_array_equal(found.confidence, passing[:40])


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.5])
def test_confidences_that_are_none_are_an_error(value: float) -> None:
    labels, boxes, _ = strong((0.9, 0), (0.8, 1))
    with pytest.raises(TransientError, match="not within") as caught:
        head_for(finished()).decode([labels, boxes, np.array([0.1, value])], STRETCHED, Thresholds())
    assert caught.value.code == Code.MODEL


def test_logits_that_are_none_are_an_error() -> None:
    outputs = [np.ones((1, 4), np.float32), np.array([[1, np.nan, 1, 1]], np.float32)]
    with pytest.raises(TransientError, match="NaN"):
        head_for(rfdetr(1, 4)).decode(outputs, STRETCHED, Thresholds())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_boxes_that_are_no_numbers_are_an_error(value: float) -> None:
    labels, boxes, scores = strong((0.9, 0), (0.1, 1))
    boxes[1] = value
    head = head_for(finished())
    assert len(head.decode([labels, boxes, scores], STRETCHED, Thresholds())) == 1
    boxes[0, 3] = value
    with pytest.raises(TransientError, match="NaN or infinity"):
        head.decode([labels, boxes, scores], STRETCHED, Thresholds())


@pytest.mark.parametrize("label", [-1, 3, 1e9, np.nan])
def test_classes_that_the_model_does_not_have_are_an_error(label: float) -> None:
    _, boxes, scores = strong((0.9, 0))
    with pytest.raises(TransientError, match="it has 3"):
        head_for(finished(class_names=names(3))).decode(
            [np.array([label]), boxes, scores], STRETCHED, Thresholds()
        )
