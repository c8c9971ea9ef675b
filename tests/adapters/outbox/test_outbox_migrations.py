"""Files of every older version open here with nothing lost, and this version's files with older agents.

`files/` holds what older agents left, made by `agent_of_version_N.py` on their own code, with what they knew
of it beside it. A new version adds its predecessor's files, its commit to `OLDER`, and a frozen part below.
"""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.outbox.listing import open_listing
from agent.adapters.outbox.schema import MIGRATIONS, VERSION
from agent.ports import Row
from tests.adapters.outbox.rigs import fill, outbox_at, seqs, waiting
from tests.fakes.clock import FakeClock

HERE = Path(__file__).parent
STORED = sorted(file.stem for file in (HERE / "files").glob("*.json"))

OLDER = {1: "3ded679ca9db2d9367dc6d2dfc262212b90b878e"}
"""By schema version, the last commit whose agent wrote it."""


@pytest.fixture
def clock() -> FakeClock:
    """A little later, in the boot in which the stored files were left: else a killed one would be cut."""
    clock = FakeClock(wall_ns=1_700_000_100_000_000_000, monotonic_ns=105_000_000_000)
    clock.boot = "b0074b00-0000-4000-8000-00000000000a"
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


def lay_out(name: str, path: Path) -> dict[str, Any]:
    """A stored file where an outbox is looked for; what its agent knew of it."""
    for suffix in ("", "-wal"):
        file = HERE / "files" / f"{name}.outbox{suffix}"
        if file.exists():
            shutil.copyfile(file, path.with_name(path.name + suffix))
    known: dict[str, Any] = json.loads((HERE / "files" / f"{name}.json").read_text())
    return known


def told(row: Row) -> dict[str, Any]:
    """As the older agents tell it."""
    return {
        "key": row.key,
        "stream": row.stream,
        "seq": row.seq,
        "sha256": hashlib.sha256(row.body).hexdigest(),
        "content_type": row.content_type,
        "expiry_s": row.expiry_s,
        "properties": dict(row.properties),
        "made": [row.made.wall_ns, row.made.monotonic_ns],
        "captured": None if row.captured is None else [row.captured.wall_ns, row.captured.monotonic_ns],
    }


def test_every_older_version_has_its_files_and_its_commit() -> None:
    kept = {int(name.removeprefix("v").split("-")[0]) for name in STORED}
    assert kept == set(range(1, VERSION)) == set(OLDER)


@pytest.mark.parametrize("name", STORED)
async def test_an_older_agents_file_opens_with_nothing_lost(name: str, path: Path, clock: FakeClock) -> None:
    known = await asyncio.to_thread(lay_out, name, path)
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        statistics = await outbox.statistics()
        assert outbox.epoch == known["epoch"]
        assert (statistics.acknowledged, statistics.refused) == (known["acknowledged"], known["refused"])
        assert statistics.lost == known["lost"]
        found = await waiting(outbox)
        assert [told(row) for row in found if told(row) in known["rows"]] == known["rows"]
        # What was dropped and not yet declared is declared now; nothing else is new.
        new = [row.stream for row in found if told(row) not in known["rows"]]
        assert set(new) == {"loss"}
        statistics = await outbox.statistics()
        assert statistics.produced == known["produced"] + len(new)
        assert statistics.rows == len(found)

        numbers: dict[str, int] = {row.stream: row.seq for row in found}
        await fill(outbox, clock, "telemetry", 3)
        await fill(outbox, clock, "event", 2)
        after = await waiting(outbox)
        last = numbers["telemetry/motor"]
        assert seqs(after, "telemetry/motor")[-3:] == [last + 1, last + 2, last + 3]
        last = numbers["events/crowd"]
        assert seqs(after, "events/crowd")[-2:] == [last + 1, last + 2]
        assert await outbox.next_session() == 2

        outbox.acknowledge([row.key for row in after])
        assert (await outbox.statistics()).at_broker == len(after)
        for stream in {row.stream for row in after}:
            outbox.stored(stream, outbox.epoch, max(seqs(after, stream)))
        assert (await outbox.statistics()).rows == 0


