"""Which row goes with which column, so that the pairs are worth the most together.

Exact, and without a solver's library: most pairs of a picture's boxes do not overlap at all, so that what is
to be decided falls apart into a few rows and columns each, which a compiled solver for full matrices does not
make use of. Costs: docs/seeing.md.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

_FREE: Final = -1
_UNREACHED: Final = (inf, _FREE)


CHOICES: Final = 8
"""Enough for boxes of a picture. All of 300 in one heap would hold the event loop up for seconds."""


def best_pairs(worth: NDArray[np.float64], *, choices: int | None = None) -> list[tuple[int, int]]:
    """Pairs (row, column) of the largest sum of `worth`, `[rows, columns]`, by row.

    Each row and each column is in one pair at most; only pairs worth more than 0 are made. Of each row only
    the best `choices` columns are considered, the first of equal ones; None: all.

    Source: Edmonds, Karp, "Theoretical improvements in algorithmic efficiency for network flow problems",
    1972: shortest augmenting paths, by Dijkstra's algorithm over reduced costs that never become negative.
    """
    if choices is not None and worth.shape[1] > choices:
        others = np.argsort(-worth, axis=1, kind="stable")[:, choices:]
        worth = worth.copy()
        np.put_along_axis(worth, others, 0.0, axis=1)
    offers: list[list[tuple[int, float]]] = [[] for _ in range(len(worth))]
    for row, column in zip(*(axis.tolist() for axis in np.nonzero(worth > 0)), strict=True):
        offers[row].append((column, float(worth[row, column])))
    matching = _Matching(offers, columns=worth.shape[1])
    for row, offered in enumerate(offers):
        if offered:
            matching.add(row)
    return [(row, column) for row, column in enumerate(matching.column_of) if column != _FREE]


class _Matching:
    """The best pairs among the rows added so far, and what rows and columns ask for, which proves it.

    `ask_row` and `ask_column` are never negative and together at least what a pair is worth; for pairs
    made just as much; 0 for rows and columns in none.
    """

    def __init__(self, offers: Sequence[Sequence[tuple[int, float]]], *, columns: int) -> None:
        self.column_of = [_FREE] * len(offers)
        self._row_of = [_FREE] * columns
        self._offers = offers
        self._ask_row = [0.0] * len(offers)
        self._ask_column = [0.0] * columns

    def add(self, row: int) -> None:
        """Find the cheapest chain of changes that lets `row` in, or leave it out, and make it."""
        self._ask_row[row] = max(0.0, *(gain - self._ask_column[at] for at, gain in self._offers[row]))
        distance: dict[int, float] = {row: 0.0}
        reached: dict[int, tuple[float, int]] = {}  # column: its distance, and the row before it
        settled: set[int] = set()
        least, last_row, last_column = self._ask_row[row], row, _FREE
        waiting: list[tuple[float, int]] = [(0.0, row)]
        while waiting and waiting[0][0] < least:
            so_far, at = heappop(waiting)
            if so_far + self._ask_row[at] < least:
                least, last_row, last_column = so_far + self._ask_row[at], at, _FREE
            for column, gain in self._offers[at]:
                slack = max(0.0, self._ask_row[at] + self._ask_column[column] - gain)
                there = so_far + slack
                if column in settled or there >= min(least, reached.get(column, _UNREACHED)[0]):
                    continue
                reached[column] = there, at
                owner = self._row_of[column]
                if owner == _FREE:
                    least, last_row, last_column = there, at, column
                elif there < distance.get(owner, least):
                    distance[owner] = there
                    heappush(waiting, (there, owner))
            settled.add(self.column_of[at])
        self._reprice(distance, reached, least)
        self._shift(reached, last_row, last_column)

    def _reprice(
        self, distance: dict[int, float], reached: dict[int, tuple[float, int]], least: float
    ) -> None:
        for row, at in distance.items():
            self._ask_row[row] = max(0.0, self._ask_row[row] - max(0.0, least - at))
        for column, (at, _) in reached.items():
            self._ask_column[column] += max(0.0, least - at)

    def _shift(self, reached: dict[int, tuple[float, int]], row: int, column: int) -> None:
        """Along the chain from its end to the row that was added: each takes the column that it came to."""
        while True:
            before, self.column_of[row] = self.column_of[row], column
            if column != _FREE:
                self._row_of[column] = row
            if before == _FREE:
                return
            row, column = reached[before][1], before
