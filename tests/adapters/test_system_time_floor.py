"""The latest time that a node has known for certain."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import __released__
from agent.adapters.system.clock import RELEASED_S, SystemClock
from agent.adapters.system.time_floor import FLOOR_FILE, TimeFloor
from tests.fakes.clock import FakeClock

NOW_S = RELEASED_S + 100 * 86_400.0
HOUR_S = 3_600.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall_ns=int(NOW_S * 1e9))


def floor_of(folder: Path, clock: FakeClock) -> TimeFloor:
    return TimeFloor(state_dir=folder, clock=clock)


def set_clock(clock: FakeClock, seconds: float, *, synced: bool) -> None:
    clock.wall_ns = int(seconds * 1e9)
    clock.is_synced = synced


def test_the_release_is_not_in_the_future() -> None:
    """Else a clock that is right would count as wrong."""
    assert datetime.fromisoformat(__released__) <= datetime.now(tz=UTC)


def test_a_clock_before_the_release_is_not_synced_whoever_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SystemClock(maxerror_us=lambda: 1_000).synced()
    monkeypatch.setattr("time.time", lambda: RELEASED_S - 1)
    assert not SystemClock(maxerror_us=lambda: 1_000).synced()


def test_the_first_floor_is_the_release(tmp_path: Path, clock: FakeClock) -> None:
    set_clock(clock, 0, synced=False)
    floor = floor_of(tmp_path, clock)
    assert floor.instead_of_clock() == RELEASED_S
    said = floor.note()
    assert said is not None
    assert "is not set: it says 1970-01-01T00:00:00+00:00" in said
    assert not (tmp_path / FLOOR_FILE).exists()


def test_a_time_that_was_known_is_there_after_a_boot_without_any(tmp_path: Path, clock: FakeClock) -> None:
    assert floor_of(tmp_path, clock).note() is None
    set_clock(clock, 0, synced=False)
    assert floor_of(tmp_path, clock).instead_of_clock() == NOW_S


@pytest.mark.parametrize(
    ("now_s", "synced"),
    [(NOW_S + 1, False), (NOW_S + 1, True), (NOW_S - 86_400, True), (RELEASED_S, True)],
    ids=["above, unsynced", "above, synced", "below, synced", "far below, synced"],
)
def test_a_clock_that_is_kept_or_above_the_floor_is_believed(
    tmp_path: Path, clock: FakeClock, now_s: float, synced: bool
) -> None:
    floor = floor_of(tmp_path, clock)
    floor.note()
    set_clock(clock, now_s, synced=synced)
    assert floor.instead_of_clock() is None


def test_it_is_written_every_hour_at_most_and_at_the_end(tmp_path: Path, clock: FakeClock) -> None:
    floor, file = floor_of(tmp_path, clock), tmp_path / FLOOR_FILE
    floor.note()
    first = file.read_text()
    clock.advance(HOUR_S - 1)
    floor.note()
    assert floor_of(tmp_path, clock).note() is None  # nor by a restart
    assert file.read_text() == first
    clock.advance(1)
    floor.note()
    second = file.read_text()
    assert second > first
    clock.advance(60)
    floor.note(at_end=True)
    assert file.read_text() > second


def test_an_unsynced_time_is_never_stored(tmp_path: Path, clock: FakeClock) -> None:
    clock.is_synced = False
    floor = floor_of(tmp_path, clock)
    assert floor.note() is None
    assert floor.note(at_end=True) is None
    assert not (tmp_path / FLOOR_FILE).exists()


def test_it_never_goes_back_and_one_that_is_ahead_is_told(tmp_path: Path, clock: FakeClock) -> None:
    floor = floor_of(tmp_path, clock)
    floor.note()
    clock.step_wall(-86_400 * 10)
    assert floor.note(at_end=True) is not None
    assert floor.floor_s == NOW_S
    said = floor.note()
    assert said is not None
    assert f"{tmp_path / FLOOR_FILE} says that" in said
    assert "delete the file" in said


@pytest.mark.parametrize("content", [b"", b"soon", b"\xff\xfe", b"9" * 400])
def test_a_damaged_file_counts_for_nothing(tmp_path: Path, clock: FakeClock, content: bytes) -> None:
    (tmp_path / FLOOR_FILE).write_bytes(content)
    floor = floor_of(tmp_path, clock)
    assert floor.floor_s == RELEASED_S
    assert floor.note() is None
    assert floor_of(tmp_path, clock).floor_s == NOW_S


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path, clock: FakeClock) -> None:
    floor = floor_of(tmp_path / "missing", clock)
    assert floor.note() is None
    assert floor.note(at_end=True) is None