@pytest.mark.parametrize("name", STORED)
async def test_an_older_agents_file_can_be_looked_at_before_it_is_migrated(name: str, path: Path) -> None:
    known = await asyncio.to_thread(lay_out, name, path)
    with open_listing(path) as listing:
        rows = listing.waiting(stream=None, limit=10_000)
        assert [row.key for row in rows] == [row["key"] for row in known["rows"]]
        assert not any(row.at_broker for row in rows)
        assert sum(listing.at_broker().values()) == 0


async def mixed_file(path: Path, clock: FakeClock) -> dict[str, Any]:
    """This version's file with rows of every kind: sent, at the broker, to be sent again, refused, stored."""
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        for priority in ("event", "telemetry", "detection"):
            await fill(outbox, clock, priority, 8)
        rows = await waiting(outbox)
        outbox.acknowledge([row.key for row in rows[:12]])
        outbox.refuse(rows[13].key, reason="refused", code=0x87)
        await outbox.statistics()
        outbox.stored(rows[0].stream, outbox.epoch, rows[2].seq)
        await outbox.replay(rows[0].stream, outbox.epoch, rows[4].seq, rows[5].seq)
        statistics = await outbox.statistics()
        assert (statistics.acknowledged, statistics.at_broker, statistics.rows) == (3, 9, 21)
        return {"epoch": outbox.epoch, "keys": {row.key for row in rows[3:]} - {rows[13].key}}


@pytest.mark.parametrize("older", sorted(OLDER))
async def test_an_older_agents_own_code_goes_on_with_this_versions_file(
    older: int, path: Path, clock: FakeClock, tmp_path: Path
) -> None:
    code = await asyncio.to_thread(code_of, OLDER[older], tmp_path / "older")
    if code is None:
        pytest.skip(f"the history of version {older} is not here; its statements are tried below")
    made = await mixed_file(path, clock)
    script = HERE / f"agent_of_version_{older}.py"
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            [sys.executable, str(script), "go-on", str(path)],
            env={**os.environ, "PYTHONPATH": str(code)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    before, after = said["before"], said["after"]
    assert before["epoch"] == made["epoch"]
    # It sends everything that waits, also what the broker has already: at least once.
    assert {row["key"] for row in before["rows"] if row["stream"] != "loss"} == made["keys"]
    assert after["acknowledged"] > before["acknowledged"]
    assert after["produced"] == before["produced"] + 9

    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        statistics = await outbox.statistics()
        assert outbox.epoch == made["epoch"]
        assert (
            statistics.produced
            == after["produced"]
            == statistics.acknowledged + statistics.rows + statistics.lost
        )
        assert statistics.rows == len(after["rows"])
        kept = {row["key"] for row in after["rows"]}
        assert {row.key for row in await waiting(outbox)} <= kept
        assert statistics.at_broker <= 9
        assert await outbox.next_session() > said["session"]
        outbox.keep("acknowledged")
        statistics = await outbox.statistics()
        assert statistics.at_broker == 0
        outbox.acknowledge([row.key for row in await waiting(outbox)])
        statistics = await outbox.statistics()
        assert (statistics.rows, statistics.bytes) == (0, 0)
        assert statistics.produced == statistics.acknowledged + statistics.lost


def code_of(commit: str, folder: Path) -> Path | None:
    """The agent of `commit` below `folder`; None where the history does not reach so far."""
    repository = HERE.parents[2]
    packed = subprocess.run(
        ["git", "-C", str(repository), "archive", commit, "agent"],
        capture_output=True,
        timeout=30,
        check=False,
    )
    if packed.returncode != 0:
        return None
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, timeout=30, check=True)
    return folder


# --- version 1, frozen ------------------------------------------------------------------------------

