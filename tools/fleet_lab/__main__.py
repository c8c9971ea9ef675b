"""The lab's command: bring it up, harm its hosts, look into them, tear it down."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from tools.fleet_lab.host import Host
from tools.fleet_lab.image import base_image
from tools.fleet_lab.lab import HOSTS, Lab
from tools.fleet_lab.place import LabError

_ACTIONS: Final[dict[str, tuple[Callable[[Host], None], str]]] = {
    "power-on": (Host.start, "boot a host, and wait for it"),
    "power-off": (Host.pull_the_plug, "pull a host's plug"),
    "cut": (Host.cut, "pull a host's network cable"),
    "mend": (Host.mend, "put it back"),
}


def main(arguments: list[str]) -> int:
    """Do what was asked. Returns the exit status."""
    options = _parser().parse_args(arguments)
    lab = Lab(options.name)
    try:
        return _do(lab, options)
    except LabError as error:
        print(f"fleet lab: {error}", file=sys.stderr)
        return 1


def _do(lab: Lab, options: argparse.Namespace) -> int:
    match options.action:
        case "image":
            print(base_image())
        case "up":
            began = time.monotonic()
            lab.up(options.hosts.split(","), tell=_tell)
            print(f"up in {time.monotonic() - began:.1f} s: {', '.join(lab.hosts)}")
            print(f"inventory: {lab.place.inventory}")
        case "down":
            lab.down()
        case "status":
            for host in lab.hosts.values():
                print(f"{host.name:12} {host.address:16} {'on' if host.is_powered() else 'off'}")
        case "exec":
            return subprocess.run(
                lab.host(options.host).ssh("sh", "-c", " ".join(options.command)), check=False
            ).returncode
        case action:
            _ACTIONS[action][0](lab.host(options.host))
    return 0


def _tell(step: str) -> None:
    print(f"fleet lab: {step}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.fleet_lab", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text)
        made.add_argument("--name", default="lab", help="which lab, at most six letters (lab)")
        return made

    action("image", "make the disk that all hosts begin with, or what is missing of it")
    up = action("up", "make the hosts and the inventory, or what is missing of them")
    up.add_argument("--hosts", default=",".join(HOSTS), help="names with commas between (%(default)s)")
    action("down", "take everything away")
    action("status", "say which hosts there are")
    for name, (_, text) in _ACTIONS.items():
        action(name, text).add_argument("host")
    execute = action("exec", "run a command line on a host by ssh")
    execute.add_argument("host")
    execute.add_argument("command", nargs="+", help="after --, if it has options")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
