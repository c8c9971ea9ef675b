"""A real broker, and somebody who speaks for nodes on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import Mosquitto
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
