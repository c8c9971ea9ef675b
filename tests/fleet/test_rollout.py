"""rollout.yml as it stands, on nodes that are folders: whom it puts back, and whom it leaves alone.

What a node does to itself (preflight, installation, restart) is stood in for by the flip of a link, and
`nanofleet fleet` by a program that looks at the links.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.fleet.player import ANSIBLE, run_playbook

pytestmark = [pytest.mark.slow, pytest.mark.ansible, pytest.mark.timeout(180)]

BEFORE: Final = "0.0.9"
OLD: Final = "0.1.0"
NEW: Final = "0.2.0"
CANARIES: Final = ("a", "b")
NODES: Final = (*CANARIES, "c", "d")
UNREACHABLE: Final = 4
"""ansible-playbook's own, where nothing else is wrong."""
ONE_WAVE: Final = ("-e", '{"nanofleet_waves": ["100%"]}')

_MAIN: Final = """\
- ansible.builtin.set_fact:
    __nanofleet_release: {version: "{{ nanofleet_release_dir | basename }}"}
- ansible.builtin.fail: {msg: its disk is full}
  when: inventory_hostname in cannot_install
- ansible.builtin.file:
    src: "releases/{{ __nanofleet_release.version }}"
    dest: "{{ __nanofleet_home }}/current"
    state: link
    force: true
  register: __nanofleet_flip
"""
_BACK: Final = """\
- ansible.builtin.fail: {msg: its disk went read-only}
  when: inventory_hostname in cannot_go_back
- ansible.builtin.file:
    src: "releases/{{ __nanofleet_back_to }}"
    dest: "{{ __nanofleet_home }}/current"
    state: link
    force: true
- ansible.builtin.set_fact:
    __nanofleet_began_anew: true
"""
_COMMAND: Final = """\
#!/usr/bin/env python3
import json, sys
from pathlib import Path

here = Path(__file__).parent
scenario = json.loads((here / "scenario.json").read_text())
runs = {host.name: (host / "current").readlink().name for host in (here / "hosts").iterdir()}

def told(name):
    door = "waiting" if runs[name] in scenario["bad"].get(name, []) else "ok"
    return {"state": {"state": "online", "session": 7}, "info": {"agent": runs[name]},
            "health": {"sources": {"door": {"status": door}, "yard": {"status": "ok"}}}}

if sys.argv[2] == "get":
    names = [word for word in sys.argv if word.startswith("plant/")]
    print(json.dumps({"nodes": {name: told(name.removeprefix("plant/")) for name in names}}))
    sys.exit()
wishes = json.loads(Path(sys.argv[sys.argv.index("--each") + 1]).read_text())
hung_up = here / "hung-up"
if scenario["hangs_up_once"] and not hung_up.exists():
    hung_up.touch()
    sys.exit(69)
if any(wish.get("agent") in scenario["unanswered"] for wish in wishes.values()):
    sys.stderr.write("the broker hung up\\n")
    sys.exit(69)
nodes = {}
for name, wish in wishes.items():
    health = told(name.removeprefix("plant/"))["health"]["sources"]
    well = [source for source, condition in health.items() if condition["status"] == "ok"]
    heard = all(source in well for source in wish.get("sources", health))
    met = heard and wish.get("agent") in (None, runs[name.removeprefix("plant/")])
    condition = {"met": met, "seen": well, "wanted": wish.get("sources")}
    nodes[name] = {"met": met, "after_s": 1.0, "conditions": {"detection": condition}}
met = all(node["met"] for node in nodes.values())
print(json.dumps({"met": met, "nodes": nodes}))
sys.exit(0 if met else 1)
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """A rollout that ended."""

    status: int
    output: str


class Folders:
    """Four nodes, two of them canaries, all of them on the old release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.playbooks = folder / "ansible"
        for name in NODES:
            home = folder / "hosts" / name
            home.mkdir(parents=True)
            (home / "current").symlink_to(f"releases/{OLD}")
            for release in (BEFORE, OLD, NEW):
                (home / "releases" / release / "etc").mkdir(parents=True)
        self.release = folder / NEW
        self.release.mkdir()
        (self.release / "release.json").write_text(json.dumps({"version": NEW}))
        self.command = folder / "nanofleet"
        self.command.write_text(_COMMAND)
        self.command.chmod(0o755)
        self._lay_playbooks()
        inventory = {
            "all": {
                "vars": {
                    "ansible_connection": "local",
                    "ansible_become": False,
                    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                    "nanofleet_site": "plant",
                    "nanofleet_waves": [1],
                },
                "children": {
                    "nodes": {"hosts": {name: {} for name in NODES}},
                    "canary": {"hosts": {name: {} for name in CANARIES}},
                },
            }
        }
        self.inventory = folder / "inventory"
        self.inventory.mkdir()
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(inventory))

    def run(
        self,
        playbook: str,
        *options: str,
        bad: Mapping[str, list[str]] | None = None,
        unanswered: tuple[str, ...] = (),
        hangs_up_once: bool = False,
        cannot_install: tuple[str, ...] = (),
        cannot_go_back: tuple[str, ...] = (),
    ) -> Ran:
        """Run a playbook; `bad`: by node, the releases under which its door sees nothing."""
        (self.folder / "scenario.json").write_text(
            json.dumps({"bad": bad or {}, "unanswered": unanswered, "hangs_up_once": hangs_up_once})
        )
        variables = {
            "__nanofleet_home": f"{self.folder}/hosts/{{{{ inventory_hostname }}}}",
            "__nanofleet_releases": f"{self.folder}/hosts/{{{{ inventory_hostname }}}}/releases",
            "__nanofleet_cache": str(self.folder / "cache"),
            "nanofleet_release_dir": str(self.release),
            "nanofleet_command": str(self.command),
            "nanofleet_broker_host": "192.0.2.1",
            "nanofleet_policy": {"v": 1, "version": 1, "policy": {}},
            "cannot_install": cannot_install,
            "cannot_go_back": cannot_go_back,
        }
        done = run_playbook(
            *("-i", str(self.inventory), playbook, "-e", json.dumps(variables), *options),
            folder=self.playbooks,
            environment={
                "ANSIBLE_CONFIG": str(self.playbooks / "ansible.cfg"),
                "ANSIBLE_ROLES_PATH": str(self.playbooks / "roles"),
                "ANSIBLE_HOME": str(self.folder / "home"),
                "ANSIBLE_GATHERING": "explicit",
            },
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    def have_run(self, release: str, *names: str, accepted: str, before: str = "") -> None:
        """As earlier runs may have left it."""
        for name in names:
            home = self.folder / "hosts" / name
            (home / "current").unlink()
            (home / "current").symlink_to(f"releases/{release}")
            told = {"release": accepted, "before": before, "sources": ["door", "yard"]}
            (home / "accepted.json").write_text(json.dumps(told))

    def lose(self, name: str) -> None:
        """Nobody answers at the node's address from now on."""
        away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
        (self.inventory / "host_vars").mkdir()
        (self.inventory / f"host_vars/{name}.yml").write_text(yaml.safe_dump(away))

    @property
    def runs(self) -> dict[str, str]:
        """Which release each node runs."""
        return {name: (self.folder / "hosts" / name / "current").readlink().name for name in NODES}

    @property
    def to_catch_up(self) -> list[str]:
        file = self.inventory / "retry.txt"
        return file.read_text().split() if file.exists() else []

    def accepted(self, node: str) -> dict[str, Any]:
        """What was written down of the node."""
        text = (self.folder / "hosts" / node / "accepted.json").read_text()
        accepted: dict[str, Any] = json.loads(text)
        return accepted

    def _lay_playbooks(self) -> None:
        # Roles beside a playbook go before all others.
        shutil.copytree(ANSIBLE, self.playbooks, ignore=shutil.ignore_patterns("inventories", ".ansible"))
        tasks = self.playbooks / "roles/agent/tasks"
        (tasks / "main.yml").write_text(_MAIN)
        (tasks / "back.yml").write_text(_BACK)
        # What site.yml does beside it.
        for other in ("pki/tasks/main.yml", "observe/tasks/node.yml"):
            (self.playbooks / "roles" / other).write_text("[]\n")


@pytest.fixture
def fleet(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def on(release: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, release)


def test_all_get_a_release_that_is_well_though_the_broker_hangs_up_once(fleet: Folders) -> None:
    done = fleet.run("rollout.yml", hangs_up_once=True)
    assert done.status == 0, done.output[-3000:]
    assert fleet.runs == on(NEW, *NODES)
    assert fleet.accepted("d") == {"release": NEW, "before": OLD, "sources": ["door", "yard"]}
    assert fleet.to_catch_up == []


def test_a_canary_that_fails_is_put_back_and_the_other_one_stays(fleet: Folders) -> None:
    done = fleet.run("rollout.yml", bad={"b": [NEW]})
    assert done.status != 0
    assert fleet.runs == on(NEW, "a") | on(OLD, "b", "c", "d"), done.output[-3000:]
    assert "It is on 0.1.0, and reports well" in done.output
    assert sorted(fleet.to_catch_up) == ["b", "c", "d"]


def test_a_broker_that_hangs_up_at_the_gate_has_all_of_the_wave_put_back(fleet: Folders) -> None:
    done = fleet.run(
        "rollout.yml", "-e", "nanofleet_without_canaries=true", "--limit", "c,d", *ONE_WAVE, unanswered=(NEW,)
    )
    assert done.status != 0
    assert fleet.runs == on(OLD, *NODES), done.output[-3000:]
    assert "the gate could not be asked: the broker hung up" in done.output


def test_a_node_that_cannot_install_takes_nobody_of_its_wave_with_it(fleet: Folders) -> None:
    done = fleet.run("rollout.yml", *ONE_WAVE, cannot_install=("c",))
    assert done.status != 0
    assert fleet.runs == on(NEW, "a", "b", "d") | on(OLD, "c"), done.output[-3000:]
    assert "c: its disk is full. It is on 0.1.0, and reports well" in done.output


def test_what_a_run_that_was_broken_off_has_left_is_no_measure(fleet: Folders) -> None:
    """The release sees nothing: of what runs now, the door need not be heard."""
    fleet.have_run(NEW, *CANARIES, accepted=OLD)
    again = fleet.run("rollout.yml", bad={name: [NEW] for name in NODES})
    assert again.status != 0
    assert fleet.runs == on(OLD, *NODES), again.output[-3000:]


def test_one_that_cannot_be_put_back_keeps_nobody_from_it(fleet: Folders) -> None:
    bad = {name: [NEW] for name in NODES}
    options = ("-e", "nanofleet_without_canaries=true", "--limit", "c,d", *ONE_WAVE)
    done = fleet.run("rollout.yml", *options, bad=bad, cannot_go_back=("c",))
    assert done.status != 0
    assert fleet.runs == on(NEW, "c") | on(OLD, "a", "b", "d"), done.output[-3000:]
    assert "It could not be put back on 0.1.0: its disk went read-only" in done.output
    assert "d: the gate was not met: detection is" in done.output
    assert sorted(fleet.to_catch_up) == ["c", "d"]


def test_waves_follow_the_inventory_and_end_with_the_first_that_fails(fleet: Folders) -> None:
    done = fleet.run("rollout.yml", bad={"c": [NEW]})
    assert done.status != 0
    assert fleet.runs == on(NEW, "a", "b") | on(OLD, "c", "d"), done.output[-3000:]


def test_settings_go_in_waves_that_report_first_and_past_who_is_away(fleet: Folders) -> None:
    fleet.lose("a")
    done = fleet.run("site.yml", bad={"c": [NEW]})
    assert done.status != 0
    assert "the gate was not met: detection is" in done.output, done.output[-3000:]
    assert fleet.runs == on(NEW, "b", "c") | on(OLD, "a", "d"), done.output[-3000:]
    assert fleet.accepted("b")["release"] == NEW
    done = fleet.run("site.yml")
    assert fleet.runs == on(NEW, "b", "c", "d") | on(OLD, "a"), done.output[-3000:]
    assert done.status == UNREACHABLE


def test_nobody_gets_what_the_canaries_do_not_run(fleet: Folders) -> None:
    refused = fleet.run("rollout.yml", "--limit", "c")
    assert refused.status != 0
    assert fleet.runs == on(OLD, *NODES)
    assert "plant/a, plant/b are canaries and do not report 0.2.0" in refused.output, refused.output[-3000:]
    fleet.have_run(NEW, *CANARIES, accepted=NEW)
    assert fleet.run("rollout.yml", "--limit", "c").status == 0
    assert fleet.runs == on(NEW, "a", "b", "c") | on(OLD, "d")


def test_nodes_that_would_go_back_to_different_releases_stay(fleet: Folders) -> None:
    """A rollout was halted: the canaries have the new one, the others never had."""
    fleet.have_run(NEW, *CANARIES, accepted=NEW, before=OLD)
    fleet.have_run(OLD, "c", "d", accepted=OLD, before=BEFORE)
    done = fleet.run("rollback.yml")
    assert done.status != 0
    assert "a, b from 0.2.0 to 0.1.0; c, d from 0.1.0 to 0.0.9" in done.output, done.output[-3000:]
    assert fleet.runs == on(NEW, "a", "b") | on(OLD, "c", "d")


def test_back_without_asking_the_broker(fleet: Folders) -> None:
    fleet.have_run(NEW, *NODES, accepted=NEW, before=OLD)
    options = ("-e", "nanofleet_without_gate=true", *ONE_WAVE)
    done = fleet.run("rollback.yml", *options, unanswered=(OLD, NEW))
    assert done.status == 0, done.output[-3000:]
    assert fleet.runs == on(OLD, *NODES)
    assert fleet.accepted("d") == {"release": OLD, "before": "", "sources": ["door", "yard"]}
    again = fleet.run("rollback.yml", *options)
    assert again.status != 0
    assert "d has no release before 0.1.0" in again.output, again.output[-3000:]
    assert fleet.runs == on(OLD, *NODES)


def test_who_went_back_is_known_to_have_passed_though_another_one_did_not(fleet: Folders) -> None:
    fleet.have_run(NEW, *NODES, accepted=NEW, before=OLD)
    done = fleet.run("rollback.yml", *ONE_WAVE, bad={"a": [OLD]}, cannot_go_back=("b",))
    assert done.status != 0
    assert fleet.runs == on(NEW, "b") | on(OLD, "a", "c", "d"), done.output[-3000:]
    assert [fleet.accepted(name)["release"] for name in NODES] == [NEW, NEW, OLD, OLD]
    assert "b: its disk went read-only" in done.output


def test_a_rollback_that_was_broken_off_goes_on_the_same_way(fleet: Folders) -> None:
    fleet.have_run(NEW, *NODES, accepted=NEW, before=OLD)
    fleet.have_run(OLD, "c", "d", accepted=NEW, before=OLD)
    done = fleet.run("rollback.yml", "-e", "nanofleet_back_to=", *ONE_WAVE)
    assert fleet.runs == on(OLD, *NODES), done.output[-3000:]
    assert fleet.accepted("d")["release"] == OLD
