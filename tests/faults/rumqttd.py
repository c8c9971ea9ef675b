"""rumqttd as a process that can be killed: the broker of the demo, beside mosquitto.

usage: python -m tests.faults.rumqttd CONFIGURATION; ends with its standard input
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

from iotcore import Broker

from tests.brokers import HOST, Authority, free_port
from tests.polling import until_blocking

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_CONFIGURATION: Final = """\
id = 0
[router]
id = 0
max_connections = 20
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
[v5.1]
name = "v5-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v5.1.tls]
certpath = "{certificate}"
keypath = "{key}"
capath = "{ca}"
[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = 1048576
max_inflight_count = 100
dynamic_filters = true
"""


class Rumqttd:
    """Fulfils `consumer.Broker`: MQTT 5 over mutual TLS on a port that it keeps; nothing is kept on disk."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "certificates")
        self.port = free_port()
        own = self.authority.issue("broker", HOST, "localhost")
        self._configuration = folder / "rumqttd.toml"
        self._configuration.write_text(
            _CONFIGURATION.format(
                host=HOST, port=self.port, certificate=own.certificate, key=own.key, ca=own.ca
            )
        )
        self._log = folder / "rumqttd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.rumqttd", str(self._configuration)],
                cwd=_REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        until_blocking(self._answers, within_s=20, every_s=0.02)
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=10)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True


if __name__ == "__main__":
    with Broker(config_path=sys.argv[1]):
        # As long as the test lives: its end of the pipe closes with it.
        sys.stdin.read()
