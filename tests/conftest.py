"""What all tests share: which of them can run on this machine, and where the shared data lies.

A test that lacks a program or the shared data is skipped and counted; where `CI=true` it fails, so
that a green run there means that everything ran.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.programs import PACKAGES_BY_MARKER, missing_packages

_REPOSITORY: Final = Path(__file__).resolve().parent.parent
_LACKING: Final = pytest.StashKey[dict[str, int]]()


def testdata_folder() -> Path:
    """Where shared models, pictures and golden results are looked for; it need not exist."""
    named = os.environ.get("NANOFLEET_TESTDATA")
    return Path(named) if named else _REPOSITORY.parent / "shared" / "testdata"


def _what_is_lacking(item: pytest.Item) -> str | None:
    packages = sorted(
        {
            package
            for marker in PACKAGES_BY_MARKER
            if item.get_closest_marker(marker)
            for package in missing_packages(marker)
        }
    )
    if packages:
        return f"Debian packages {' '.join(packages)}"
    if item.get_closest_marker("testdata") and not testdata_folder().is_dir():
        return "shared test data (set NANOFLEET_TESTDATA)"
    if item.get_closest_marker("ansible") and not (_REPOSITORY / ".venv-ansible" / ".made").is_file():
        return ".venv-ansible (make venv-ansible)"
    if item.get_closest_marker("release") and not (_REPOSITORY / ".venv-release" / ".made").is_file():
        return ".venv-release (make venv-release)"
    return None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LACKING] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    lacking = _what_is_lacking(item)
    if lacking is None:
        return
    counts = item.config.stash[_LACKING]
    counts[lacking] = counts.get(lacking, 0) + 1
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run every test, but this machine lacks: {lacking}", pytrace=False)
    pytest.skip(f"this machine lacks: {lacking}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for lacking, count in sorted(config.stash[_LACKING].items()):
        tests = "1 test was" if count == 1 else f"{count} tests were"
        terminalreporter.write_line(f"{tests} not run, for want of: {lacking}", yellow=True)


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of shared models, pictures, clips and golden results. Use with `@pytest.mark.testdata`."""
    return testdata_folder()
