"""`nanofleet demo`, as people run it: what it prints, what it writes, what it leaves behind."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.polling import until_blocking

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

DEMO = (sys.executable, "-m", "agent.cli", "demo")


def test_demo_stops_by_itself_and_proves_that_nothing_is_lost(tmp_path: Path) -> None:
    summary_file = tmp_path / "summary.json"
    printed = tmp_path / "printed"
    with printed.open("wb") as out:
        demo = subprocess.Popen([*DEMO, "--for", "12", "--json", str(summary_file)], stdout=out)

    # The line to copy comes at once, and works from another terminal.
    until_blocking(lambda: "demo watch" in printed.read_text(), within_s=60)
    found = re.search(r"demo watch (\S+)", printed.read_text())
    assert found is not None
    folder = found.group(1)
    watching = subprocess.run(
        [*DEMO, "watch", folder], capture_output=True, text=True, timeout=120, check=False
    )
    assert demo.wait(timeout=120) == 0
    assert watching.returncode == 0, watching.stderr
    received = re.search(r"received (\d+), duplicates (\d+), missing (\d+)", watching.stdout)
    assert received is not None
    assert int(received.group(1)) > 20
    assert received.group(3) == "0"

    summary = json.loads(summary_file.read_text())
    agent = summary["agent"]
    assert summary["lost"] == 0
    assert summary["received"] == agent["messages"]["produced"] == agent["messages"]["acknowledged"] > 50
    assert set(agent["sources"]) == {"line-a", "line-b", "motor"}
    for flow in agent["sources"].values():
        assert flow["inferred"] > 0
        assert flow["offered"] == flow["inferred"] + flow["held"] + sum(flow["dropped"].values())
    assert {"capture", "inference", "ack", "capture_to_ack"} <= set(agent["latency_ms"])
    assert agent["peak_memory_mb"] > 50
    assert "lost: 0" in printed.read_text()
    assert not Path(folder).exists()
    assert not list(Path(tempfile.gettempdir()).glob(Path(folder).name))


def test_watching_where_no_demo_runs_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "watch", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "no demo runs in" in done.stderr
