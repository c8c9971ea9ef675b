from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from agent.adapters.system.run_record import RUN_FILE, SERVICE_RESULT_FILE, Ending, RunRecord
from agent.domain.errors import ConfigError

BOOT: Final = "5f2b6c1e-0000-4000-8000-000000000000"


def record_in(state_dir: Path, version: str = "1.0.0") -> RunRecord:
    return RunRecord(state_dir=state_dir, version=version, boot=BOOT)


def test_the_first_start_ever_is_told_as_such(tmp_path: Path) -> None:
    started = record_in(tmp_path).begin()
    assert (started.reason, started.boot) == ("first", BOOT)


@pytest.mark.parametrize("ending", ["signal", "watchdog", "crash"])
def test_a_start_tells_how_the_last_run_ended(tmp_path: Path, ending: Ending) -> None:
    last = record_in(tmp_path)
    last.begin()
    last.end(ending)
    assert record_in(tmp_path).begin().reason == ending


def test_a_run_killed_without_warning_counts_as_a_crash(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from agent.adapters.system.run_record import RunRecord\n"
        "RunRecord(state_dir=Path(sys.argv[1]), version='1.0.0', boot='b').begin()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert record_in(tmp_path).begin().reason == "crash"


def test_a_run_killed_while_a_stage_stood_still_was_the_watchdogs(tmp_path: Path) -> None:
    last = record_in(tmp_path)
    last.begin()
    last.mark_stalled(stalled=True)
    assert record_in(tmp_path).begin().reason == "watchdog"


def test_a_stage_that_went_on_again_leaves_no_mark(tmp_path: Path) -> None:
    last = record_in(tmp_path)
    last.begin()
    last.mark_stalled(stalled=True)
    last.mark_stalled(stalled=False)
    assert record_in(tmp_path).begin().reason == "crash"


@pytest.mark.parametrize(("result", "reason"), [("watchdog\n", "watchdog"), ("core-dump\n", "crash")])
def test_systemds_word_tells_a_watchdog_kill_that_the_process_could_not(
    tmp_path: Path, result: str, reason: str
) -> None:
    record_in(tmp_path).begin()
    (tmp_path / SERVICE_RESULT_FILE).write_text(result, encoding="ascii")
    assert record_in(tmp_path).begin().reason == reason


def test_systemds_word_counts_for_one_start_only(tmp_path: Path) -> None:
    record_in(tmp_path).begin()
    (tmp_path / SERVICE_RESULT_FILE).write_text("watchdog\n", encoding="ascii")
    record_in(tmp_path).begin()
    assert record_in(tmp_path).begin().reason == "crash"


def test_another_version_is_an_upgrade_however_the_last_ended(tmp_path: Path) -> None:
    record_in(tmp_path, "1.0.0").begin()
    assert record_in(tmp_path, "1.1.0").begin().reason == "upgrade"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": "1.0.0"}', b"\xff\xfe"])
def test_a_damaged_record_counts_as_a_crash_and_is_replaced(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / RUN_FILE).write_bytes(damage)
    record = record_in(tmp_path)
    assert record.begin().reason == "crash"
    record.end("signal")
    assert record_in(tmp_path).begin().reason == "signal"


def test_a_state_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    record_in(tmp_path / "var" / "state").begin()
    assert record_in(tmp_path / "var" / "state").begin().reason == "crash"


def test_a_state_folder_that_cannot_be_made_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="state_dir must be a folder that the agent may write to"):
        record_in(tmp_path / "file" / "state").begin()


def test_a_start_on_a_full_disk_goes_on(tmp_path: Path) -> None:
    last = record_in(tmp_path)
    last.begin()
    last.end("signal")
    # What refuses every byte for want of space.
    (tmp_path / RUN_FILE).with_suffix(".tmp").symlink_to("/dev/full")
    assert record_in(tmp_path).begin().reason == "signal"


def test_the_end_of_a_run_survives_a_folder_that_is_gone(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    record = record_in(state_dir)
    record.begin()
    for left in state_dir.iterdir():
        left.unlink()
    state_dir.rmdir()
    record.end("signal")
    assert list(tmp_path.iterdir()) == []
