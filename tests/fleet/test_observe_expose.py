"""The role `observe` on a node: its socket lets in whom the inventory says, whatever ended the run before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fleet.role_pki import as_root, play, stand_in

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(300)]

NODE: Final[dict[str, Any]] = {"ansible.builtin.include_role": {"name": "observe", "tasks_from": "node"}}


class Node:
    """Units in a folder, and a systemctl that writes down what it is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = folder / "systemctl.log"
        self.units = folder / "units"
        self.units.mkdir()
        self.note = folder / "metrics.opened"
        stand_in(folder, "systemd-run", "exit 43")

    def run(self, *options: str, allowed: str, lost: bool = False, **more: Any) -> str:
        """Pass the metrics on to this address. `lost`: the run ends when systemd is first told."""
        self._told.write_text("")
        shown = "echo LoadState=loaded; echo ActiveState=active; echo UnitFileState=enabled"
        answer = f'echo "$*" >>{self._told}; case "$*" in *is-enabled*) echo enabled;; *show*) {shown};; '
        answer += f"*) exit {int(lost)};; esac"
        known = {
            "__nanofleet_observe_units_folder": str(self.units),
            "__nanofleet_observe_note": str(self.note),
            "nanofleet_observe_expose_metrics": True,
            "nanofleet_observe_metrics_address": "192.0.2.1",
            "nanofleet_observe_allowed": [allowed],
            **more,
        }
        return play(
            self._folder,
            [NODE],
            options=("-e", json.dumps(known), *options),
            before=as_root(),
            environment={"PATH": stand_in(self._folder, "systemctl", answer)},
            fails=lost,
        )

    @property
    def openings(self) -> int:
        """How often the last run opened the socket anew."""
        return self._told.read_text().count("restart nanofleet-metrics.socket")

    @property
    def lets_in(self) -> str:
        text = (self.units / "nanofleet-metrics.socket").read_text()
        return text.partition("IPAddressAllow=localhost ")[2].splitlines()[0]


def test_a_socket_that_was_not_opened_for_its_addresses_is_opened_by_the_next_run(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.run(allowed="192.0.2.9")
    assert node.openings == 1
    node.run(allowed="192.0.2.10", lost=True)
    assert (node.openings, node.lets_in) == (0, "192.0.2.10")
    node.run(allowed="192.0.2.10")
    assert node.openings == 1
    for options in ((), ("--check", "--diff")):
        assert "changed=0" in node.run(*options, allowed="192.0.2.10")
        assert node.openings == 0
    node.run(allowed="192.0.2.10", nanofleet_observe_expose_metrics=False)
    assert not node.note.exists()
    assert list(node.units.iterdir()) == []
