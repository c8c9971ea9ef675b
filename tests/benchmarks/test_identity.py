"""IDF1 and switches, on sequences that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.identity import Identity

HERE, THERE = [0.0, 0.0, 0.1, 0.2], [0.5, 0.0, 0.6, 0.2]


def scored(frames: list[tuple[dict[int, list[float]], dict[int, list[float]]]]) -> Identity:
    identity = Identity()
    for people, tracks in frames:
        identity.add(
            np.array([*people], np.int64),
            np.array([*people.values()]).reshape(-1, 4),
            np.array([*tracks], np.int64),
            np.array([*tracks.values()]).reshape(-1, 4),
        )
    return identity


def test_perfect_is_1_and_nothing_to_tell_is_perfect() -> None:
    assert scored([({1: HERE, 2: THERE}, {7: HERE, 8: THERE})] * 5).idf1 == 1.0
    assert scored([]).idf1 == 1.0


def test_track_that_breaks_in_the_middle_is_half_right() -> None:
    identity = scored([({1: HERE}, {7: HERE})] * 5 + [({1: HERE}, {8: HERE})] * 5)
    # 5 right of 10 asked and 10 told.
    assert identity.idf1 == pytest.approx(2 * 5 / 20)
    assert identity.switches == 1


def test_two_that_swap_are_two_switches() -> None:
    identity = scored(
        [({1: HERE, 2: THERE}, {7: HERE, 8: THERE})] * 6 + [({1: HERE, 2: THERE}, {8: HERE, 7: THERE})] * 4
    )
    assert identity.idf1 == pytest.approx(2 * 12 / 40)
    assert identity.switches == 2


def test_misses_and_false_boxes_cost_recall_and_precision_but_are_no_switches() -> None:
    identity = scored([({1: HERE}, {7: HERE}), ({1: HERE}, {}), ({1: HERE}, {7: HERE, 9: THERE})])
    assert identity.idf1 == pytest.approx(2 * 2 / (3 + 3))
    assert identity.switches == 0


def test_who_still_fits_his_track_keeps_it() -> None:
    near = [0.01, 0.0, 0.11, 0.2]
    identity = scored([({1: HERE}, {7: near}), ({1: HERE}, {7: near, 8: HERE})])
    assert identity.switches == 0
