"""A real mosquitto for tests: mutual TLS on a free loopback port, one identity a certificate.

As contract.md has it, the certificate's CN is user name and client id, and the access list lets a
node write its own topics and read what is addressed to it, nothing else.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import trustme

from tests.programs import find_program

HOST: Final = "127.0.0.1"
OPERATOR: Final = "operator"
"""The identity that may read and write every topic."""
PUBLISHER: Final = "publisher"
"""Another one that may, for while OPERATOR listens: a broker has one connection for each."""

UPWARD: Final = (
    *("detections/#", "telemetry/#", "events/#", "snapshots/#", "result/#", "loss", "alarms/#"),
    *("state", "health", "info", "config/reported", "heartbeat", "log"),
)
"""What a node may write, below its own topics."""

_DOWNWARD: Final = ("config/desired", "command/#", "ack/#")
_DEADLINE_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The PEM files that one client shows and trusts."""

    name: str
    ca: Path
    certificate: Path
    key: Path

    def copied_to(self, folder: Path) -> Identity:
        """The same in a folder of its own, where a test may spoil it."""
        folder.mkdir(exist_ok=True)
        names = {"ca": folder / "ca.pem", "certificate": folder / "node.pem", "key": folder / "node.key"}
        copy = Identity(name=self.name, **names)
        self.write_over(copy)
        return copy

    def write_over(self, place: Identity) -> None:
        """Write these files where those of `place` are."""
        shutil.copy(self.ca, place.ca)
        shutil.copy(self.certificate, place.certificate)
        shutil.copy(self.key, place.key)


class Authority:
    """A throwaway certificate authority whose files live in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    @property
    def key(self) -> bytes:
        """Its private key, PEM, for what has to be signed beside certificates."""
        return self._authority.private_key_pem.bytes()

    def issue(
        self, name: str, *hosts: str, not_before: datetime | None = None, not_after: datetime | None = None
    ) -> Identity:
        """A certificate whose CN is `name`, valid for `hosts` (for a client: for its name)."""
        issued = self._authority.issue_cert(
            *(hosts or (name,)), common_name=name, not_before=not_before, not_after=not_after
        )
        identity = Identity(
            name=name,
            ca=self.ca,
            certificate=self._folder / f"{name}.pem",
            key=self._folder / f"{name}.key",
        )
        identity.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(identity.key))
        identity.key.chmod(0o600)
        return identity


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


class Mosquitto:
    """One mosquitto process, which keeps its ports when it is started again.

    `port` speaks TLS and asks for a certificate; `plain_port`, with `plain=True`, takes anyone without
    TLS, for tests of `allow_insecure`. With `persistent=True` retained messages and sessions survive
    `stop` and, as far as they were saved, `kill`. `extra` are further lines of mosquitto.conf, `upward`
    is what a node may write. Blocking: call from a thread where a loop runs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        authority: Authority | None = None,
        plain: bool = False,
        persistent: bool = False,
        extra: Sequence[str] = (),
        upward: Sequence[str] = UPWARD,
    ) -> None:
        self._upward = tuple(upward)
        self._folder = folder / "mosquitto"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log = self._folder / "mosquitto.log"
        self.authority = authority or Authority(folder / "certificates")
        self._own = self.authority.issue("broker", HOST, "localhost")
        self.port = free_port()
        self.plain_port = free_port() if plain else None
        self._persistent = persistent
        self._extra = tuple(extra)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        """Where a persistent broker keeps retained messages and sessions."""
        return self._folder / "mosquitto.db"

    @property
    def log(self) -> str:
        """What the broker has written so far, over all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start, and return when every listener answers. Raises: RuntimeError with the broker's log."""
        program = find_program("mosquitto")
        if program is None:
            raise RuntimeError("mosquitto is not installed; mark the test with pytest.mark.broker")
        if self.running:
            raise RuntimeError("this broker is running already")
        configuration = self._folder / "mosquitto.conf"
        configuration.write_text(self._configuration())
        with self._log.open("ab") as log:
            # What is wrong with the configuration goes to stderr, before there is a log.
            self._process = subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log)
        deadline = time.monotonic() + _DEADLINE_S
        for port in filter(None, (self.port, self.plain_port)):
            self._await_listener(port, deadline)
        return self

    def stop(self) -> None:
        """End in order, so that a persistent broker saves what it holds."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End at once, as a power cut would; nothing is saved."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in order and start again, on the same ports."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def client_arguments(self, identity: Identity) -> list[str]:
        """What mosquitto_pub and mosquitto_sub need in order to come in as `identity`."""
        return [
            *("-V", "mqttv5", "-h", HOST, "-p", str(self.port), "--cafile", str(identity.ca)),
            *("--cert", str(identity.certificate), "--key", str(identity.key)),
        ]

    def _await_listener(self, port: int, deadline: float) -> None:
        while True:
            if not self.running:
                raise RuntimeError(f"mosquitto did not start:\n{self.log[-2000:]}")
            try:
                socket.create_connection((HOST, port), timeout=1).close()
            except OSError as error:
                if time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"mosquitto does not answer:\n{self.log[-2000:]}") from error
                time.sleep(0.01)
            else:
                return

    def _end(self, by: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(by)
        try:
            self._process.wait(timeout=_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=_DEADLINE_S)
        self._process = None

    def _configuration(self) -> str:
        access = self._folder / "access"
        access.write_text(_access_list(self._upward))
        access.chmod(0o600)
        # Written to a file itself, line by line; by way of stdout it would be held back in blocks.
        lines = ["per_listener_settings true", f"log_dest file {self._log}", "log_type all", "sys_interval 0"]
        if os.geteuid() == 0:
            # Else it becomes the user mosquitto, who may not read a test's folder.
            lines.append("user root")
        if self._persistent:
            lines += ["persistence true", f"persistence_location {self._folder}/", "autosave_interval 1"]
        lines += [
            *self._extra,
            f"listener {self.port} {HOST}",
            f"cafile {self._own.ca}",
            f"certfile {self._own.certificate}",
            f"keyfile {self._own.key}",
            "tls_version tlsv1.2",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            f"acl_file {access}",
        ]
        if self.plain_port is not None:
            lines += [f"listener {self.plain_port} {HOST}", "allow_anonymous true"]
        return "\n".join(lines) + "\n"


def _access_list(upward: Sequence[str]) -> str:
    lines = [line for name in (OPERATOR, PUBLISHER) for line in (f"user {name}", "topic readwrite #")]
    lines += [f"pattern write edge/v1/+/%u/{topic}" for topic in upward]
    # A node reads its own state to see whether it was overwritten.
    lines += [f"pattern read edge/v1/+/%u/{topic}" for topic in (*_DOWNWARD, "state")]
    return "\n".join(lines) + "\n"
