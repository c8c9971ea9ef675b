"""One lab for the whole story, torn down whatever happens; how long its chapters took, at the end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.fleet_lab.fleet import Fleet
from tests.fleet_lab.packages import offer, package_file, purge
from tests.fleet_lab.versions import REPOSITORY, Patch, blind, grown, make_release, picky
from tools.fleet_lab.lab import Lab
from tools.fleet_lab.place import why_not

FIRST: Final = "0.1.1"
GOOD: Final = "0.1.2"
BLIND: Final = "0.1.3"
GROWN: Final = "0.1.4"
PICKY: Final = "0.1.5"

_FLEET: Final = pytest.StashKey[Fleet]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("fleet").addoption(
        "--bounded",
        action="store_true",
        help="leave out the observers, which are tried elsewhere, and give a silent link up sooner",
    )


@pytest.fixture
def site(request: pytest.FixtureRequest, fleet: Fleet) -> tuple[str, ...]:
    """How site.yml is called: the whole of it on a host that has neither mosquitto nor Prometheus."""
    unaudited = ("-e", "nanofleet_accept_unaudited=true")
    if request.config.getoption("--bounded"):
        return (*unaudited, "--skip-tags", "observe")
    file = package_file(fleet.lab.host("broker-1"), "mosquitto")
    return (*unaudited, "-e", json.dumps({"nanofleet_broker_package_files": [str(file)]}))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Three bare nodes and a bare broker host, and the releases to bring to them."""
    if why := why_not():
        pytest.skip(f"no lab on this machine: {why}")
    folder = tmp_path_factory.mktemp("fleet")
    out = folder / "release"
    lab = Lab(os.environ.get("NANOFLEET_TEST_LAB", "test"))
    lab.down()
    bounded = request.config.getoption("--bounded")
    made = Fleet(lab=lab, folder=REPOSITORY / "build/fleet-test", impatient=bounded)
    shutil.rmtree(made.folder, ignore_errors=True)
    made.folder.mkdir(parents=True)
    request.config.stash[_FLEET] = made
    pool = ThreadPoolExecutor(2)
    try:
        hosts = pool.submit(lab.up)
        for version, patch in _releases(bounded=bounded).items():
            made.building[version] = pool.submit(
                make_release, version, out=out, sources=folder / "sources", patch=patch
            )
        hosts.result()
        if not bounded:
            for package in ("mosquitto", "prometheus"):
                purge(lab.host("broker-1"), package)
            offer(lab.host("broker-1"), "prometheus")
        yield made
    finally:
        pool.shutdown(cancel_futures=True)
        if made.recorder is not None:
            made.recorder.__exit__()
        lab.down()


def _releases(*, bounded: bool) -> dict[str, Patch | None]:
    story: dict[str, Patch | None] = {FIRST: None, GOOD: None, BLIND: blind, GROWN: grown}
    return story if bounded else story | {PICKY: picky}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    made = config.stash.get(_FLEET, None)
    if made is None:
        return
    terminalreporter.section("how long the fleet's playbooks took, and how long that is for each node")
    for label, seconds, nodes in made.timings:
        each = f"{seconds / nodes:7.1f} s/node" if nodes else " " * 14
        terminalreporter.write_line(f"{seconds:7.1f} s  {nodes} nodes  {each}  {label}")
    terminalreporter.write_line(f"what they printed: {_short(made.folder)}")


def _short(folder: Path) -> str:
    return str(folder.relative_to(REPOSITORY))
