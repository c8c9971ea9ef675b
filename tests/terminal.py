"""A document's commands, and terminals to type them into: for tests that do what a document says."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.brokers import free_port

_BLOCK: Final = re.compile(r"^```sh( background)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> tuple[list[str], list[str]]:
    """What is done in one terminal, and what goes on in terminals of its own; each in its order."""
    found = _BLOCK.findall(document.read_text(encoding="utf-8"))
    return [text for behind, text in found if not behind], [text for behind, text in found if behind]


class Terminal:
    """A folder, an environment, and what runs in the background. `port` is the broker's.

    `opening` is what is typed first in each new terminal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.opening = ""
        self._behind: list[subprocess.Popen[bytes]] = []
        path = [str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]
        self._environment = {**os.environ, "PATH": os.pathsep.join(path), "PORT": str(self.port)}

    def run(self, commands: str) -> str:
        """Do this to its end, all of which has to succeed; what it printed."""
        done = subprocess.run(
            ["sh", "-e", "-c", f"{self.opening}\n{commands}"],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def begin(self, command: str, *, shown: str = "terminal.txt") -> subprocess.Popen[bytes]:
        """Let this one command go on; the file `shown`, in the folder, gets what it would show."""
        with (self.folder / shown).open("ab") as out:
            process = subprocess.Popen(
                ["sh", "-c", f"{self.opening}\nexec {command}"],
                cwd=self.folder,
                env=self._environment,
                start_new_session=True,
                stdout=out,
                stderr=out,
            )
        self._behind.append(process)
        return process

    def interrupt(self, process: subprocess.Popen[bytes]) -> int:
        """Ctrl-C in its terminal; its exit code."""
        self._behind.remove(process)
        os.killpg(process.pid, signal.SIGINT)
        return process.wait(timeout=20)

    def end_all(self) -> None:
        for process in reversed(self._behind):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=20)

    def broker_answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
