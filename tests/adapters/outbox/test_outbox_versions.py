"""A file outlives its agent: a newer one's is used as long as it can be, and never destroyed."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.outbox.schema import VERSION
from agent.domain.errors import ConfigError
from tests.adapters.outbox.rigs import fill, opened, outbox_at, seqs, sql, waiting
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


async def test_a_newer_agents_file_is_used_as_long_as_it_has_what_is_needed(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 2)
        epoch = outbox.epoch
    await asyncio.to_thread(
        sql,
        path,
        "ALTER TABLE message ADD COLUMN colour TEXT DEFAULT 'red'",
        "ALTER TABLE stream ADD COLUMN mood INTEGER DEFAULT 7",
        f"PRAGMA user_version = {VERSION + 1}",
    )
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 2)
        rows = await waiting(outbox)
        assert (outbox.epoch, seqs(rows)) == (epoch, [0, 1, 2, 3])
        outbox.acknowledge([row.key for row in rows])
    assert await asyncio.to_thread(ask, path, "SELECT mood FROM stream") == [(7,)]
    assert await asyncio.to_thread(ask, path, "PRAGMA user_version") == [(VERSION + 1,)]


async def test_a_newer_agents_file_that_lacks_what_is_needed_is_left_alone(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock):
        pass
    await asyncio.to_thread(
        sql,
        path,
        "ALTER TABLE ledger RENAME COLUMN reason TO why",
        f"PRAGMA user_version = {VERSION + 1}",
    )
    with pytest.raises(ConfigError, match=r"newer agent .* lacks ledger\.reason"):
        await opened(path, clock=clock)
    assert await asyncio.to_thread(path.exists)


def ask(path: Path, question: str) -> list[Any]:
    connection = sqlite3.connect(path)
    answer = connection.execute(question).fetchall()
    connection.close()
    return answer
