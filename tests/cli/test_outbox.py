"""`nanofleet outbox` tells a person, or a script, what waits, what was refused and what was lost."""

import asyncio
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent.adapters.outbox.listing import open_listing
from agent.cli.outbox import app
from tests.adapters.outbox.rigs import draft, fill, opened, outbox_at, sql, waiting
from tests.fakes.clock import FakeClock

SETTINGS = """\
site = "plant"
node = "nano-1"
state_dir = "{folder}"
[broker]
host = "broker.example"
allow_insecure = true
"""


def nanofleet_outbox(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def as_json(*arguments: object) -> Any:
    done = nanofleet_outbox(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An outbox with three detections, one of them refused, and two events, one of them acknowledged."""
    path = tmp_path / "state" / "outbox.sqlite3"

    async def make() -> None:
        clock = FakeClock()
        async with outbox_at(path, clock=clock) as outbox:
            await fill(outbox, clock, "detection", 3)
            await fill(outbox, clock, "event", 2)
            rows = await waiting(outbox)
            outbox.acknowledge([rows[0].key])
            outbox.refuse(rows[3].key, reason="refused", code=0x87)
            await outbox.next_session()

    asyncio.run(make())
    return path


def test_status_tells_each_streams_account(path: Path) -> None:
    told = as_json("status", "--path", path)
    assert told["session"] == 1
    accounts = {one["stream"]: one for one in told["streams"]}
    assert set(accounts) == {"detections/door", "events/crowd", "loss"}
    detections = accounts["detections/door"]
    assert (detections["produced"], detections["acknowledged"], detections["waiting"]) == (3, 0, 2)
    assert (detections["lost"], detections["next_seq"]) == (1, 3)
    assert all(
        one["produced"] == one["acknowledged"] + one["waiting"] + one["lost"] for one in accounts.values()
    )


def test_wear_tells_what_is_written_a_day_and_how_long_a_card_lasts(path: Path, tmp_path: Path) -> None:
    assert "Nothing is counted yet" in nanofleet_outbox("wear", "--path", path).output
    sql(
        path,
        "INSERT OR REPLACE INTO meta VALUES ('wear_day_seconds', 43200), ('wear_day_bytes', 5000000000),"
        " ('wear_day_syncs', 4320), ('wear_all_seconds', 864000), ('wear_all_bytes', 0),"
        " ('wear_all_syncs', 9)",
    )
    told = as_json("wear", "--path", path)
    day, everything = told["worn"]
    assert told["endurance_tb"] == 10
    assert (day["hours"], day["gb_per_day"], day["syncs_per_day"]) == (12.0, 10.0, 8_640)
    assert day["life_years"] == 2.7
    assert (everything["hours"], everything["life_years"]) == (240.0, None)  # bytes are not counted there
    assert as_json("wear", "--path", path, "--endurance-tb", "100")["worn"][0]["life_years"] == 27.4
    settings = tmp_path / "agent.toml"
    settings.write_text(SETTINGS.format(folder=path.parent) + "[outbox]\ncard_endurance_tb = 20\n")
    assert as_json("wear", "--settings", settings)["worn"][0]["life_years"] == 5.5
    assert "bears 20 TB" in nanofleet_outbox("wear", "--settings", settings).output


def test_what_only_its_consumer_has_not_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite3"

    async def make() -> None:
        clock = FakeClock()
        async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
            await fill(outbox, clock, "detection", 3)
            await fill(outbox, clock, "event", 1)
            rows = await waiting(outbox)
            outbox.acknowledge([row.key for row in rows[:3]])

    asyncio.run(make())
    accounts = {one["stream"]: one for one in as_json("status", "--path", path)["streams"]}
    assert {name: (one["waiting"], one["at_broker"]) for name, one in accounts.items()} == {
        "detections/door": (3, 2),
        "events/crowd": (1, 1),
    }
    assert [row["at_broker"] for row in as_json("list", "--path", path)] == [True, True, True, False]


def test_list_tells_what_waits_in_the_order_of_sending(path: Path) -> None:
    rows = as_json("list", "--path", path)
    assert [(row["stream"], row["seq"]) for row in rows] == [
        ("loss", 0),
        ("events/crowd", 1),
        ("detections/door", 0),
        ("detections/door", 2),
    ]
    assert [row["seq"] for row in as_json("list", "--path", path, "--stream", "detections/door")] == [0, 2]
    assert len(as_json("list", "--path", path, "--limit", "1")) == 1


def test_refused_and_losses_tell_the_reason(path: Path) -> None:
    (refused,) = as_json("refused", "--path", path)
    assert (refused["stream"], refused["seq"], refused["reason"], refused["code"]) == (
        "detections/door",
        1,
        "refused",
        0x87,
    )
    (loss,) = as_json("losses", "--path", path)
    assert (loss["from"], loss["to"], loss["count"], loss["told"]) == (1, 1, 1, True)


def test_show_tells_the_payload_of_waiting_and_refused_messages(path: Path) -> None:
    (refused,) = as_json("refused", "--path", path)
    shown = as_json("show", refused["key"], "--path", path)
    assert (shown["payload"]["number"], shown["payload"]["seq"]) == (1, 1)
    (first, *_) = as_json("list", "--path", path, "--stream", "detections/door")
    shown = as_json("show", first["key"], "--path", path)
    assert (shown["payload"]["number"], shown["payload"]["seq"], shown["priority"]) == (0, 0, "detection")


def test_show_of_a_key_that_is_gone_says_so(path: Path) -> None:
    done = nanofleet_outbox("show", "999", "--path", path)
    assert done.exit_code == os.EX_DATAERR
    assert "no message 999" in done.stderr


@pytest.mark.parametrize("command", ["status", "list", "refused", "losses"])
def test_tables_are_for_people(path: Path, command: str) -> None:
    done = nanofleet_outbox(command, "--path", path)
    assert done.exit_code == 0
    assert "detections/door" in done.stdout


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("status", "Nothing was produced yet."),
        ("list", "Nothing waits."),
        ("refused", "Nothing was refused."),
        ("losses", "Nothing was lost."),
    ],
)
def test_an_empty_outbox_says_so(tmp_path: Path, command: str, sentence: str) -> None:
    async def make() -> None:
        async with outbox_at(tmp_path / "outbox.sqlite3"):
            pass

    asyncio.run(make())
    done = nanofleet_outbox(command, "--path", tmp_path / "outbox.sqlite3")
    assert (done.exit_code, done.stdout.strip()) == (0, sentence)


def test_the_file_is_found_by_the_settings(path: Path, tmp_path: Path) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(SETTINGS.format(folder=path.parent))
    assert as_json("status", "--settings", settings) == as_json("status", "--path", path)


def test_no_outbox_is_told_with_its_place(tmp_path: Path) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(SETTINGS.format(folder=tmp_path))
    done = nanofleet_outbox("status", "--settings", settings)
    assert done.exit_code == os.EX_NOINPUT
    assert f"there is no outbox at {tmp_path}/outbox.sqlite3" in done.stderr


def test_bad_settings_are_told_with_their_place(tmp_path: Path) -> None:
    done = nanofleet_outbox("status", "--settings", tmp_path / "nothing.toml")
    assert done.exit_code == os.EX_CONFIG
    assert "nothing.toml" in done.stderr


def test_a_file_that_is_no_outbox_is_told(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"garbage" * 1_000)
    done = nanofleet_outbox("status", "--path", garbage)
    assert done.exit_code == os.EX_NOINPUT
    assert "cannot be read" in done.stderr
    other = tmp_path / "other.sqlite3"
    sqlite3.connect(other).execute("CREATE TABLE recipes (name)").connection.close()
    done = nanofleet_outbox("list", "--path", other)
    assert done.exit_code == os.EX_NOINPUT
    assert "no outbox of this agent" in done.stderr


async def test_looking_while_an_agent_works_disturbs_neither(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite3"
    clock = FakeClock()
    outbox = await opened(path, clock=clock)
    try:
        await fill(outbox, clock, "detection", 10)

        def look() -> tuple[int, int]:
            with open_listing(path) as listing:
                before = len(listing.waiting(stream=None, limit=1_000))
                asyncio.run_coroutine_threadsafe(fill(outbox, clock, "detection", 10), loop).result(10)
                return before, len(listing.waiting(stream=None, limit=1_000))

        loop = asyncio.get_running_loop()
        assert await asyncio.to_thread(look) == (10, 10)  # one moment, whatever is written meanwhile
        assert len(await waiting(outbox)) == 20
        await outbox.append(draft(clock))
        done = await asyncio.to_thread(nanofleet_outbox, "status", "--path", path)
        assert done.exit_code == 0
    finally:
        await outbox.close()


def test_an_outbox_out_of_reach_is_told_too(tmp_path: Path) -> None:
    # As behind a folder that is closed to this user, but for root too.
    done = nanofleet_outbox("status", "--path", tmp_path / ("x" * 300))
    assert done.exit_code == os.EX_NOINPUT
    assert "cannot be read: File name too long" in done.stderr
