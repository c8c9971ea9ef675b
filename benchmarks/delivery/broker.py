"""A mosquitto that counts: what it has received is known without a subscriber, who would share the cores."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.broker import NODE
from benchmarks.delivery.tasks import SITE, Place
from tests.brokers import HOST, OPERATOR, Identity, Mosquitto
from tests.programs import missing_packages

_SESSION_S: Final = 86_400
_COUNTED_EVERY_S: Final = 1
_STILL_S: Final = 1.3
"""A count that has not changed for so long, though told every second, is the last word."""

_QUIET: Final = tuple(f"log_type {kind}" for kind in ("none", "error", "warning", "notice", "information"))
"""Not a line for each packet, which tests look at."""

_PATIENCE_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingBroker:
    """`place` is where subjects send to and store; `client_arguments` are mosquitto_pub's for the same."""

    place: Place
    client_arguments: tuple[str, ...]
    version: str
    count_port: int

    def received(self) -> int:
        """PUBLISH packets so far, once no more come in.

        Raises:
            RuntimeError: the broker does not tell, or more and more come in.
        """
        return self._await(lambda _count, still_s: still_s >= _STILL_S)

    def await_received(self, at_least: int) -> int:
        """PUBLISH packets so far, once there are so many; fewer if no more come in. Raises: as `received`."""
        return self._await(lambda count, still_s: count >= at_least or still_s >= 2 * _STILL_S)

    def _await(self, is_enough: Callable[[int, float], bool]) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        count, since = -1, 0.0
        while time.monotonic() < deadline:
            told = self._told()
            if told != count:
                count, since = told, time.monotonic()
            if is_enough(count, time.monotonic() - since):
                return count
            time.sleep(0.1)
        raise RuntimeError("the broker's count of messages did not come to rest")

    def _told(self) -> int:
        topic = "$SYS/broker/publish/messages/received"
        words = [
            "mosquitto_sub",
            "-V",
            "mqttv5",
            "-h",
            HOST,
            "-p",
            str(self.count_port),
            "-C",
            "1",
            "-W",
            "5",
        ]
        said = subprocess.run([*words, "-t", topic], capture_output=True, text=True, check=False)
        if said.returncode:
            raise RuntimeError(f"the broker does not tell what it has received: {said.stderr.strip()}")
        return int(said.stdout)


@contextmanager
def counting_broker(folder: Path) -> Iterator[CountingBroker]:
    """A mosquitto with mutual TLS while the context lasts; subjects store in `folder`, too.

    A session that is not connected subscribes to everything at QoS 0: nothing is sent to it, yet each message
    has a subscriber and its PUBACK says 0x00, the short form that costs every client the least.

    Raises:
        RuntimeError: mosquitto or its clients are not installed, or do not start.
    """
    if missing := missing_packages("broker"):
        raise RuntimeError(f"mosquitto is what is measured with; install {' and '.join(missing)}")
    with Mosquitto(folder, plain=True, extra=(f"sys_interval {_COUNTED_EVERY_S}", *_QUIET)) as broker:
        node = broker.authority.issue(NODE)
        _subscribe_and_leave(broker, broker.authority.issue(OPERATOR))
        if broker.plain_port is None:
            raise AssertionError("a plain listener was asked for")
        yield CountingBroker(
            place=Place(
                host=HOST,
                port=broker.port,
                node=NODE,
                ca=node.ca,
                certificate=node.certificate,
                key=node.key,
                folder=folder,
            ),
            client_arguments=tuple(broker.client_arguments(node)),
            version=_version(broker),
            count_port=broker.plain_port,
        )


def _subscribe_and_leave(broker: Mosquitto, operator: Identity) -> None:
    words = ["mosquitto_sub", *broker.client_arguments(operator), "-i", OPERATOR, "-c", "-x", str(_SESSION_S)]
    subprocess.run([*words, "-q", "0", "-t", f"edge/v1/{SITE}/#", "-E"], check=True, timeout=_PATIENCE_S)


def _version(broker: Mosquitto) -> str:
    line = next((line for line in broker.log.splitlines() if " version " in line), "")
    return line.partition(" version ")[2].split(" ")[0] or "unknown"
