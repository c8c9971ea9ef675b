"""Settings and policy are checked on the controller before a node is touched, also in check mode."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.fleet.player import ANSIBLE
from tests.fleet.playing import Said, run_plays
from tests.fleet.roles import read

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(120)]

COMMAND: Final = str(Path(sys.executable).with_name("nanofleet"))
GOOD: Final = {"v": 1, "version": 1, "policy": {"sources": {"door": {"kind": "synthetic"}}}}
BAD: Final = {"v": 1, "version": 1, "policy": {"sources": {"door": {"kind": "rtps"}}}}
UNMODELLED: Final = {"v": 1, "version": 1, "policy": {"sources": {"door": {"kind": "rtsp", "model": "part"}}}}
HOSTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "good": {"nanofleet_policy": GOOD},
    "misspelt": {"nanofleet_policy": BAD},
    "no-model": {"nanofleet_policy": UNMODELLED},
    "misspelt-setting": {"nanofleet_policy": GOOD, "nanofleet_settings": {"media_rot": "/x"}},
    "no-command": {"nanofleet_policy": GOOD, "nanofleet_command": "/nowhere/nanofleet"},
}


def foresee(folder: Path, *arguments: str) -> dict[str, Said]:
    """What the last task said of each host; nothing listens at the hosts' addresses."""
    variables = {
        "__nanofleet_cache": str(folder / "cache"),
        "__nanofleet_systemd": 252,
        "nanofleet_site": "plant",
        "nanofleet_broker_host": "broker.example",
        "nanofleet_pki_dir": str(folder / "pki"),
    }
    hosts = {
        name: {"nanofleet_node": name, "nanofleet_command": COMMAND, "ansible_port": 1, **about}
        for name, about in HOSTS.items()
    }
    include = {"ansible.builtin.include_role": {"name": "agent", "tasks_from": "foresee"}}
    said = run_plays(
        [{"hosts": "all", "gather_facts": False, "tasks": [include]}],
        folder=folder,
        inventory={"all": {"hosts": hosts}},
        variables=variables,
        arguments=arguments,
    )
    return {one.host: one for one in said}


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_each_host_is_told_what_is_wrong_and_none_is_asked(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    said = foresee(tmp_path, *arguments)
    refusals = {host: one.refusal for host, one in said.items()}
    assert refusals.pop("good") is None
    for host, words in {
        "misspelt": "next-plant-misspelt.yaml:5: policy.sources.door.kind",
        "no-model": "policy.sources.door.model",
        "misspelt-setting": "did you mean 'media_root'?",
        "no-command": "/nowhere/nanofleet check",
    }.items():
        refusal = refusals[host] or ""
        assert refusal.startswith(f"{host} could not run by its settings and policy: "), refusal
        assert words in refusal
    assert "rtps" in (refusals["misspelt"] or "")
    files = list((tmp_path / "cache").glob("next-*"))
    assert len(files) == 2 * len(HOSTS)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_it_comes_before_anything_on_the_node_is_touched() -> None:
    tasks = [task["ansible.builtin.import_tasks"] for task in read("agent", "tasks/main.yml")]
    assert tasks.index("foresee.yml") < tasks.index("install.yml")


@pytest.mark.parametrize(("policy", "says"), [(GOOD, None), (BAD, "policy.yaml:6: policy.sources.door.kind")])
def test_the_release_on_the_node_says_it_as_clearly(
    tmp_path: Path, policy: Mapping[str, Any], says: str | None
) -> None:
    names = ("Hold both against the release", "Refuse what the release could not run by")
    tasks = [task for task in read("agent", "tasks/configure.yml") if task["name"] in names]
    assert len(tasks) == 2
    role = tmp_path / "roles/agent"
    (role / "tasks").mkdir(parents=True)
    (role / "tasks/main.yml").write_text(yaml.safe_dump(tasks, sort_keys=False))
    (role / "vars").symlink_to(ANSIBLE / "roles/agent/vars")
    for folder in ("etc/next", "release/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "release/bin/nanofleet").symlink_to(COMMAND)
    settings = 'site = "plant"\nnode = "here"\n[broker]\nhost = "broker.example"\nallow_insecure = true\n'
    (tmp_path / "etc/next/agent.toml").write_text(settings)
    (tmp_path / "etc/next/policy.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
    said = run_plays(
        [{"hosts": "all", "gather_facts": False, "roles": ["agent"]}],
        folder=tmp_path,
        inventory={"all": {"hosts": {"here": {"ansible_connection": "local"}}}},
        variables={"__nanofleet_etc": str(tmp_path / "etc"), "__nanofleet_new": str(tmp_path / "release")},
        roles=tmp_path / "roles",
    )
    assert [one.refusal is None for one in said] == [True, says is None]
    assert (says or "") in (said[-1].refusal or "")
