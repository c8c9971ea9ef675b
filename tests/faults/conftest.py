"""The fault suite: each test names its fault and leaves a record; together they are docs/faults.md.

`--long` chooses the long forms; `--faults-report FILE` keeps the records of this commit below build/faults
and writes the report from all of them, so that one form or one test can be run by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from tests.faults.records import Form, Record
from tests.faults.report import CHANGED, Seen, commit_of, gather, write

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_LONGEST: Final = {
    "test_after_an_outage_the_present_is_not_hidden_behind_the_past",
    "test_an_agent_killed_at_random_loses_no_committed_row_and_gives_every_number_once",
    "test_a_certificate_that_expired_offline_needs_no_restart_once_it_is_renewed",
    "test_a_synced_clock_that_steps_expires_nothing",
}
"""Each takes more than a minute in its short form."""
_RECORD: Final = pytest.StashKey[Record]()
_COMMIT: Final = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--long", action="store_true", help="the long forms of faults that have one")
    group.addoption("--faults-report", metavar="FILE", help="write the report of all faults to FILE")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_COMMIT] = commit = commit_of(_REPOSITORY)
    if commit.endswith(CHANGED) and not hasattr(config, "workerinput"):
        # The records of another state than this one.
        shutil.rmtree(_folder(config), ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and not _is_named(item):
            raise pytest.UsageError(f"{item.nodeid} names no fault: @pytest.mark.faults(subject, what)")
    # Those that wait longest begin first, each with another one: xdist hands out pairs to begin with.
    longest = [item for item in items if item.name in _LONGEST]
    others = iter([item for item in items if item.name not in _LONGEST])
    items[:] = [each for item in longest for each in (item, *islice(others, 1))] + list(others)


@pytest.fixture
def form(request: pytest.FixtureRequest) -> Form:
    """`quick` or `long`, as asked for; who takes it has both forms."""
    return "long" if request.config.getoption("--long") else "quick"


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """The row that this test leaves."""
    subject, what = request.node.get_closest_marker("faults").args
    made = Record(test=request.node.nodeid, subject=subject, what=what)
    if "form" in request.fixturenames:
        made.form = request.getfixturevalue("form")
    request.node.stash[_RECORD] = made
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    made = item.stash.get(_RECORD, None)
    if report.when == "call" and made is not None and item.config.getoption("--faults-report", None):
        made.passed, made.took_s = report.passed, report.duration
        made.write(_folder(item.config))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--faults-report", None)
    if file and not hasattr(session.config, "workerinput") and _folder(session.config).is_dir():
        write(Path(file), gather(_folder(session.config)), Seen.here(_REPOSITORY))


def _is_named(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("faults")
    return marker is not None and len(marker.args) == 2


def _folder(config: pytest.Config) -> Path:
    return _REPOSITORY / "build" / "faults" / config.stash[_COMMIT]
