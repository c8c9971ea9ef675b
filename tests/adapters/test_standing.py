"""The names of events that are on, over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters.standing import STANDING_FILE, FileStandingStore
from agent.domain.errors import Code, TransientError
from agent.ports import Standing, StandingEvent, StandingStore
from tests.fakes.standing import FakeStandingStore

KEPT = Standing(
    events={"crowd": StandingEvent("01JC", "ab" * 32, 1_700_000_000_000_000_000, "warning", "Zu viele")},
    alarms=("crowd", "hot"),
)


@pytest.fixture(params=["file", "fake"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StandingStore:
    return FileStandingStore(state_dir=tmp_path / "state") if request.param == "file" else FakeStandingStore()


def test_what_is_kept_is_there_again(store: StandingStore) -> None:
    assert store.load() == Standing()
    store.keep(KEPT)
    assert store.load() == KEPT
    store.keep(Standing())
    assert store.load() == Standing()


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{", b"[]", b'{"v":2}', b'{"v":1,"events":{"a":{}},"alarms":[]}', b'{"v":1,"events":7}', b"\xff"],
)
def test_a_damaged_file_holds_nothing_and_can_be_replaced(damaged: bytes, tmp_path: Path) -> None:
    (tmp_path / STANDING_FILE).write_bytes(damaged)
    store = FileStandingStore(state_dir=tmp_path)
    assert store.load() == Standing()
    store.keep(KEPT)
    assert store.load() == KEPT


def test_a_disk_that_refuses_leaves_what_was_there(tmp_path: Path) -> None:
    store = FileStandingStore(state_dir=tmp_path)
    store.keep(KEPT)
    (tmp_path / STANDING_FILE).with_suffix(".tmp").mkdir()
    with pytest.raises(TransientError) as refused:
        store.keep(Standing())
    assert refused.value.code is Code.DISK
    assert store.load() == KEPT
