"""The inventory by which Ansible finds the lab's hosts, and what this fleet watches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tools.fleet_lab.host import Host
from tools.fleet_lab.image import USER
from tools.fleet_lab.interpreter import sha256_of
from tools.fleet_lab.place import Place

SITE: Final = "lab"
CANARY: Final = "nano-1"
PRIVATE: Final = "nano-3"
WATCHWORD: Final = "of-no-camera-anywhere"
_RATE_HZ: Final = 2
"""Frames a second of each camera: all hosts share this machine's processor."""


def write_inventory(place: Place, hosts: Sequence[Host], *, interpreter: Path) -> None:
    """Write `inventory/hosts.yml` and `inventory/group_vars/all.yml`; each run says the same.

    One node is given an interpreter of its own, from the archive `interpreter`.
    """
    folder = place.inventory
    (folder / "group_vars").mkdir(parents=True, exist_ok=True)
    _write(folder / "hosts.yml", {"all": {"children": _groups(hosts, interpreter)}})
    _write(folder / "group_vars/all.yml", _variables(place, hosts))


def _groups(hosts: Sequence[Host], interpreter: Path) -> dict[str, Any]:
    at: dict[str, dict[str, str]] = {host.name: {"ansible_host": host.address} for host in hosts}
    if PRIVATE in at:
        at[PRIVATE] |= {
            "nanofleet_python": "private",
            "nanofleet_python_archive": str(interpreter),
            "nanofleet_python_sha256": sha256_of(interpreter),
        }
    nodes = {name: at[name] for name in at if not name.startswith("broker")}
    brokers = {name: at[name] for name in at if name.startswith("broker")}
    return {
        "nodes": {"hosts": nodes},
        "canary": {"hosts": {name: {} for name in nodes if name == CANARY}},
        "broker": {"hosts": brokers},
        "observers": {"hosts": {name: {} for name in brokers}},
    }


def _variables(place: Place, hosts: Sequence[Host]) -> dict[str, Any]:
    broker = next((host.address for host in hosts if host.name.startswith("broker")), place.address(1))
    return {
        "ansible_user": USER,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(place.key_file),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={place.folder}/known_hosts",
        "nanofleet_site": SITE,
        "nanofleet_broker_host": broker,
        "nanofleet_pki_ca_passphrase": "of-this-lab-alone",
        "nanofleet_pki_clients": ["controller", "dashboard"],
        "nanofleet_models": ["{{ playbook_dir }}/../../agent/demo/models/parts.onnx"],
        "nanofleet_secrets": {
            "cameras": {"username": "nanofleet", "password": WATCHWORD, "hosts": ["192.0.2.0/24"]}
        },
        "nanofleet_waves": ["100%"],
        "nanofleet_policy": _policy(),
    }


def _policy() -> dict[str, Any]:
    return {
        "v": 1,
        "version": 1,
        "issuer": "lab",
        "policy": {
            "models": {"parts": {"file": "parts.onnx"}},
            "sources": {
                "line": {
                    "kind": "synthetic",
                    "model": "parts",
                    "width_px": 320,
                    "height_px": 240,
                    "rate_hz": _RATE_HZ,
                },
                "machine": {"kind": "system"},
            },
            "publish": {"heartbeat_s": 2},
            # One thread that does not spin: three nodes and a broker share two cores.
            "power": {"lanes": 1},
        },
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text("---\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
