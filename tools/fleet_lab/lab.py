"""The whole lab: brought up, found again by another process, and torn down without a trace."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tools.fleet_lab.host import Host
from tools.fleet_lab.image import base_image
from tools.fleet_lab.interpreter import interpreter_archive
from tools.fleet_lab.inventory import write_inventory
from tools.fleet_lab.place import LabError, Place, why_not

HOSTS: Final = ("nano-1", "nano-2", "nano-3", "broker-1")
_FIRST_NUMBER: Final = 11


def _silently(_step: str) -> None:
    pass


class Lab:
    """A lab under its name. What stands of it is read from disk and kernel: any process can go on with it."""

    def __init__(self, name: str) -> None:
        self.place = Place(name)

    @property
    def hosts(self) -> dict[str, Host]:
        """Its hosts by name; empty while it is down."""
        roster = self.place.folder / "hosts.json"
        names = json.loads(roster.read_text()) if roster.exists() else []
        return {name: Host(self.place, name, _FIRST_NUMBER + number) for number, name in enumerate(names)}

    def up(self, names: Sequence[str] = HOSTS, *, tell: Callable[[str], None] = _silently) -> None:
        """Bring up hosts of these names; what stands already is left as it is. `tell` hears each step.

        Raises:
            LabError: this machine cannot hold a lab, or a host does not come up.
        """
        if why := why_not():
            raise LabError(why)
        tell("its hosts' disk: made now if it is not there (about a minute, from Debian's archive)")
        image = base_image()
        self.place.folder.mkdir(parents=True, exist_ok=True)
        known = list(dict.fromkeys([*self.hosts, *names]))
        (self.place.folder / "hosts.json").write_text(json.dumps(known))
        if not self.place.key_file.exists():
            _quietly(
                "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(self.place.key_file)
            )
        self._lay_network()
        hosts = list(self.hosts.values())
        tell(f"booting {', '.join(host.name for host in hosts)}")
        for host in hosts:
            host.insert_disk(image)
            host.power_on()
        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(Host.wait_until_up, hosts))
        tell("an interpreter of its own for a node, and the inventory")
        write_inventory(self.place, hosts, interpreter=interpreter_archive(image))

    def down(self) -> None:
        """Take everything away; a lab that stands half, or not at all, as well."""
        for host in self.hosts.values():
            host.remove()
        subprocess.run(
            ["ip", "link", "delete", self.place.bridge], capture_output=True, check=False, timeout=30
        )
        shutil.rmtree(self.place.folder, ignore_errors=True)

    def host(self, name: str) -> Host:
        """Raises: LabError: there is none of this name."""
        if (host := self.hosts.get(name)) is None:
            there = ", ".join(self.hosts) or "none; bring the lab up first"
            raise LabError(f"there is no host {name!r} in lab {self.place.name!r}: {there}")
        return host

    def _lay_network(self) -> None:
        bridge = self.place.bridge
        there = subprocess.run(["ip", "link", "show", bridge], capture_output=True, check=False, timeout=30)
        if there.returncode == 0:
            return
        _quietly("ip", "link", "add", bridge, "type", "bridge")
        _quietly("ip", "address", "add", f"{self.place.address(1)}/24", "dev", bridge)
        _quietly("ip", "link", "set", bridge, "up")


def _quietly(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
