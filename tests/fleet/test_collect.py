"""What collect.yml asks of a node, on this machine: it arrives closed, and nothing is left behind."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any, Final

import pytest

from agent.adapters.policy_store import FilePolicyStore
from agent.ports import KeptPolicy
from tests.fleet.role_pki import as_root, play

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(300)]

COLLECT: Final = {"ansible.builtin.include_role": {"name": "agent", "tasks_from": "collect.yml"}}


def collect(folder: Path, *, fails: bool = False, **more: Any) -> str:
    """Collect from this machine into `folder`/collected; its temporary files are in `folder`/tmp."""
    places = {"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home")}
    for place in places.values():
        Path(place).mkdir()
    more |= {
        "__nanofleet_etc": str(folder / "etc"),
        "nanofleet_collect_dir": str(folder / "collected"),
        "nanofleet_collect_lines": 10,
        "nanofleet_node": "nano-1",
    }
    options = ("-e", json.dumps(more))
    return play(folder, [COLLECT], options=options, before=as_root(), environment=places, fails=fails)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "agent.toml").write_text("[broker]\n")
    return etc


def left(folder: Path) -> list[Path]:
    return list((folder / "tmp").iterdir())


def test_what_is_collected_is_closed_to_others_and_leaves_nothing_behind(
    tmp_path: Path, settings: Path
) -> None:
    (settings / "policy.yaml").write_text("v: 1\n")
    collect(tmp_path)
    package = tmp_path / "collected/nano-1.tar.gz"
    assert package.stat().st_mode & 0o777 == 0o600
    assert package.parent.stat().st_mode & 0o777 == 0o700
    with tarfile.open(package) as held:
        assert {"agent.toml", "policy.yaml", "journal.txt", "unit.txt"} <= set(held.getnames())
        assert {file.mode & 0o777 for file in held if file.isfile()} == {0o600}
        written = held.extractfile("agent.toml")
        assert written is not None
        assert written.read() == b"[broker]\n"
    assert left(tmp_path) == []


def test_policy_in_force_is_among_it_though_only_the_unit_has_the_key(tmp_path: Path, settings: Path) -> None:
    (settings / "agent.toml").write_text(
        f'site = "plant"\nnode = "nano-1"\nstate_dir = "{tmp_path}/state"\n[broker]\nhost = "broker"\n'
        'ca_file = "ca.pem"\ncert_file = "node.pem"\nkey_file = "node.key"\n'
    )
    (settings / "policy.yaml").write_text("v: 1\n")
    document = {"version": 7, "policy": {"sources": {"door": {"kind": "synthetic"}}}}
    FilePolicyStore(state_dir=tmp_path / "state").keep(KeptPolicy(document=document, floor=7))
    agent = tmp_path / "as-agent"
    command = Path(sys.executable).with_name("nanofleet")
    agent.write_text(f'#!/bin/sh\nexec {command} "$@" --settings {settings}/agent.toml\n')
    agent.chmod(0o755)
    collect(tmp_path, __nanofleet_as_agent=str(agent))
    with tarfile.open(tmp_path / "collected/nano-1.tar.gz") as held:
        policy = held.extractfile("policy.txt")
        assert policy is not None
        told = policy.read().decode()
    assert told.startswith("version 7, from file"), told
    assert '"kind": "synthetic"' in told


def test_a_node_without_settings_or_policy_tells_the_rest(tmp_path: Path) -> None:
    """As it is where the first installation ended early: one is not there, the other a link to nowhere."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/policy.yaml").symlink_to(tmp_path / "current/etc/policy.yaml")
    said = " ".join(collect(tmp_path).split())
    told = said.partition("msg: localhost could not tell all;")[2].partition(" TASK ")[0]
    with tarfile.open(tmp_path / "collected/nano-1.tar.gz") as held:
        assert {"journal.txt", "unit.txt", "disk.txt"} <= set(held.getnames())
        for name in ("agent.toml", "policy.yaml"):
            assert name in told
            answer = held.extractfile(name)
            assert answer is not None
            assert f"{tmp_path}/etc/{name}: No such file or directory" in answer.read().decode()
    assert "disk.txt" not in told
    assert left(tmp_path) == []


@pytest.mark.usefixtures("settings")
def test_a_collection_that_fails_leaves_nothing_behind_either(tmp_path: Path) -> None:
    (tmp_path / "collected").write_text("in the way")
    said = collect(tmp_path, fails=True)
    assert f"{tmp_path}/collected already exists as a file" in said
    assert left(tmp_path) == []
    assert (tmp_path / "collected").read_text() == "in the way"
