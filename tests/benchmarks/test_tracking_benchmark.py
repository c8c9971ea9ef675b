"""The benchmark of tracking: the command, and its picture."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.tracking import Scenario, identities


def run(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.tracking", *words], check=True, timeout=50)


def test_identities_are_the_same_each_time() -> None:
    told = [identities(Scenario("few_", people=3), range(2), 3.0) for _ in range(2)]
    assert told[0] == told[1]
    assert 0.5 < told[0]["few_idf1_least"] <= told[0]["few_idf1"] <= 1.0


@pytest.mark.slow
def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    written = tmp_path / "tracking.json"
    run("--quick", "--json", str(written))
    told = json.loads(written.read_text())
    assert told["figures"]["perfect_detector_idf1"] > 0.8
    assert told["figures"]["track_us"] > 0
    assert told["environment"]["sequences"] == 2


@pytest.mark.slow
def test_the_picture_in_the_documents_is_what_is_drawn(tmp_path: Path) -> None:
    drawn = tmp_path / "seeing.svg"
    run("--picture", str(drawn))
    assert ET.fromstring(drawn.read_text()).tag.endswith("svg")  # noqa: S314 it is our own
    kept = Path(__file__).parents[2] / "docs/seeing.svg"
    assert drawn.read_text() == kept.read_text()