V1_ROW = (
    *("key", "rank", "stream", "seq", "size", "boot", "synced", "made_wall_ns", "made_monotonic_ns"),
    *("captured_wall_ns", "captured_monotonic_ns", "committed_ns", "expiry_s", "content_type", "properties"),
    *("crc", "body"),
)
V1_TALLY = ("id", "name", "next_seq", "ceiling", "unnumbered", "acknowledged", "lost", "waiting_bytes")


def as_version_1(path: Path) -> tuple[list[int], int]:
    """Read, take out and write rows in the very statements of version 1: the keys seen, the one written."""
    connection = sqlite3.connect(path, isolation_level=None)
    names = ", ".join(V1_ROW)
    rows = []
    for rank in range(6):
        where = "WHERE rank = ? AND key > ? ORDER BY key LIMIT ?"
        statement = f"SELECT {names} FROM message {where}"  # noqa: S608
        rows += connection.execute(statement, (rank, 0, 1_000)).fetchall()
    for *head, crc, body in rows:
        assert crc == zlib.crc32(body, zlib.crc32(repr(tuple(head)).encode()))
    first = dict(zip(V1_ROW, rows[0], strict=True))
    tally = dict(
        zip(
            V1_TALLY,
            connection.execute(
                f"SELECT {', '.join(V1_TALLY)} FROM stream WHERE id = ?",  # noqa: S608
                (first["stream"],),
            ).fetchone(),
            strict=True,
        )
    )
    (key,) = connection.execute("SELECT value FROM meta WHERE name = 'next_key'").fetchone()
    new = {**first, "key": key, "seq": tally["next_seq"]}
    new["crc"] = zlib.crc32(new["body"], zlib.crc32(repr(tuple(new[name] for name in V1_ROW[:-2])).encode()))
    tally["next_seq"] += 1
    tally["ceiling"] = max(tally["ceiling"], tally["next_seq"])
    tally["acknowledged"] += 1
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "DELETE FROM message WHERE key IN (SELECT value FROM json_each(?))", (f"[{first['key']}]",)
    )
    marks = ", ".join("?" * len(V1_ROW))
    statement = f"INSERT INTO message ({names}) VALUES ({marks})"  # noqa: S608
    connection.execute(statement, [new[name] for name in V1_ROW])
    connection.execute(
        f"INSERT INTO stream ({', '.join(V1_TALLY)}, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        " ON CONFLICT (id) DO UPDATE SET next_seq = excluded.next_seq, ceiling = excluded.ceiling,"
        " unnumbered = excluded.unnumbered, acknowledged = excluded.acknowledged, lost = excluded.lost,"
        " waiting_bytes = excluded.waiting_bytes, crc = excluded.crc",
        (*tally.values(), zlib.crc32(repr(tuple(tally.values())).encode())),
    )
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        ("next_key", key + 1),
    )
    connection.execute("COMMIT")
    connection.close()
    return [row[0] for row in rows], key


async def test_the_statements_of_version_1_work_on_this_versions_file(path: Path, clock: FakeClock) -> None:
    made = await mixed_file(path, clock)
    seen, new = await asyncio.to_thread(as_version_1, path)
    assert made["keys"] <= set(seen)
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        statistics = await outbox.statistics()
        assert outbox.epoch == made["epoch"]
        assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
        assert statistics.rows == len(seen)  # one is gone, one is new
        assert new in {row.key for row in await waiting(outbox)}
        await fill(outbox, clock, "event", 1)
        numbers = seqs(await waiting(outbox), "events/crowd")
        assert numbers == sorted(set(numbers))


def test_migrations_only_expand() -> None:
    """Nothing is taken from an older agent, and what it inserts needs no column that it does not know."""
    for step in MIGRATIONS[1:]:
        words = step.upper()
        assert not any(word in words for word in ("DROP ", "RENAME ", "DELETE ", "UPDATE "))
        for line in words.split(";"):
            if "ADD COLUMN" in line and "NOT NULL" in line:
                assert "DEFAULT" in line
