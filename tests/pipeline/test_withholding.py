"""Which frames are told, and why others are not."""

from __future__ import annotations

from typing import Any

import pytest

from agent.contract.policy import Policy
from agent.pipeline.seeing import Seeing
from agent.pipeline.withholding import Cause, Withholding
from tests.pipeline.test_seeing import LEFT_HALF, frame

People = list[tuple[float, float]]


def policy(publish: dict[str, Any], **camera: Any) -> Policy:
    return Policy.model_validate({"publish": publish, "sources": {"door": {"kind": "synthetic", **camera}}})


class Node:
    """Sees frames, 10 a second, and decides about them."""

    def __init__(self, given: Policy) -> None:
        self.seeing, self.withholding = Seeing(given), Withholding(given)
        self.at_s = 1.0

    def see(
        self, *people: tuple[float, float], confidence: float = 0.9, after_s: float = 0.1
    ) -> Cause | None:
        self.at_s += after_s
        return self.withholding.why(self.seeing.see(frame(*people, at_s=self.at_s, confidence=confidence)))

    def told(self, frames: list[People]) -> list[int]:
        """Numbers of the frames that are told."""
        return [number for number, people in enumerate(frames) if self.see(*people) is None]


HERE, A_LITTLE_ON, FARTHER, ELSEWHERE = (0.3, 0.5), (0.302, 0.5), (0.33, 0.5), (0.8, 0.5)


@pytest.mark.parametrize(
    ("mode", "told"), [("always", [0, 1, 2, 3]), ("detected", [1, 2]), ("changed", [0, 1, 3])]
)
def test_mode_says_which_frames_are_told(mode: str, told: list[int]) -> None:
    assert Node(policy({"detections": mode})).told([[], [HERE], [HERE], []]) == told


def test_reasons_are_named() -> None:
    detected = Node(policy({"detections": "detected", "detections_per_s": 1}))
    assert detected.see() == "empty"
    assert [detected.see(HERE) for _ in range(3)] == [None, None, "rate"]
    changed = Node(policy({"detections": "changed"}))
    assert [changed.see(HERE), changed.see(HERE)] == [None, "unchanged"]


class TestChangedWithoutTracking:
    node = policy({"detections": "changed"}, zones={"left": {"polygon": LEFT_HALF}})

    @pytest.mark.parametrize(
        ("frames", "told"),
        [
            ([[HERE], [A_LITTLE_ON], [HERE]], [0]),  # trembles
            ([[HERE], [FARTHER], [FARTHER]], [0, 1]),
            (
                [[HERE], [HERE, ELSEWHERE], [ELSEWHERE, HERE]],
                [0, 1],
            ),  # another one; their order means nothing
            ([[HERE, ELSEWHERE], [HERE], [HERE]], [0, 1]),  # one less
            ([[(0.499, 0.5)], [(0.501, 0.5)]], [0, 1]),  # out of the zone
            ([[], [], [HERE], [], []], [0, 2, 3]),
        ],
    )
    def test_told_is_what_differs_from_the_last_told(self, frames: list[People], told: list[int]) -> None:
        assert Node(self.node).told(frames) == told

    def test_slow_walk_is_told_each_time_it_has_come_far_enough(self) -> None:
        frames = [[(0.3 + 0.002 * step, 0.5)] for step in range(20)]
        # 10 % of the width of 0.1 is 0.01 with an overlap of 0.82; with 0.012 it is 0.79.
        assert Node(policy({"detections": "changed"})).told(frames) == [0, 6, 12, 18]


class TestChangedWithTracking:
    node = policy({"detections": "changed"}, tracking={})

    def test_standing_object_is_told_when_it_comes_and_when_its_track_is_confirmed(self) -> None:
        assert Node(self.node).told([[], [HERE], [HERE], [HERE], [HERE]]) == [0, 2]

    def test_detection_that_flickers_is_told_once(self) -> None:
        frames = [[HERE], [HERE], *([[], [HERE]] * 10)]
        assert Node(self.node).told(frames) == [0, 1]

    def test_object_that_is_gone_for_a_second_is_told(self) -> None:
        assert Node(self.node).told([[HERE], [HERE], *([[]] * 12)]) == [0, 1, 11]

    def test_object_that_came_back_after_its_absence_was_told_is_told_again(self) -> None:
        frames = [[HERE], [HERE], [HERE, ELSEWHERE], [HERE, ELSEWHERE], [ELSEWHERE], [ELSEWHERE, FARTHER]]
        assert Node(self.node).told([*frames[:2], *frames[2:]])[:3] == [0, 1, 3]

    def test_overtaken_frame_is_no_change(self) -> None:
        node = Node(self.node)
        node.see(HERE)
        node.see(HERE)
        assert node.see(after_s=-0.05) == "unchanged"

    def test_weak_object_that_no_track_goes_with_is_no_change(self) -> None:
        node = Node(self.node)
        node.see()
        assert [node.see(HERE, confidence=0.3) for _ in range(3)] == ["unchanged"] * 3


class TestRate:
    def test_camera_tells_as_often_as_it_may_over_time(self) -> None:
        node = Node(policy({"detections_per_s": 2}))
        assert len(node.told([[HERE]] * 100)) == 21  # 10 s, and the burst of two at first

    def test_camera_of_just_that_rate_loses_nothing(self) -> None:
        assert len(Node(policy({"detections_per_s": 10})).told([[HERE]] * 50)) == 50

    def test_change_that_had_to_wait_is_told_as_soon_as_may_be(self) -> None:
        node = Node(policy({"detections": "changed", "detections_per_s": 1}))
        assert [node.see(HERE), node.see(ELSEWHERE)] == [None, None]
        assert [node.see(HERE), node.see(HERE), node.see(HERE, after_s=1), node.see(HERE)] == [
            "rate",
            "rate",
            None,
            "unchanged",
        ]

    def test_each_camera_has_its_own(self) -> None:
        both = {name: {"kind": "synthetic"} for name in ("door", "yard")}
        given = Policy.model_validate({"publish": {"detections_per_s": 0.1}, "sources": both})
        seeing, withholding = Seeing(given), Withholding(given)
        for source in both:
            seen = seeing.see(frame(HERE, at_s=1, source=source))  # type: ignore[arg-type]
            assert withholding.why(seen) is None


def test_first_frame_under_another_policy_is_told() -> None:
    given = policy({"detections": "changed"})
    node = Node(given)
    assert [node.see(HERE), node.see(HERE)] == [None, "unchanged"]
    node.withholding.adopt(given)
    assert node.see(HERE) is None
