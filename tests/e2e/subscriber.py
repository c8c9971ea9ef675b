"""A person with mosquitto_sub: everything that arrives, as it arrives."""

import json
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple, Self

from agent.contract.continuity import Continuity
from tests.brokers import OPERATOR, Mosquitto
from tests.e2e.agent_process import SITE
from tests.polling import until_blocking
from tests.programs import find_program


class Message(NamedTuple):
    """One message; `stream` is the topic below the node's base."""

    node: str
    stream: str
    retained: bool
    content: dict[str, Any]


class Subscriber:
    """`mosquitto_sub` on everything, into a file."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self._file = folder / "received"
        self._errors = folder / "received.errors"
        self._broker = broker
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = find_program("mosquitto_sub")
        assert program is not None
        identity = self._broker.authority.issue(OPERATOR)
        connects = self._broker.log.count(f"as {OPERATOR} ")
        with self._file.open("wb") as out, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [
                    program,
                    *self._broker.client_arguments(identity),
                    # A session that outlives the broker's absence: what comes meanwhile is not missed.
                    *("-i", OPERATOR, "-c", "-x", "600"),
                    *("-t", "edge/#", "-q", "1", "-F", "%j"),
                ],
                stdout=out,
                stderr=errors,
            )
        until_blocking(lambda: self._broker.log.count(f"Sending SUBACK to {OPERATOR}") > connects)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    def messages(self) -> list[Message]:
        """What has arrived so far, in order of arrival."""
        found = []
        for line in self._file.read_bytes().splitlines():
            try:
                envelope = json.loads(line)
            except ValueError:
                continue  # the last line is still being written
            _edge, _version, _site, node, stream = envelope["topic"].split("/", 4)
            if stream.startswith(("config/desired", "command/")):
                continue  # to a node, not from one, and maybe signed
            payload = envelope.get("payload", "")
            found.append(
                Message(node, stream, bool(envelope["retain"]), json.loads(payload) if payload else {})
            )
        return found

    def of(self, stream: str) -> list[dict[str, Any]]:
        """The contents of one stream or topic."""
        return [message.content for message in self.messages() if message.stream == stream]

    def by_stream(self) -> dict[str, list[dict[str, Any]]]:
        """What has sequence numbers, by stream."""
        streams: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for message in self.messages():
            if "seq" in message.content:
                streams[message.stream].append(message.content)
        return dict(streams)

    def continuity(self) -> Continuity:
        """The consumer's proof over everything that has arrived."""
        continuity = Continuity()
        for message in self.messages():
            if "seq" in message.content:
                assert message.content["site"] == SITE
                continuity.see(message.stream, message.content)
        return continuity
