"""Which tests run on a machine that lacks something: skipped and counted here, failed in CI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parent.parent

SUITE: Final = """
import pytest

@pytest.mark.ffmpeg
def test_one(): assert True

@pytest.mark.ffmpeg
def test_two(): assert True

@pytest.mark.testdata
def test_three(testdata): assert testdata.is_dir()

def test_four(): assert True
"""


def run_suite(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the small suite in a process of its own that sees no programs and these variables only."""
    suite = folder / "test_suite.py"
    suite.write_text(SUITE)
    command = [
        *(sys.executable, "-m", "pytest", "-c", str(REPOSITORY / "pyproject.toml"), "-p", "no:cacheprovider"),
        *("-p", "tests.conftest", f"--rootdir={folder}", str(suite)),
    ]
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"PATH": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> str:
    folder = tmp_path / "testdata"
    folder.mkdir()
    return str(folder)


def test_a_lacking_program_skips_and_is_counted(tmp_path: Path, data: str) -> None:
    done = run_suite(tmp_path, NANOFLEET_TESTDATA=data)
    assert done.returncode == 0, done.stdout
    assert "2 passed, 2 skipped" in done.stdout
    assert "2 tests were not run, for want of: Debian packages ffmpeg" in done.stdout


def test_lacking_data_skip_and_are_counted(tmp_path: Path) -> None:
    done = run_suite(tmp_path, NANOFLEET_TESTDATA=str(tmp_path / "nowhere"))
    assert done.returncode == 0, done.stdout
    assert "1 test was not run, for want of: shared test data" in done.stdout


def test_in_ci_what_is_lacking_fails(tmp_path: Path) -> None:
    done = run_suite(tmp_path, NANOFLEET_TESTDATA=str(tmp_path / "nowhere"), CI="true")
    assert done.returncode == 1, done.stdout
    assert "1 passed, 3 errors" in done.stdout
    assert "this machine lacks: Debian packages ffmpeg" in done.stdout


def test_in_ci_everything_runs_where_nothing_lacks(tmp_path: Path, data: str) -> None:
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text("#!/bin/sh\n")
    ffmpeg.chmod(0o755)
    done = run_suite(tmp_path, NANOFLEET_TESTDATA=data, CI="true")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
