"""`kill -9` at any instant: no committed row is lost, no number is given twice or skipped."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest

from tests.polling import until_blocking

REPOSITORY = Path(__file__).parents[3]
KILLS = 25

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def run_and_kill(path: Path, said_file: Path, random: Random, *, seed: int) -> list[list[str]]:
    """Let the child work for a moment of random length; what it said before it was killed."""
    said_file.unlink(missing_ok=True)
    with said_file.open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.adapters.outbox.appending_child", str(path), str(seed)],
            cwd=REPOSITORY,
            stdout=said,
            stderr=subprocess.PIPE,
        )
        try:
            until_blocking(
                lambda: b"session" in said_file.read_bytes() or child.poll() is not None, within_s=30
            )
            with pytest.raises(subprocess.TimeoutExpired):  # the point in time is what is random here
                child.wait(timeout=random.uniform(0, 0.4))
        finally:
            os.kill(child.pid, signal.SIGKILL)
            _, errors = child.communicate(timeout=10)
    assert child.returncode == -signal.SIGKILL, errors.decode()
    lines = said_file.read_text(encoding="utf-8").split("\n")
    return [line.split() for line in lines[:-1]]  # the last one may be cut


def rows_in(path: Path) -> dict[str, dict[int, int]]:
    """Per stream the numbers that wait, and what their messages expected to be given."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    for stream, seq, body in connection.execute(
        "SELECT stream.name, message.seq, message.body FROM message JOIN stream ON stream.id = message.stream"
    ):
        assert seq not in found[stream]
        found[stream][seq] = json.loads(body)["number"]
    connection.close()
    return found


def accounts_in(path: Path) -> dict[str, tuple[int, int, int]]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    accounts = {
        name: (next_seq, acknowledged, lost)
        for name, next_seq, acknowledged, lost in connection.execute(
            "SELECT name, next_seq, acknowledged, lost FROM stream"
        )
    }
    connection.close()
    return accounts


def test_a_process_killed_at_random_loses_nothing_and_gives_every_number_once(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite3"
    random = Random(20261123)
    committed: dict[str, set[int]] = defaultdict(set)
    acknowledging: dict[str, set[int]] = defaultdict(set)
    sessions: list[int] = []
    epochs: set[str] = set()
    for kill in range(KILLS):
        for line in run_and_kill(path, tmp_path / "said", random, seed=kill):
            match line:
                case ["session", number, "of", epoch]:
                    sessions.append(int(number))
                    epochs.add(epoch)
                case ["committed", stream, seq, number]:
                    assert seq == number, f"{stream}: {number} was given {seq}"
                    committed[stream].add(int(seq))
                case ["acknowledging", stream, seq]:
                    acknowledging[stream].add(int(seq))

        waiting = rows_in(path)
        accounts = accounts_in(path)
        assert set(committed) <= set(accounts)
        for stream, (next_seq, acknowledged, lost) in accounts.items():
            assert lost == 0
            assert all(seq == number for seq, number in waiting[stream].items())
            # Whatever was ever given either waits, or was acknowledged after it had been given back.
            gone = set(range(next_seq)) - set(waiting[stream])
            assert gone <= acknowledging[stream], f"{stream}: lost {sorted(gone - acknowledging[stream])}"
            assert committed[stream] <= set(range(next_seq))
            assert len(gone) == acknowledged
            assert next_seq == acknowledged + len(waiting[stream])
    assert sessions == list(range(1, KILLS + 1))
    assert len(epochs) == 1
    assert sum(map(len, committed.values())) > 20 * KILLS
