"""A real broker, somebody who speaks for nodes on it, and an authority that the role made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import Mosquitto
from tests.fleet.role_pki import OWN, PASSPHRASE, play, request, role, signing
from tests.fleet.role_site import Site
from tests.fleet.simulated import Talk


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def talk(broker: Mosquitto) -> Iterator[Talk]:
    talk = Talk(broker)
    yield talk
    talk.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A controller's folder: an authority in `pki` that has issued nano-1 its certificate, for key.pem.

    For reading and for copies: it takes some 25 s to make.
    """
    folder = tmp_path_factory.mktemp("authority")
    said = play(folder, [role("authority.yml"), signing(request(folder, **OWN))])
    assert PASSPHRASE not in said
    return folder


@pytest.fixture
def controller(authority: Path, tmp_path: Path) -> Path:
    """A copy of it, in the test's own folder."""
    shutil.copytree(authority / "pki", tmp_path / "pki")
    shutil.copy(authority / "key.pem", tmp_path)
    return tmp_path


@pytest.fixture
def site(controller: Path) -> Iterator[Site]:
    """A broker of that authority, with a node that is somewhere else."""
    site = Site(controller)
    with site.broker:
        yield site
