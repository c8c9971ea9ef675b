"""The hours of the week in which a rule is in force, by the clock on the wall of its place."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """On each of `days` (Monday is 0) from `begin` to `end` by the local time of `zone`.

    Where `end` is not after `begin`, it is meant on the day after.

    A local time that a change of the clocks skips counts as that much later, one that occurs twice as its
    first occurrence at the begin and as its second at the end.
    """

    days: frozenset[int]
    begin: time
    end: time
    zone: tzinfo = field(compare=False)

    def is_open(self, wall_ns: int) -> bool:
        """Whether the rule is in force at this moment, nanoseconds since 1970."""
        moment = datetime.fromtimestamp(wall_ns // 1_000_000_000, tz=UTC)
        today = moment.astimezone(self.zone).date()
        return any(self._is_open_on(day, moment) for day in (today, today - _DAY))

    def _is_open_on(self, day: date, moment: datetime) -> bool:
        """Whether `moment` lies in the hours that began on `day`."""
        if day.weekday() not in self.days:
            return False
        end_day = day if self.end > self.begin else day + _DAY
        return self._utc(day, self.begin, fold=0) <= moment < self._utc(end_day, self.end, fold=1)

    def _utc(self, day: date, at: time, *, fold: int) -> datetime:
        local = datetime.combine(day, at, tzinfo=self.zone)
        # Of a time that is skipped, fold=0 is by the offset before the change: what the clock shows later.
        there = local.replace(fold=1).astimezone(UTC), local.replace(fold=0).astimezone(UTC)
        is_skipped = there[0] < there[1]
        return local.replace(fold=0 if is_skipped else fold).astimezone(UTC)
