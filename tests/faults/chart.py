"""Two curves over one time, as SVG; a library for it would be the largest that the tests need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

_SVG: Final = "http://www.w3.org/2000/svg"
_WIDTH: Final = 720
_HEIGHT: Final = 170
_LEFT: Final = 60
_TOP: Final = 28
_MOST_POINTS: Final = 400


def two_curves(upper: tuple[str, Points], lower: tuple[str, Points], *, across: str) -> str:
    """One above the other, each on a scale of its own that begins with 0; each is (title, points)."""
    last = max(at for _title, points in (upper, lower) for at, _value in points)
    total = 2 * _HEIGHT + 30
    parts = [
        f'<svg xmlns="{_SVG}" width="{_WIDTH}" height="{total}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{total}" fill="white"/>',
        *_panel(*upper, last=last, top=0, colour="#8a4b08"),
        *_panel(*lower, last=last, top=_HEIGHT, colour="#0b5cad"),
        f'<text x="{_LEFT}" y="{total - 8}">{escape(across)}: 0 to {last:.0f}</text>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def _panel(title: str, points: Points, *, last: float, top: int, colour: str) -> list[str]:
    floor, ceiling = top + _HEIGHT - 8, top + _TOP
    most = max(value for _at, value in points) or 1.0
    # Of many points the largest of each neighbourhood is drawn: no peak goes missing.
    step = -(-len(points) // _MOST_POINTS)
    peaks = [max(points[at : at + step], key=lambda point: point[1]) for at in range(0, len(points), step)]
    line = " ".join(
        f"{_LEFT + at / last * (_WIDTH - _LEFT - 10):.1f},{floor - value / most * (floor - ceiling):.1f}"
        for at, value in peaks
    )
    return [
        f'<text x="{_LEFT}" y="{top + 18}" fill="{colour}">{escape(title)}</text>',
        f'<text x="{_LEFT - 6}" y="{ceiling + 4}" text-anchor="end">{_figure(most)}</text>',
        f'<text x="{_LEFT - 6}" y="{floor}" text-anchor="end">0</text>',
        f'<path d="M{_LEFT} {ceiling}V{floor}H{_WIDTH - 10}" fill="none" stroke="#888"/>',
        f'<polyline points="{line}" fill="none" stroke="{colour}"/>',
    ]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
