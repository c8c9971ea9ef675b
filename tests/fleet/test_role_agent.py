"""The role `agent` held against the agent: its settings, policies and unit; all roles against themselves."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.policy_text import parse_policy
from agent.contract.yaml_text import read_yaml
from agent.domain.errors import Code
from agent.settings import load_settings
from agent.settings.control import ControlKeySettings
from agent.settings.grants import SecretSettings
from agent.settings.model import Settings
from agent.settings.permits import breaches
from tests.fleet.player import ANSIBLE
from tests.fleet.roles import ROLES, filters, options, play, read, render

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
_VALUE = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), _TEXT, st.lists(_TEXT))
_TABLES = st.recursive(
    st.dictionaries(_TEXT, _VALUE, max_size=4),
    lambda inner: st.dictionaries(_TEXT, st.one_of(_VALUE, inner), max_size=4),
    max_leaves=12,
)

UNIT: Final[dict[str, Any]] = {
    "nanofleet_watchdog_s": 30,
    "nanofleet_start_timeout_s": 180,
    "nanofleet_stop_timeout_s": 30,
    "nanofleet_memory_max": "3000M",
    "nanofleet_secrets": {},
    "nanofleet_device_groups": [],
    "nanofleet_onnxruntime": "cpu",
    "nanofleet_reachable": [],
    "__nanofleet_credentials": True,
    "__nanofleet_all_devices": [],
}


@pytest.mark.parametrize("name", ["nanofleet", "nanofleet_gate", "nanofleet_names", "nanofleet_pki"])
def test_what_the_filters_say_of_themselves_holds(name: str) -> None:
    tried = doctest.testmod(filters(name))
    assert tried.attempted > 0
    assert tried.failed == 0


def test_variables_of_all_roles_are_known() -> None:
    known = filters("nanofleet_names").variables_of(str(ANSIBLE / "roles"))
    assert set(known) == {name for role in ROLES for name in options(role)}


@given(_TABLES)
def test_settings_come_back_from_their_toml(tables: dict[str, Any]) -> None:
    assert tomllib.loads(filters().to_toml(tables)) == tables


def test_only_devices_that_sources_open_are_given() -> None:
    policy = {
        "policy": {
            "sources": {
                "door": {"kind": "v4l2"},
                "yard": {"kind": "v4l2", "device": "v4l/by-id/usb-cam"},
                "off": {"kind": "v4l2", "device": "video7", "enabled": False},
                "gate": {"kind": "rtsp"},
            }
        }
    }
    assert filters().video_devices(policy) == ["/dev/v4l/by-id/usb-cam", "/dev/video0"]


def test_secrets_and_keys_of_the_role_are_those_of_the_settings() -> None:
    for variable, model in (
        ("nanofleet_secrets", SecretSettings),
        ("nanofleet_control_keys", ControlKeySettings),
    ):
        told = " ".join(options("agent")[variable]["description"])
        for field in model.model_fields:
            assert field.removesuffix("_file" if field == "password_file" else "") in told, (variable, field)


def test_every_setting_can_be_said_by_the_inventory() -> None:
    said = set(options("agent")["nanofleet_settings"]["options"])
    elsewhere = {"site", "node", "secrets"}
    assert said | elsewhere == set(Settings.model_fields)
    assert not said & elsewhere


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_described(role: str) -> None:
    described = set(options(role))
    defaults = set(read(role, "defaults/main.yml"))
    assert defaults <= described, f"not in argument_specs: {defaults - described}"
    used = {
        name
        for file in (ANSIBLE / "roles" / role).rglob("*")
        if file.suffix in {".yml", ".j2"} and file.parent.name in {"tasks", "templates", "handlers", "vars"}
        for name in re.findall(r"(?<![_\w.'/-])nanofleet_[a-z0-9_]+\b(?!:)", file.read_text())
    }
    everywhere = set().union(*(options(each) for each in ROLES)) | MODULES
    assert used <= everywhere, f"described nowhere: {used - everywhere}"


MODULES: Final = {"nanofleet_policy", "nanofleet_mqtt_session", "nanofleet_jetson_matrix"}


@pytest.mark.ansible
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"__nanofleet_all_devices": ["/dev/video0"], "nanofleet_device_groups": ["video"]},
        {"__nanofleet_all_devices": ["/dev/nvmap"], "nanofleet_onnxruntime": "gpu"},
        {"nanofleet_reachable": ["10.1.0.0/16"]},
        {"__nanofleet_credentials": False},
    ],
    ids=["plain", "camera", "gpu", "few-addresses", "old-systemd"],
)
def test_unit_is_hardened_whatever_the_sources_ask_for(more: dict[str, Any], tmp_path: Path) -> None:
    unit = tmp_path / "nanofleet.service"
    unit.write_text(render("agent", "nanofleet.service.j2", UNIT | more))
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout + rated.stderr
    assert "Unknown" not in rated.stderr, rated.stderr


_RENDER: Final = """\
- ansible.builtin.template:
    src: "{{ item }}.j2"
    dest: "{{ out }}/{{ inventory_hostname }}.{{ item }}"
    mode: "0644"
  loop: [agent.toml, policy.yaml]
  become: false
