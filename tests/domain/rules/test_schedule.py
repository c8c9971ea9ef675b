"""Hours of the week on the wall clock of a place, whose clocks change twice a year."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain.rules.schedule import Schedule

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
DATES = st.dates(date(2024, 1, 1), date(2027, 12, 31))
MOMENTS = st.builds(datetime.combine, DATES, st.times(), st.just(UTC))
CLOCK_TIMES = st.times().map(lambda at: at.replace(second=0, microsecond=0))
EVERY_DAY = frozenset(range(7))


def wall_ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


@given(st.frozensets(st.integers(0, 6)), CLOCK_TIMES, CLOCK_TIMES, ZONES, MOMENTS)
def test_hours_are_those_that_the_clock_on_the_wall_shows(
    days: frozenset[int], begin: time, end: time, zone: str, moment: datetime
) -> None:
    """By a slow rule that looks at the hands, wherever no change of the clocks is near."""
    place = ZoneInfo(zone)
    local = moment.astimezone(place)
    offsets = {(local + timedelta(hours=hours)).utcoffset() for hours in range(-48, 49)}
    if len(offsets) > 1:
        return
    shown = local.time()
    if end > begin:
        wanted = local.weekday() in days and begin <= shown < end
    else:
        yesterday = (local.weekday() - 1) % 7
        wanted = (local.weekday() in days and shown >= begin) or (yesterday in days and shown < end)
    assert Schedule(days, begin, end, place).is_open(wall_ns(moment)) is wanted


@given(CLOCK_TIMES, ZONES, MOMENTS)
def test_a_whole_day_is_never_closed(at: time, zone: str, moment: datetime) -> None:
    assert Schedule(EVERY_DAY, at, at, ZoneInfo(zone)).is_open(wall_ns(moment))


@settings(max_examples=30, deadline=None)
@given(CLOCK_TIMES, CLOCK_TIMES, ZONES, DATES)
def test_a_day_is_open_once_and_without_a_break(begin: time, end: time, zone: str, day: date) -> None:
    """Also where the clocks change: it opens and closes at most once in the hours of one day."""
    place = ZoneInfo(zone)
    schedule = Schedule(frozenset({day.weekday()}), begin, end, place)
    first = datetime.combine(day, time(0), tzinfo=place).astimezone(UTC) - timedelta(hours=2)
    open_at = [schedule.is_open(wall_ns(first + timedelta(minutes=15 * step))) for step in range(4 * 54)]
    changes = sum(one != other for one, other in pairwise(open_at))
    assert changes <= 2


@pytest.mark.parametrize(
    ("utc", "is_open"),
    [
        # 30 March 2025, Berlin: 02:00 becomes 03:00. 02:30 is skipped: the hours begin at 03:30.
        ("2025-03-30T01:15:00", False),
        ("2025-03-30T01:30:00", True),
        ("2025-03-30T01:59:00", True),
        ("2025-03-30T02:00:00", False),
        # 26 October 2025: 03:00 becomes 02:00 again. 02:30 is there twice: from the first on.
        ("2025-10-26T00:29:00", False),
        ("2025-10-26T00:30:00", True),
        ("2025-10-26T01:30:00", True),
        ("2025-10-26T02:59:00", True),
        ("2025-10-26T03:00:00", False),
    ],
)
def test_hours_on_the_days_when_clocks_change(utc: str, is_open: bool) -> None:
    schedule = Schedule(EVERY_DAY, time(2, 30), time(4, 0), ZoneInfo("Europe/Berlin"))
    assert schedule.is_open(wall_ns(datetime.fromisoformat(utc).replace(tzinfo=UTC))) is is_open


def test_hours_across_midnight_belong_to_the_day_on_which_they_began() -> None:
    friday_night = Schedule(frozenset({4}), time(22), time(6), ZoneInfo("Europe/Berlin"))
    saturday_4 = datetime(2025, 6, 7, 4, tzinfo=ZoneInfo("Europe/Berlin"))
    assert friday_night.is_open(wall_ns(saturday_4))
    assert not friday_night.is_open(wall_ns(saturday_4 + timedelta(days=1)))
