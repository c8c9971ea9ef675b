"""Pairs of the largest sum, against all that there are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from agent.vision.tracking.assignment import CHOICES, best_pairs

WORTH = st.tuples(st.integers(0, 6), st.integers(0, 6)).flatmap(
    lambda shape: arrays(
        np.float64, shape, elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]) | st.floats(-1, 1)
    )
)


def most(worth: NDArray[np.float64], row: int = 0, taken: frozenset[int] = frozenset()) -> float:
    """By trying everything."""
    if row == len(worth):
        return 0.0
    best = most(worth, row + 1, taken)
    for column, gain in enumerate(worth[row].tolist()):
        if column not in taken and gain > 0:
            best = max(best, gain + most(worth, row + 1, taken | {column}))
    return best


@given(WORTH)
def test_pairs_are_worth_the_most_together(worth: NDArray[np.float64]) -> None:
    pairs = best_pairs(worth)
    rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
    assert len(set(rows)) == len(set(columns)) == len(pairs)
    assert all(worth[row, column] > 0 for row, column in pairs)
    assert abs(sum(worth[row, column] for row, column in pairs) - most(worth)) < 1e-9


def test_a_row_gives_way_where_all_gain_by_it() -> None:
    assert best_pairs(np.array([[1.0, 0.9], [0.8, 0.0]])) == [(0, 1), (1, 0)]


def test_a_row_is_left_out_where_all_gain_by_it() -> None:
    assert best_pairs(np.array([[0.5], [0.6], [0.4]])) == [(1, 0)]


def test_nothing_makes_no_pairs() -> None:
    assert best_pairs(np.empty((0, 3))) == best_pairs(np.empty((3, 0))) == best_pairs(np.zeros((2, 2))) == []


def test_many_rows_that_all_want_the_same_columns_are_decided() -> None:
    ranks = np.arange(120.0)
    worth = 1.0 + np.outer(ranks, ranks[::-1])  # the most in all where the larger goes with the larger
    assert best_pairs(worth) == [(row, 119 - row) for row in range(120)]


@given(WORTH)
def test_few_choices_are_the_best_of_each_row(worth: NDArray[np.float64]) -> None:
    best = -np.sort(-worth, axis=1)[:, 1:2]
    two = np.where(worth >= best, worth, 0.0) if worth.shape[1] > 1 else worth
    if all(len(set(row)) == len(row) for row in worth.tolist()):
        assert best_pairs(worth, choices=2) == best_pairs(two)


def test_heap_of_three_hundred_is_decided() -> None:
    worth = np.random.default_rng(1).uniform(0.5, 1.0, (300, 300))
    pairs = best_pairs(worth, choices=CHOICES)
    assert len(pairs) > 250
    assert len({column for _, column in pairs}) == len(pairs)
