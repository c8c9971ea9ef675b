"""A picture of what seeing makes of a sequence: the ways of tracks, zones, and where a line was crossed."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from agent.contract.policy import Policy
from agent.domain.scene import Scene, Sighting
from benchmarks.walkers import WIDTH

_HEIGHT: Final = 405
_SCALE: Final = (round(WIDTH * _HEIGHT), _HEIGHT)
_COLOURS: Final = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98", "#117a65", "#a04000", "#5d6d7e")

Place = tuple[float, float]


def draw(scenes: Sequence[Scene], policy: Policy) -> str:
    """SVG: zones and lines of the policy's only camera, the ways of feet, and the boxes of the last scene."""
    (camera,) = policy.sources.values()
    zones, lines = getattr(camera, "zones", {}), getattr(camera, "lines", {})
    parts = [_zone(name, zone.polygon, excludes=zone.mode == "exclude") for name, zone in zones.items()]
    parts += [_line(name, *line.points) for name, line in lines.items()]
    ways: dict[int, list[Place]] = defaultdict(list)
    for scene in scenes:
        for one in scene.objects:
            if one.track is not None:
                ways[one.track].append(_foot(one))
        for crossing in scene.crossings:
            parts.append(_crossing(ways[crossing.track][-1], forward=crossing.direction == "forward"))
    parts += [_way(track, places) for track, places in ways.items()]
    parts += [_box(one) for one in scenes[-1].objects]
    width, height = _SCALE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="13">'
    )
    ground = f'<rect width="{width}" height="{height}" fill="#f7f7f5"/>'
    return "\n".join([head, ground, *parts, "</svg>\n"])


def _foot(one: Sighting) -> Place:
    x1, _, x2, y2 = one.box
    return (x1 + x2) / 2, y2


def _at(place: Place) -> str:
    return f"{place[0] * _SCALE[0]:.1f},{place[1] * _SCALE[1]:.1f}"


def _text(place: Place, text: str, colour: str) -> str:
    x, y = _at(place).split(",")
    return f'<text x="{x}" y="{y}" fill="{colour}">{text}</text>'


def _zone(name: str, corners: Sequence[Place], *, excludes: bool) -> str:
    colour = "#999999" if excludes else "#f1c40f"
    points = " ".join(map(_at, corners))
    label = _text((corners[0][0] + 0.005, corners[0][1] + 0.035), name, "#555555")
    return f'<polygon points="{points}" fill="{colour}" fill-opacity="0.25" stroke="{colour}"/>{label}'


def _line(name: str, first: Place, second: Place) -> str:
    (x1, y1), (x2, y2) = (_at(place).split(",") for place in (first, second))
    label = _text((second[0] + 0.005, second[1] + 0.035), name, "#000000")
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#000000" stroke-width="2"/>{label}'


def _way(track: int, places: Sequence[Place]) -> str:
    colour = _COLOURS[track % len(_COLOURS)]
    points = " ".join(map(_at, places[::3]))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _crossing(place: Place, *, forward: bool) -> str:
    x, y = _at(place).split(",")
    return f'<circle cx="{x}" cy="{y}" r="5" fill="{"#000000" if forward else "#ffffff"}" stroke="#000000"/>'


def _box(one: Sighting) -> str:
    x1, y1, x2, y2 = one.box
    colour = "#aaaaaa" if one.track is None else _COLOURS[one.track % len(_COLOURS)]
    (left, top), (right, bottom) = (
        [float(each) for each in _at(place).split(",")] for place in ((x1, y1), (x2, y2))
    )
    told = ", ".join([str(one.track or "?"), *one.zones])
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
        f'fill="none" stroke="{colour}" stroke-width="2"/>{_text((x1, y1 - 0.01), told, colour)}'
    )
