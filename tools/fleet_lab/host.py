"""One host of a lab: its disk, its power and its cable."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.fleet_lab.image import USER
from tools.fleet_lab.place import LabError, Place, cgroup_root

_BOOT_S: Final = 90.0
_COMMAND_S: Final = 60.0
_KILLED_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Host:
    """A host, by the lab it stands in, its name there and its number in the lab's network."""

    place: Place
    name: str
    number: int

    @property
    def address(self) -> str:
        return self.place.address(self.number)

    @property
    def folder(self) -> Path:
        return self.place.folder / "hosts" / self.name

    @property
    def root(self) -> Path:
        """Its disk as it sees it; mounted until the lab is torn down."""
        return self.folder / "root"

    @property
    def machine(self) -> str:
        return f"{self.place.name}-{self.name}"

    @property
    def interface(self) -> str:
        """The controller's end of its cable."""
        return f"vb-{self.machine}"[:15]

    def insert_disk(self, image: Path) -> None:
        """Give it a disk that begins as `image`, its name, its address and who may come in."""
        for part in ("upper", "work", "root"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        if not self.root.is_mount():
            layers = f"lowerdir={image},upperdir={self.folder}/upper,workdir={self.folder}/work"
            _run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        network = self.root / "etc/systemd/network"
        network.mkdir(parents=True, exist_ok=True)
        # Sorts before systemd's own file for container interfaces, which would ask for an address by DHCP.
        (network / "10-host0.network").write_text(
            f"[Match]\nName=host0\n\n[Network]\nAddress={self.address}/24\nLinkLocalAddressing=no\n"
        )
        home = self.root / "home" / USER
        owner = home.stat()
        (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
        keys = home / ".ssh/authorized_keys"
        shutil.copy(self.place.key_file.with_suffix(".pub"), keys)
        for path in (home / ".ssh", keys):
            os.chown(path, owner.st_uid, owner.st_gid)
        if not list((self.root / "etc/ssh").glob("ssh_host_*_key")):
            _run("ssh-keygen", "-A", "-f", str(self.root))

    def power_on(self) -> None:
        """Boot it; returns at once."""
        if self.is_powered():
            return
        _clear(self._cgroup)
        self._cgroup.mkdir()
        # Each in a control group of its own: two systemds in one tree would end each other's services.
        script = 'echo $$ > "$0/cgroup.procs"; exec "$@"'
        with (self.folder / "console.log").open("ab") as console:
            subprocess.run(
                [
                    # It outlives this command, and is no child of whoever calls.
                    *("setsid", "--fork", "sh", "-c", script, str(self._cgroup)),
                    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot"),
                    *("-D", str(self.root), "-M", self.machine, f"--hostname={self.name}"),
                    f"--network-bridge={self.place.bridge}",
                    # Without it systemd there takes IPAddressDeny= and DeviceAllow=, and enforces neither.
                    "--system-call-filter=bpf",
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                check=True,
                timeout=_COMMAND_S,
            )

    def start(self) -> None:
        """Boot it, and return when it lets us in."""
        self.power_on()
        self.wait_until_up()

    def wait_until_up(self) -> None:
        """Return when it lets us in by ssh and has started what it starts.

        Raises:
            LabError: it does not, for a minute and a half; its console's last words are told.
        """
        until = time.monotonic() + _BOOT_S
        while time.monotonic() < until:
            done = self.run("systemctl", "is-system-running", "--wait", check=False)
            if done.returncode == 0 or done.stdout.strip() in {"running", "degraded"}:
                return
            time.sleep(0.2)
        raise LabError(f"{self.name} did not come up within {_BOOT_S:.0f} s: {self._last_words()}")

    def pull_the_plug(self) -> None:
        """Have it off at once, as a power cut would: nothing is ended in order."""
        if self._cgroup.exists():
            (self._cgroup / "cgroup.kill").write_text("1")
            _clear(self._cgroup)
        subprocess.run(["ip", "link", "delete", self.interface], capture_output=True, check=False, timeout=30)

    def cut(self) -> None:
        """Pull its network cable."""
        _run("ip", "link", "set", self.interface, "down")

    def mend(self) -> None:
        """Put its network cable back."""
        _run("ip", "link", "set", self.interface, "up")

    def remove(self) -> None:
        """Off, and its disk thrown away."""
        self.pull_the_plug()
        while self.root.is_mount():
            _run("umount", str(self.root))
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_powered(self) -> bool:
        events = self._cgroup / "cgroup.events"
        return events.exists() and "populated 1" in events.read_text()

    def run(
        self, *command: str, check: bool = True, timeout_s: float = _COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there by ssh, as the operator.

        Raises:
            LabError: it failed, with `check`.
        """
        done = subprocess.run(
            self.ssh(*command), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {' '.join(command)}: {(done.stdout + done.stderr).strip()[-600:]}")
        return done

    def ssh(self, *command: str) -> Sequence[str]:
        """The command line that runs `command` there, word by word: no shell reads it anew."""
        return [
            *("ssh", "-i", str(self.place.key_file), "-o", "BatchMode=yes", "-o", "ConnectTimeout=2"),
            *("-o", f"UserKnownHostsFile={self.place.folder}/known_hosts", "-o", "LogLevel=ERROR"),
            *("-o", "StrictHostKeyChecking=accept-new", f"{USER}@{self.address}", shlex.join(command)),
        ]

    @property
    def _cgroup(self) -> Path:
        return cgroup_root() / f"nanofleet-lab-{self.machine}"

    def _last_words(self) -> str:
        console = self.folder / "console.log"
        return console.read_text(errors="replace")[-600:] if console.exists() else "it said nothing"


def _clear(cgroup: Path) -> None:
    """Remove a control group whose processes are gone, or going, with all that is below it."""
    until = time.monotonic() + _KILLED_S
    while cgroup.exists():
        try:
            for folder, _, _ in os.walk(cgroup, topdown=False):
                Path(folder).rmdir()
        except OSError as error:
            if time.monotonic() > until:
                raise LabError(f"processes below {cgroup} do not end: {error}") from error
            time.sleep(0.05)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_COMMAND_S)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or signal_name(done.returncode)}")


def signal_name(returncode: int) -> str:
    """What ended a process, for a person."""
    return signal.Signals(-returncode).name if returncode < 0 else f"exit status {returncode}"
