"""A person with mosquitto_pub, who says what policy a node should have."""

import json
import subprocess
import time
from typing import Any, Self

from tests.brokers import PUBLISHER, Mosquitto
from tests.e2e.agent_process import SITE
from tests.programs import find_program


class Publisher:
    """`mosquitto_pub -l` on `config/desired` of one node, retained: connected once, a document a line."""

    def __init__(self, broker: Mosquitto, node: str) -> None:
        self._broker = broker
        self._node = node
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = find_program("mosquitto_pub")
        assert program is not None
        identity = self._broker.authority.issue(PUBLISHER)
        self._process = subprocess.Popen(
            [
                program,
                *self._broker.client_arguments(identity),
                *("-q", "1", "-r", "-l", "-t", f"edge/v1/{SITE}/{self._node}/config/desired"),
            ],
            stdin=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=10)

    def desire(self, version: int, policy: dict[str, Any], **envelope: Any) -> float:
        """Publish the document; the time just before, in seconds since 1970."""
        return self.say(
            json.dumps({"v": 1, "version": version, "issuer": "test", "policy": policy, **envelope})
        )

    def say(self, line: str) -> float:
        """Publish whatever this is."""
        assert self._process is not None
        assert self._process.stdin is not None
        began_s = time.time()
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return began_s
