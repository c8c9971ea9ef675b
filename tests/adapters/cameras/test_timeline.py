"""When a file's frames are due."""

import math

import pytest

from agent.adapters.cameras.timeline import MOST_GAP_S, Timeline


def dues(rate_hz: float, stamps: list[float]) -> list[float]:
    timeline = Timeline(rate_hz=rate_hz)
    return [round(timeline.advance(stamp), 6) for stamp in stamps]


def test_frames_are_due_by_their_stamps_from_the_first_on() -> None:
    assert dues(25, [3.0, 3.04, 3.2, 3.21]) == [0.0, 0.04, 0.2, 0.21]


def test_file_without_stamps_is_paced_by_its_rate() -> None:
    assert dues(10, [0.0, 0.0, 0.0, 0.0]) == [0.0, 0.1, 0.2, 0.3]


def test_stamp_that_goes_back_or_leaps_counts_as_the_usual_distance() -> None:
    assert dues(10, [0.0, 0.1, -5.0, -4.9, MOST_GAP_S + 1, MOST_GAP_S + 1.2]) == [
        0.0,
        0.1,
        0.2,
        0.3,
        0.4,
        0.6,
    ]


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, math.nan, math.inf, 90_000.0])
def test_nonsensical_rate_is_taken_for_25(rate_hz: float) -> None:
    assert dues(rate_hz, [0.0, 0.0]) == [0.0, 0.04]


def test_slow_motion_keeps_its_pace() -> None:
    assert dues(0.1, [0.0, 10.0, 20.0]) == [0.0, 10.0, 20.0]


def test_end_is_one_distance_after_the_last_frame() -> None:
    timeline = Timeline(rate_hz=10)
    timeline.advance(0.0)
    timeline.advance(0.1)
    assert math.isclose(timeline.end_s, 0.2)
