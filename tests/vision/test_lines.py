"""Who goes over a line, which way, and who does not."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.vision.lines import LineShape, LineWatch

UP = LineShape("gate", (0.5, 0.8), (0.5, 0.2))
"""Who looks along it, upwards, has the larger x on the right."""
FRAME = (640, 480)
SIDE_PX = 32.0


def walk(
    steps: Iterable[tuple[float, float]], line: LineShape = UP, frame_px: tuple[int, int] = FRAME
) -> list[str]:
    watch = LineWatch([line])
    crossed: list[str] = []
    for place in steps:
        passages = watch.step([7], np.array([place]), np.array([SIDE_PX]), frame_px)
        crossed += [passage.direction for passage in passages]
    return crossed


@pytest.mark.parametrize(
    ("steps", "crossed"),
    [
        ([(0.4, 0.5), (0.6, 0.5)], ["forward"]),
        ([(0.6, 0.5), (0.4, 0.5)], ["backward"]),
        ([(0.4, 0.5), (0.6, 0.5), (0.4, 0.5)], ["forward", "backward"]),
        ([(0.4, 0.5), (0.5, 0.5), (0.6, 0.5)], ["forward"]),  # by way of the line itself
        ([(0.4, 0.5), (0.5, 0.5), (0.4, 0.5)], []),  # to the line and back
        ([(0.4, 0.1), (0.6, 0.1)], []),  # past its upper end
        ([(0.4, 0.9), (0.6, 0.9)], []),  # past its lower end
        ([(0.4, 0.5), (0.4, 0.1), (0.6, 0.1), (0.6, 0.5)], []),  # around its upper end
        ([(0.4, 0.2), (0.6, 0.2)], ["forward"]),  # exactly over its end
        ([(0.6, 0.5)], []),
        ([(0.5, 0.5), (0.6, 0.5)], []),  # where he came from, nobody knows
    ],
)
def test_a_walk_crosses_the_line(steps: list[tuple[float, float]], crossed: list[str]) -> None:
    assert walk(steps) == crossed


def test_standing_on_a_line_and_trembling_crosses_it_once_at_most() -> None:
    trembling = [(0.5 + 0.004 * (-1) ** step, 0.5) for step in range(50)]  # 2.6 px, and the box is 32 wide
    assert walk([(0.4, 0.5), *trembling]) == []
    assert walk([(0.4, 0.5), *trembling, (0.6, 0.5)]) == ["forward"]


def test_each_track_and_each_line_for_itself() -> None:
    watch = LineWatch([UP, LineShape("floor", (0.0, 0.7), (1.0, 0.7))])
    sides = np.array([SIDE_PX, SIDE_PX])
    assert watch.step([1, 2], np.array([[0.4, 0.5], [0.6, 0.6]]), sides, FRAME) == []
    passages = watch.step([2, 1], np.array([[0.4, 0.75], [0.6, 0.5]]), sides, FRAME)
    assert {(each.index, each.line, each.direction) for each in passages} == {
        (0, "gate", "backward"),
        (0, "floor", "forward"),
        (1, "gate", "forward"),
    }


def test_a_track_that_is_forgotten_starts_anew() -> None:
    watch = LineWatch([UP])
    watch.step([1], np.array([[0.4, 0.5]]), np.array([SIDE_PX]), FRAME)
    watch.keep_only({2})
    assert watch.step([1], np.array([[0.6, 0.5]]), np.array([SIDE_PX]), FRAME) == []


PLACE = st.tuples(st.floats(0, 1), st.floats(0, 1))


@given(st.lists(PLACE, min_size=2, max_size=12), PLACE, PLACE)
def test_directions_take_turns_and_turn_with_the_line(
    steps: list[tuple[float, float]], first: tuple[float, float], second: tuple[float, float]
) -> None:
    if np.hypot(first[0] - second[0], first[1] - second[1]) < 0.01:
        return
    # A line through the whole frame: nobody walks around it.
    along = np.array(second) - first
    line = LineShape("l", tuple(first - 200 * along), tuple(second + 200 * along))
    crossed = walk(steps, line)
    assert all(one != other for one, other in pairwise(crossed))
    opposite = {"forward": "backward", "backward": "forward"}
    turned = LineShape("l", line.second, line.first)
    assert walk(steps, turned) == [opposite[each] for each in crossed]