"""


@pytest.mark.ansible
@pytest.mark.slow
def test_example_of_three_is_what_nodes_would_run_by(tmp_path: Path) -> None:
    secrets = {"cameras": {"username": "nanofleet", "password": "x", "hosts": ["192.0.2.0/24"]}}
    variables = {"out": str(tmp_path), "nanofleet_secrets": secrets, "__nanofleet_systemd": 252}
    play("agent", _RENDER, inventory="three", folder=tmp_path, variables=variables)
    assert len(list(tmp_path.glob("*.agent.toml"))) == 3
    for name in ("nano-1", "nano-2", "nano-3"):
        settings = load_settings(tmp_path / f"{name}.agent.toml", look_at_files=False)
        assert settings.node == name
        _would_run((tmp_path / f"{name}.policy.yaml").read_bytes(), settings)


_TELL_PEERS: Final = """\
- ansible.builtin.copy:
    content: "{{ ansible_play_batch | peers(hostvars) | to_json }}"
    dest: "{{ out }}/{{ inventory_hostname }}.json"
    mode: "0644"
  become: false
"""


@pytest.mark.ansible
@pytest.mark.slow
def test_gate_of_a_wave_asks_for_no_node_of_another(tmp_path: Path) -> None:
    play(
        "agent", _TELL_PEERS, inventory="three", folder=tmp_path, variables={"out": str(tmp_path)}, serial="2"
    )
    asked = {file.stem: json.loads(file.read_text()) for file in tmp_path.glob("*.json")}
    assert asked == {
        "nano-1": ["plant/nano-1", "plant/nano-2"],
        "nano-2": ["plant/nano-1", "plant/nano-2"],
        "nano-3": ["plant/nano-3"],
    }


_TELL_WAVES: Final = """\
- ansible.builtin.copy:
    content: "{{ ansible_play_batch | length }}"
    dest: "{{ out }}/{{ inventory_hostname }}.wave"
    mode: "0644"
  become: false
  run_once: true
"""


@pytest.mark.ansible
@pytest.mark.slow
@pytest.mark.parametrize("playbook", ["rollout.yml", "rollback.yml"])
def test_waves_are_those_of_the_inventory(playbook: str, tmp_path: Path) -> None:
    plays = yaml.safe_load((ANSIBLE / playbook).read_text())
    serial = next(play["serial"] for play in plays[1:] if "serial" in play)
    variables = {"out": str(tmp_path)}
    play("agent", _TELL_WAVES, inventory="two-hundred", folder=tmp_path, variables=variables, serial=serial)
    assert [int(file.read_text()) for file in sorted(tmp_path.glob("*.wave"), key=_age)] == [10, 50, 140]


def _age(file: Path) -> int:
    return file.stat().st_mtime_ns


_TELL_ALL: Final = """\
- ansible.builtin.copy:
    content: >-
      {% set told = {} %}{% for name in groups['nodes'] %}{% set _ = told.update({name: {
      'settings': hostvars[name].nanofleet_settings | default({}), 'site': hostvars[name].nanofleet_site,
      'policy': hostvars[name].nanofleet_policy}}) %}{% endfor %}{{ told | to_json }}
    dest: "{{ out }}/all.json"
    mode: "0644"
  become: false
  run_once: true
"""


@pytest.mark.ansible
@pytest.mark.slow
def test_each_node_of_the_two_hundred_has_cameras_of_its_own(tmp_path: Path) -> None:
    play("agent", _TELL_ALL, inventory="two-hundred", folder=tmp_path, variables={"out": str(tmp_path)})
    nodes = json.loads((tmp_path / "all.json").read_text())
    assert len(nodes) == 200
    seen: set[str] = set()
    for name, told in nodes.items():
        file = tmp_path / "agent.toml"
        broker = {"host": "broker-1.edge.example"}
        file.write_text(
            filters().to_toml({"site": told["site"], "node": name, "broker": broker, **told["settings"]})
        )
        settings = load_settings(file, look_at_files=False)
        _would_run(json.dumps(told["policy"]).encode(), settings)
        addresses = [
            source["url"] for source in told["policy"]["policy"]["sources"].values() if "url" in source
        ]
        assert not seen & set(addresses), name
        seen |= set(addresses)
    assert len(seen) == 181


def _would_run(policy: bytes, settings: Settings) -> None:
    document = parse_policy(read_yaml(policy))
    # The models are the fleet's own.
    told = [each for each in breaches(document.policy, settings) if each.code != Code.FILE]
    assert not told, (settings.node, told)
