"""What every command log keeps, and what the file of the real one survives."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from agent.adapters.command_log import COMMANDS_FILE, KEPT_S, SqliteCommandLog
from agent.domain.errors import Code, RefusedError, TransientError
from agent.ports import CommandLog, CommandOutcome
from tests.fakes.command_log import FakeCommandLog
from tests.polling import until_blocking

REPOSITORY = Path(__file__).parents[2]

DONE = CommandOutcome("done", output={"answer": [1, "zwei", None]})
REFUSED = CommandOutcome("rejected", Code.SCHEMA, "/args/source", "it is missing", retryable=False)

BOUNDS: Final[dict[str, Any]] = {
    "repeatable": ["diagnose"],
    "most_entered": 5,
    "most_repeatable": 3,
    "most_refused": 3,
}

Make = Callable[[], CommandLog]


@pytest.fixture(params=["sqlite", "fake"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes the log; called again it is what the next process finds."""
    if request.param == "fake":
        fake = FakeCommandLog(**BOUNDS)
        yield lambda: fake
        return
    opened: list[SqliteCommandLog] = []

    def again() -> CommandLog:
        opened.append(SqliteCommandLog(state_dir=tmp_path, **BOUNDS))
        return opened[-1]

    yield again
    for each in opened:
        each.close()


def test_an_id_is_entered_once(make: Make) -> None:
    commands = make()
    assert commands.enter("ping", "a") is None
    known = commands.enter("ping", "a")
    assert known is not None
    assert (known.op, known.id, known.outcome) == ("ping", "a", None)


def test_an_id_belongs_to_one_command_whatever_the_operation(make: Make) -> None:
    commands = make()
    commands.enter("ping", "a")
    known = commands.enter("snapshot", "a")
    assert known is not None
    assert known.op == "ping"


def test_an_outcome_is_kept_as_it_was(make: Make) -> None:
    commands = make()
    commands.enter("ping", "a")
    commands.finish("a", DONE)
    for log in (commands, make()):
        known = log.enter("ping", "a")
        assert known is not None
        assert known.outcome == DONE


def test_what_was_refused_is_kept_and_the_first_refusal_stands(make: Make) -> None:
    commands = make()
    assert commands.refuse("ping", "a", REFUSED) is None
    assert commands.refuse("ping", "a", CommandOutcome("rejected", Code.JSON)) == commands.enter("ping", "a")
    known = make().enter("ping", "a")
    assert known is not None
    assert known.outcome == REFUSED


def test_what_had_not_ended_is_found_by_the_next_process(make: Make) -> None:
    commands = make()
    for name in ("a", "b", "c"):
        commands.enter("snapshot", name)
    commands.finish("b", DONE)
    commands.refuse("ping", "d", REFUSED)
    assert [(kept.op, kept.id) for kept in make().unfinished()] == [("snapshot", "a"), ("snapshot", "c")]


def test_what_was_not_entered_cannot_end(make: Make) -> None:
    commands = make()
    commands.finish("a", DONE)
    assert commands.enter("ping", "a") is None


def test_beyond_its_bound_no_more_may_run(make: Make) -> None:
    commands = make()
    for number in range(5):
        commands.enter("ping", f"{number}")
        commands.finish(f"{number}", DONE)
    with pytest.raises(RefusedError) as refused:
        commands.enter("ping", "one-more")
    assert refused.value.code == Code.BUSY
    assert commands.enter("ping", "0") is not None


def test_what_changes_nothing_takes_no_room_from_the_rest(make: Make) -> None:
    commands = make()
    for number in range(10):
        assert commands.enter("diagnose", f"look-{number}") is None
        commands.finish(f"look-{number}", DONE)
    for number in range(5):
        assert commands.enter("patch-config", f"{number}") is None
        commands.finish(f"{number}", DONE)
    assert commands.enter("diagnose", "look-9") is not None
    assert commands.enter("diagnose", "look-0") is None
    assert commands.enter("patch-config", "0") is not None
    with pytest.raises(RefusedError) as refused:
        commands.enter("patch-config", "one-more")
    assert refused.value.code == Code.BUSY


def test_refusals_push_out_refusals_only(make: Make) -> None:
    commands = make()
    commands.enter("ping", "ran")
    commands.finish("ran", DONE)
    for number in range(10):
        commands.refuse("ping", f"no-{number}", REFUSED)
    assert commands.enter("ping", "ran") is not None
    assert commands.refuse("ping", "no-9", REFUSED) is not None
    assert commands.refuse("ping", "no-0", REFUSED) is None


def test_after_a_day_the_oldest_that_has_ended_makes_room(tmp_path: Path) -> None:
    now_s = [1e9]
    with closing(SqliteCommandLog(state_dir=tmp_path, wall_s=lambda: now_s[0], most_entered=2)) as commands:
        commands.enter("ping", "running")
        commands.enter("ping", "ended")
        commands.finish("ended", DONE)
        now_s[0] += KEPT_S - 1
        with pytest.raises(RefusedError):
            commands.enter("ping", "new")
        now_s[0] += 1
        assert commands.enter("ping", "new") is None
        assert commands.enter("ping", "running") is not None
        with pytest.raises(RefusedError):
            commands.enter("ping", "ended")


