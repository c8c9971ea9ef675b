"""The real command, as a process, in a folder of its own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from agent.report import RunReport
from tests.brokers import HOST, Identity

SITE = "plant"


class AgentProcess:
    """`nanofleet run` for one node; it keeps its folder, and so its outbox, when it is started again.

    `state` is where the outbox lies, below `folder` by itself. `wrapper` is put before the command, as in
    ``faketime -f +1d``; `environment` is added to ours.
    """

    def __init__(
        self,
        folder: Path,
        *,
        identity: Identity,
        port: int,
        policy: str,
        media: Iterable[Path] = (),
        extra_settings: str = "",
        keepalive_s: int = 5,
        state: Path | None = None,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.media = folder / "media"
        self.state = state or folder / "state"
        self.wrapper = tuple(wrapper)
        self.environment = dict(environment or {})
        self.outbox_file = self.state / "outbox.sqlite3"
        self.report_file = folder / "report.json"
        self.http_socket = folder / "http.sock"
        self._log = folder / "agent.log"
        self._process: subprocess.Popen[bytes] | None = None
        for needed in (self.media, self.state):
            needed.mkdir(parents=True, exist_ok=True)
        for file in media:
            shutil.copy(file, self.media / file.name)
        self._settings = folder / "agent.toml"
        self._settings.write_text(f"""\
site = "{SITE}"
node = "{identity.name}"
state_dir = "{self.state}"
policy_file = "{folder}/policy.yaml"
media_root = "{self.media}"
{extra_settings}
[broker]
host = "{HOST}"
port = {port}
ca_file = "{identity.ca}"
cert_file = "{identity.certificate}"
key_file = "{identity.key}"
keepalive_s = {keepalive_s}
[http]
listen = "{self.http_socket}"
""")
        (folder / "policy.yaml").write_text(policy)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log's lines; every one of them has to be JSON."""
        return [json.loads(line) for line in self.log.splitlines()]

    @property
    def pid(self) -> int:
        """Of the process that was started; of its wrapper, where there is one."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *arguments: str) -> Self:
        assert not self.running
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self.wrapper,
                    *(sys.executable, "-m", "agent.cli", "run"),
                    *("--settings", str(self._settings), "--report", str(self.report_file)),
                    *arguments,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **self.environment},
            )
        return self

    def wait(self, *, within_s: float) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None
        try:
            return self._process.wait(timeout=within_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {within_s} s:\n{self.log[-3000:]}") from error

    def stop(self, *, within_s: float = 15.0) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait(within_s=within_s)

    def kill(self) -> None:
        """As a power cut of the process: SIGKILL, to its wrapper as well."""
        assert self._process is not None
        self._kill_group(self._process.pid)
        self._process.wait(timeout=10)

    def report(self) -> RunReport:
        return RunReport.model_validate_json(self.report_file.read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            # A wrapper that has ended may have left the agent behind.
            self._kill_group(self._process.pid)
            self._process.wait(timeout=10)

    def _kill_group(self, leader: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)


def command(*arguments: str | Path, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
    """Run another command of nanofleet to its end."""
    words: Sequence[str] = [sys.executable, "-m", "agent.cli", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
