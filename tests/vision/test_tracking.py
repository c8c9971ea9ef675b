"""Who is who from frame to frame: what must hold, and how well it does on sequences whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.vision.tracking import UNTRACKED, ByteTracker, Stillness, TrackingRules
from benchmarks.identity import Identity
from benchmarks.walkers import Detector, Moment, sequence

SECOND = 1_000_000_000


def box(x: float, y: float = 0.5, side: float = 0.2) -> list[float]:
    return [x, y, x + side, y + 2 * side]


class Camera:
    """A tracker that is shown boxes, 10 frames a second."""

    def __init__(self, rules: TrackingRules | None = None) -> None:
        self.tracker = ByteTracker(rules or TrackingRules())
        self.at_ns = SECOND

    def show(
        self, *boxes: list[float], confidence: float = 0.9, class_id: int = 0, after_s: float = 0.1
    ) -> list[int]:
        self.at_ns += round(after_s * SECOND)
        count = len(boxes)
        numbers: list[int] = self.tracker.step(
            np.array(boxes, np.float64).reshape(-1, 4),
            np.full(count, confidence, np.float32),
            np.full(count, class_id, np.int32),
            at_ns=self.at_ns,
        ).tolist()
        return numbers


def test_number_comes_with_the_second_sighting_and_stays() -> None:
    camera = Camera()
    assert [camera.show(box(0.1 + 0.02 * step)) for step in range(5)] == [[UNTRACKED], [1], [1], [1], [1]]


def test_flash_of_one_frame_gets_no_number_and_uses_up_none() -> None:
    camera = Camera()
    camera.show(box(0.8))
    camera.show()
    camera.show(box(0.1))
    assert camera.show(box(0.1)) == [1]


@pytest.mark.parametrize(("confirm", "numbers"), [(1, [1, 1, 1]), (3, [0, 0, 1])])
def test_confirmation_takes_as_many_sightings_as_asked(confirm: int, numbers: list[int]) -> None:
    camera = Camera(TrackingRules(confirm=confirm))
    assert [camera.show(box(0.1))[0] for _ in range(3)] == numbers


@pytest.mark.parametrize(("away_s", "number"), [(1.9, 1), (2.1, UNTRACKED)])
def test_track_is_kept_for_seconds_whatever_the_rate(away_s: float, number: int) -> None:
    camera = Camera(TrackingRules(keep_s=2.0))
    camera.show(box(0.1))
    camera.show(box(0.1))
    camera.show(after_s=away_s / 2)
    assert camera.show(box(0.1), after_s=away_s / 2) == [number]


@pytest.mark.parametrize("period_s", [2.5, 60.0, 3600.0])
def test_who_was_in_the_frame_before_is_known_however_slow_the_camera_is(period_s: float) -> None:
    camera = Camera(TrackingRules(keep_s=2.0))
    assert [camera.show(box(0.1), after_s=period_s) for _ in range(4)] == [[UNTRACKED], [1], [1], [1]]
    camera.show(after_s=period_s)
    assert camera.show(box(0.1), after_s=period_s) == [UNTRACKED]


def test_place_is_expected_by_speed_and_real_time() -> None:
    camera = Camera()
    for step in range(10):
        camera.show(box(0.02 * step))
    for _ in range(4):
        camera.show()
    # 0.9 s later he is 0.26 on, more than his width: only who reckons with time finds him again.
    assert camera.show(box(0.18 + 0.02 * 9), after_s=0.5) == [1]


def test_weak_object_carries_a_track_on_and_begins_none() -> None:
    camera = Camera()
    assert camera.show(box(0.1), confidence=0.3) == camera.show(box(0.1), confidence=0.3) == [UNTRACKED]
    camera.show(box(0.1))
    camera.show(box(0.1))
    assert camera.show(box(0.1), confidence=0.3) == [1]
    assert camera.show(box(0.1), confidence=0.05) == [UNTRACKED]


def test_objects_of_two_classes_are_never_one() -> None:
    camera = Camera()
    camera.show(box(0.1))
    assert camera.show(box(0.1)) == [1]
    assert camera.show(box(0.1), class_id=1) == [UNTRACKED]
    assert camera.show(box(0.1), class_id=1) == [2]


def test_older_frame_is_refused_and_changes_nothing() -> None:
    camera = Camera()
    camera.show(box(0.1))
    with pytest.raises(ValueError, match="older"):
        camera.show(box(0.1), after_s=-0.05)
    assert camera.show(box(0.1)) == [1]


def test_numbers_go_on_after_those_given_before() -> None:
    tracker = ByteTracker(TrackingRules(confirm=1), given=41)
    one = np.array([box(0.1)])
    assert tracker.step(one, np.ones(1, np.float32), np.zeros(1, np.int32), at_ns=1).tolist() == [42]
    assert tracker.given == 42


def test_stillness_begins_when_an_object_has_kept_its_place_long_enough_and_ends_when_it_leaves() -> None:
    stillness = Stillness(after_s=1.0)

    def moves(x: float, at_s: float) -> bool:
        return stillness.step([1], np.array([box(x)]), round(at_s * SECOND))[0]

    assert moves(0.1, 0.0)
    assert moves(0.11, 0.9)
    assert not moves(0.09, 1.0)
    assert moves(0.3, 1.1)
    assert not moves(0.3, 2.1)
    stillness.keep_only(set())
    assert moves(0.3, 2.2)


def tracks_of(moments: list[Moment], shuffles: np.random.Generator | None = None) -> list[dict[bytes, int]]:
    """By frame: the number of each box."""
    tracker = ByteTracker(TrackingRules())
    told = []
    for moment in moments:
        order = np.arange(len(moment.boxes))
        if shuffles is not None:
            shuffles.shuffle(order)
        numbers = tracker.step(
            moment.boxes[order], moment.confidence[order], np.zeros(len(order), np.int32), at_ns=moment.at_ns
        )
        told.append(
            {moment.boxes[row].tobytes(): number for row, number in zip(order, numbers.tolist(), strict=True)}
        )
    return told


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_order_of_the_detections_means_nothing(seed: int, shuffle: int) -> None:
    moments = list(sequence(seed=seed, people=8, duration_s=4))
    assert tracks_of(moments, np.random.default_rng(shuffle)) == tracks_of(moments)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_no_two_objects_of_a_frame_share_a_number_and_no_number_returns_after_its_end(seed: int) -> None:
    tracker = ByteTracker(TrackingRules(keep_s=0.5))
    ended: set[int] = set()
    alive: frozenset[int] = frozenset()
    for moment in sequence(seed=seed, people=12, duration_s=6):
        numbers = tracker.step(
            moment.boxes, moment.confidence, np.zeros(len(moment.boxes), np.int32), at_ns=moment.at_ns
        )
        given = [number for number in numbers.tolist() if number != UNTRACKED]
        assert len(set(given)) == len(given)
        ended |= alive - tracker.alive
        alive = tracker.alive
        assert not ended & alive
        assert set(given) <= alive


def scored(seed: int, detector: Detector | None = None) -> Identity:
    tracker, identity = ByteTracker(TrackingRules()), Identity()
    for moment in sequence(seed=seed, detector=detector):
        numbers = tracker.step(
            moment.boxes, moment.confidence, np.zeros(len(moment.boxes), np.int32), at_ns=moment.at_ns
        )
        tracked: NDArray[np.bool_] = numbers != UNTRACKED
        identity.add(moment.people, moment.truth, numbers[tracked], moment.boxes[tracked])
    return identity


def test_identities_hold_with_a_tenth_missed_false_boxes_and_jitter() -> None:
    scores = [scored(seed) for seed in range(4)]
    assert np.mean([score.idf1 for score in scores]) > 0.88
    assert sum(score.switches for score in scores) < 20


def test_identities_hold_better_with_a_better_detector() -> None:
    perfect = Detector(misses=0.0, false_per_frame=0.0, noise=0.0)
    assert np.mean([scored(seed, perfect).idf1 for seed in range(4)]) > 0.93