def test_the_oldest_outputs_are_forgotten_and_their_outcomes_are_not(tmp_path: Path) -> None:
    with closing(SqliteCommandLog(state_dir=tmp_path, most_output_bytes=2_500)) as commands:
        for number in range(3):
            commands.enter("diagnose", f"{number}")
            commands.finish(f"{number}", CommandOutcome("done", output={"text": "x" * 1_000}))
        outcomes = [known.outcome for n in range(3) if (known := commands.enter("diagnose", f"{n}"))]
    assert [outcome is not None and outcome.status for outcome in outcomes] == ["done"] * 3
    assert [bool(outcome and outcome.output) for outcome in outcomes] == [False, True, True]
    assert outcomes[0] is not None
    assert outcomes[0].message == "what it answered is not kept any more"


@pytest.mark.parametrize(
    "content", [b"no database at all, by any means" * 200, b"", b"SQLite format 3\0" + bytes(4096)]
)
def test_a_damaged_file_is_moved_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / COMMANDS_FILE).write_bytes(content)
    with closing(SqliteCommandLog(state_dir=tmp_path)) as commands:
        assert commands.enter("ping", "a") is None
        assert commands.enter("ping", "a") is not None
    assert (tmp_path / f"{COMMANDS_FILE}.damaged").exists() == bool(content)


def test_a_file_that_is_damaged_while_it_is_open_is_replaced_in_the_end(tmp_path: Path) -> None:
    with closing(SqliteCommandLog(state_dir=tmp_path)) as commands:
        for number in range(200):
            commands.enter("ping", f"{number}")
    file = tmp_path / COMMANDS_FILE
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)
    with closing(SqliteCommandLog(state_dir=tmp_path)) as commands:
        assert commands.enter("ping", "7") is None
    assert file.with_name(f"{COMMANDS_FILE}.damaged").exists()


def test_a_folder_that_is_not_there_is_told_and_no_end(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with closing(SqliteCommandLog(state_dir=folder)) as commands:
        with pytest.raises(TransientError) as told:
            commands.enter("ping", "a")
        assert told.value.code == Code.SPACE
        assert str(folder / COMMANDS_FILE) in told.value.message
        folder.mkdir()
        assert commands.enter("ping", "a") is None


def test_many_threads_enter_an_id_once(tmp_path: Path) -> None:
    with closing(SqliteCommandLog(state_dir=tmp_path)) as commands, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: commands.enter("ping", "a"), range(32)))
    assert found.count(None) == 1


def test_what_is_entered_is_synced_and_what_is_refused_need_not_be(tmp_path: Path) -> None:
    with closing(SqliteCommandLog(state_dir=tmp_path)) as commands:
        calls: list[Callable[[], object]] = [
            lambda: commands.enter("ping", "a"),
            lambda: commands.finish("a", DONE),
            lambda: commands.refuse("ping", "b", REFUSED),
        ]
        levels = []
        for call in calls:
            call()
            assert isinstance(commands._connection, sqlite3.Connection)
            levels.append(commands._connection.execute("PRAGMA synchronous").fetchone()[0])
    assert levels == [2, 2, 1]


def command_and_kill(folder: Path, said_file: Path, *, prefix: str, after_s: float) -> None:
    with said_file.open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.adapters.commanding_child", str(folder), prefix],
            cwd=REPOSITORY,
            stdout=said,
            stderr=subprocess.PIPE,
        )
        try:
            until_blocking(lambda: b"entered" in said_file.read_bytes() or child.poll() is not None)
            with pytest.raises(subprocess.TimeoutExpired):  # the point in time is what is random here
                child.wait(timeout=after_s)
        finally:
            os.kill(child.pid, signal.SIGKILL)
            _, errors = child.communicate(timeout=10)
    assert child.returncode == -signal.SIGKILL, errors.decode()


def test_what_a_later_version_wrote_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    with closing(SqliteCommandLog(state_dir=tmp_path)) as commands:
        commands.enter("ping", "a")
        commands.finish("a", DONE)
        later = '{"status":"failed","code":"E_LATER","path":null,"message":"","retryable":false,"more":1}'
        with closing(sqlite3.connect(commands.file)) as other, other:
            other.execute("UPDATE command SET outcome = ?", (later,))
        known = commands.enter("ping", "a")
    assert known is not None
    assert known.outcome == CommandOutcome("failed", Code.INTERNAL, output=DONE.output)


def test_an_outcome_that_is_damaged_is_told_and_no_end(tmp_path: Path) -> None:
    with closing(SqliteCommandLog(state_dir=tmp_path)) as commands:
        commands.enter("ping", "a")
        commands.finish("a", DONE)
        with closing(sqlite3.connect(commands.file)) as other, other:
            other.execute("UPDATE command SET outcome = '[]'")
        with pytest.raises(TransientError):
            commands.enter("ping", "a")
        assert commands.enter("ping", "b") is None


@pytest.mark.slow
def test_a_process_killed_at_random_forgets_no_id_that_it_may_have_run(tmp_path: Path) -> None:
    random = Random(20261123)
    entered: set[str] = set()
    ended: set[str] = set()
    for life in range(15):
        said_file = tmp_path / "said"
        command_and_kill(tmp_path, said_file, prefix=f"{life}", after_s=random.uniform(0, 0.2))
        for line in said_file.read_text().split("\n")[:-1]:  # the last one may be cut
            word, command_id = line.split()
            (entered if word == "entered" else ended).add(command_id)
        with closing(SqliteCommandLog(state_dir=tmp_path)) as commands:
            open_ids = {kept.id for kept in commands.unfinished()}
            assert len(open_ids) <= 1
            assert not open_ids & ended
            for command_id in entered:
                assert commands.enter("ping", command_id) is not None
            for command_id in open_ids:
                commands.finish(command_id, CommandOutcome("failed", Code.INTERRUPTED))
    assert len(entered) > 50
