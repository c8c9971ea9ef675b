"""What policy.yml says and sends, by its module, with a real broker; the nodes are simulated."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.brokers import OPERATOR, Mosquitto
from tests.fleet.playing import run_plays
from tests.fleet.simulated import POLICY, Talk, settings_of

pytestmark = [pytest.mark.ansible, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(120)]

NODE: Final = "plant/nano-1"
SENT: Final = f"Received PUBLISH from {OPERATOR}"

Hold = Callable[..., Mapping[str, Any]]


@pytest.fixture
def hold(tmp_path: Path, broker: Mosquitto) -> Hold:
    """Hold the node to version 3, by the module; what it said."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    task = {
        "name": "Hold",
        "nanofleet_policy": {
            "command": str(Path(sys.executable).with_name("nanofleet")),
            "settings": str(settings_of(tmp_path, broker)),
            "documents": {NODE: str(tmp_path / "policy.yaml")},
            "timeout": 5,
        },
    }
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [task]}]
    inventory = {"all": {"hosts": {"here": {"ansible_connection": "local"}}}}

    def play(*arguments: str) -> Mapping[str, Any]:
        (said,) = run_plays(plays, folder=tmp_path, inventory=inventory, variables={}, arguments=arguments)
        return said.result

    return play


def test_a_version_that_is_stale_is_said_and_not_sent(hold: Hold, talk: Talk, broker: Mosquitto) -> None:
    talk.leave([NODE], version=4)
    stale = "E_STALE version 3 is below 4, which is in force: raise it with each change"
    assert hold("--check")["nodes"][NODE] == {"ok": True, "message": stale}
    said = hold()
    assert (said["changed"], said["nodes"][NODE]) == (False, {"ok": False, "message": stale})
    assert SENT not in broker.log


def test_what_is_in_force_is_sent_over_another_document_that_was_left(
    hold: Hold, talk: Talk, broker: Mosquitto
) -> None:
    talk.leave([NODE])
    talk.say(NODE, "config/desired", {"v": 1, "version": 1, "policy": {}}, retain=True)
    foretold = hold("--check")
    assert foretold["changed"] is True
    assert foretold["nodes"][NODE]["message"] == "drift: another document is on config/desired"
    assert SENT not in broker.log
    said = hold()
    assert (said["changed"], said["nodes"][NODE]) == (True, {"ok": True, "message": "applied"})
    again = hold()
    assert (again["changed"], again["nodes"][NODE]["message"]) == (False, "version 3 is in force")
