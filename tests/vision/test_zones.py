"""Feet in polygons, against a slow plain rule in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.vision.zones import EDGE, Outlines, ZoneMap, ZoneShape, feet

# Sixteenths: their products are exact in floating point, so that points lie on edges exactly.
COORDINATE = st.integers(0, 16).map(lambda number: number / 16)
POINT = st.tuples(COORDINATE, COORDINATE)
# A billionth of a pixel is fine enough; numbers whose products vanish are left to themselves.
ANY = st.floats(0, 1).map(lambda number: round(number, 12))
ANYWHERE = st.tuples(ANY, ANY)
SQUARE = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])


def inside(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    told: NDArray[np.bool_] = Outlines([corners]).around(points)[0]
    return told


def lies_inside(point: tuple[float, float], corners: list[tuple[float, float]]) -> bool:
    """On an edge, or an odd number of edges to the right of it."""
    x, y = map(Fraction, point)
    odd = False
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        x1, y1, x2, y2 = map(Fraction, (ax, ay, bx, by))
        beside = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if beside == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return True
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            odd = not odd
    return odd


def nearest_edge(point: tuple[float, float], corners: list[tuple[float, float]]) -> float:
    nearest = 2.0
    for begin, end in zip(corners, corners[1:] + corners[:1], strict=True):
        a, b, p = np.array(begin), np.array(end), np.array(point)
        length = max(float((b - a) @ (b - a)), 1e-300)
        reach = min(max(float((p - a) @ (b - a)) / length, 0.0), 1.0)
        nearest = min(nearest, float(np.linalg.norm(p - a - reach * (b - a))))
    return nearest


@given(st.lists(POINT, min_size=3, max_size=8), st.lists(POINT, min_size=1, max_size=6))
def test_points_on_a_grid_are_inside_by_the_plain_rule_also_on_edges(
    corners: list[tuple[float, float]], points: list[tuple[float, float]]
) -> None:
    told = inside(np.array(points), np.array(corners)).tolist()
    assert told == [lies_inside(point, corners) for point in points]


@given(st.lists(ANYWHERE, min_size=3, max_size=8), ANYWHERE)
def test_points_anywhere_are_inside_by_the_plain_rule_but_at_an_edge(
    corners: list[tuple[float, float]], point: tuple[float, float]
) -> None:
    told = bool(inside(np.array([point]), np.array(corners))[0])
    assert told == lies_inside(point, corners) or nearest_edge(point, corners) <= 2 * EDGE


@given(
    st.lists(ANYWHERE, min_size=3, max_size=8), st.lists(ANYWHERE, min_size=1, max_size=4), st.integers(0, 7)
)
def test_where_the_corners_begin_and_which_way_they_go_means_nothing(
    corners: list[tuple[float, float]], points: list[tuple[float, float]], turn: int
) -> None:
    far = [point for point in points if nearest_edge(point, corners) > 1e-6]
    if far:
        told = inside(np.array(far), np.array(corners)).tolist()
        other_way = np.roll(np.array(corners), turn, axis=0)[::-1]
        assert inside(np.array(far), other_way).tolist() == told


def test_an_edge_belongs_to_both_zones_that_share_it() -> None:
    left = np.array([[0, 0], [0.5, 0], [0.5, 1], [0, 1.0]])
    right = np.array([[0.5, 0], [1, 0], [1, 1], [0.5, 1.0]])
    on = np.array([[0.5, 0.3], [0.5, 0.0], [0.5, 1.0]])
    assert inside(on, left).all()
    assert inside(on, right).all()


def test_who_stands_at_the_frames_lower_edge_is_in_a_zone_that_ends_there() -> None:
    assert inside(np.array([[0.5, 1.0]]), np.array([[0, 0.5], [1, 0.5], [1, 1], [0, 1.0]])).all()


def test_the_foot_is_the_middle_of_the_lower_side() -> None:
    assert feet(np.array([[0.1, 0.2, 0.5, 0.9]])).tolist() == [[0.3, 0.9]]


@pytest.mark.parametrize(
    ("zone", "stands"),
    [
        (ZoneShape("z", SQUARE), [True, True, False]),
        (ZoneShape("z", SQUARE, classes=frozenset({"dog"})), [False, True, False]),
        (ZoneShape("z", SQUARE, min_confidence=0.5), [True, False, False]),
        (ZoneShape("z", SQUARE, min_confidence=0.9), [True, False, False]),
        (ZoneShape("z", SQUARE, min_side_px=40), [False, True, False]),
    ],
)
def test_a_zone_holds_for_its_classes_from_its_confidence_and_side_on(
    zone: ZoneShape, stands: list[bool]
) -> None:
    told = ZoneMap([zone]).standing(
        np.array([[0.5, 0.5], [0.3, 0.7], [0.9, 0.5]]),
        sides_px=np.array([39.0, 40.0, 80.0]),
        confidence=np.array([0.9, 0.4, 0.9], np.float32),
        classes=["person", "dog", "person"],
    )
    assert told.tolist() == [stands]


def test_no_zones_and_no_objects_are_nothing() -> None:
    nobody = np.empty((0, 2))
    nothing = np.empty(0)
    confidence = np.empty(0, np.float32)
    zone = ZoneShape("z", SQUARE)
    for zones in ([], [zone], [zone, zone]):
        told = ZoneMap(zones).standing(nobody, sides_px=nothing, confidence=confidence, classes=[])
        assert told.shape == (len(zones), 0)


@given(st.lists(st.lists(POINT, min_size=3, max_size=5), min_size=1, max_size=4), st.lists(POINT, max_size=4))
def test_many_polygons_are_told_apart(
    polygons: list[list[tuple[float, float]]], points: list[tuple[float, float]]
) -> None:
    places = np.array(points, np.float64).reshape(-1, 2)
    together = Outlines([np.array(corners) for corners in polygons]).around(places)
    assert together.tolist() == [inside(places, np.array(corners)).tolist() for corners in polygons]


def test_more_points_than_are_looked_at_at_once_are_told_the_same() -> None:
    turns = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    circle = 0.5 + 0.4 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    points = np.random.default_rng(1).uniform(0, 1, (1000, 2))
    told = Outlines([circle, SQUARE]).around(points)
    assert told[1].tolist() == ((points >= 0.25) & (points <= 0.75)).all(axis=1).tolist()
    assert told[0].tolist() == [inside(points[row : row + 1], circle)[0] for row in range(len(points))]
