"""When rules look at the time between two recorded messages, however far these are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.domain.rules.engine import TICK_S
from agent.domain.rules.features import AgeOf, Crossed
from agent.domain.rules.machine import FLOOR_NS
from agent.domain.stamp import Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.domain.rules.features import Feature
    from agent.domain.rules.prepared import PreparedRule, RuleBook

TICK_NS: Final = int(TICK_S * 1e9)
_SPARE_NS: Final = FLOOR_NS + 12 * TICK_NS
"""Each state of a rule is left at a tick, and questions are reviewed once a second."""

_MINUTE_NS: Final = 60_000_000_000
_WEEK_NS: Final = 7 * 24 * 60 * _MINUTE_NS


class Ticks:
    """As often as on the node until nothing can come of it any more; then hours and ages alone go on.

    These are looked at each minute, by the wall clock, for a week. The rest of a gap is left out.
    """

    def __init__(self, book: RuleBook, begin: Stamp) -> None:
        rules = book.rules.values()
        self._last_ns = begin.monotonic_ns
        self._settled_ns = (
            max((book.silence.after_ns(source) for source in book.sources), default=0)
            + max((_timing_ns(rule) for rule in rules), default=0)
            + max(
                (one.within_ns for each in rules for one in _asked(each) if isinstance(one, Crossed)),
                default=0,
            )
            + _SPARE_NS
        )
        self._goes_on = any(
            rule.schedule is not None or any(isinstance(one, AgeOf) for one in _asked(rule)) for rule in rules
        )

    def until(self, now: Stamp) -> Iterator[Stamp]:
        """Those before the message of `now`; what was said last is that of the time before."""
        said_ns, now_ns = self._last_ns, now.monotonic_ns
        self._last_ns = now_ns
        settled_ns = min(now_ns, said_ns + self._settled_ns)
        for at_ns in range(_after(said_ns, TICK_NS), settled_ns, TICK_NS):
            yield _at(now, at_ns)
        if settled_ns == now_ns:
            return
        if self._goes_on:
            ahead_ns = now.wall_ns - now_ns
            first_ns = _after(settled_ns + ahead_ns, _MINUTE_NS) - ahead_ns
            for at_ns in range(first_ns, min(now_ns, settled_ns + _WEEK_NS), _MINUTE_NS):
                yield _at(now, at_ns)
        yield _at(now, now_ns - 1)


def _after(at_ns: int, step_ns: int) -> int:
    """The first whole multiple of `step_ns` after `at_ns`."""
    return (at_ns // step_ns + 1) * step_ns


def _at(now: Stamp, monotonic_ns: int) -> Stamp:
    return Stamp(now.wall_ns - (now.monotonic_ns - monotonic_ns), monotonic_ns)


def _asked(rule: PreparedRule) -> Iterator[Feature]:
    for condition in (rule.when, rule.until):
        if condition is not None:
            yield from condition.features.values()


def _timing_ns(rule: PreparedRule) -> int:
    timing = rule.timing
    return timing.for_ns + timing.end_for_ns + timing.cool_down_ns


def _window_ns(asked: Feature) -> int:
    return asked.within_ns if isinstance(asked, Crossed) else 0
