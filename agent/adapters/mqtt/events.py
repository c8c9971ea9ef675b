"""What the network thread tells the event loop."""

from dataclasses import dataclass

from agent.adapters.mqtt.client import PahoClient
from agent.domain.errors import TransientError
from agent.ports import Ack, Closed, Inbound, Limits


@dataclass(frozen=True, slots=True)
class Established:
    """CONNACK said yes."""

    client: PahoClient
    limits: Limits


@dataclass(frozen=True, slots=True)
class Subscribed:
    """SUBACK: a reason code a topic."""

    mid: int
    reasons: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Arrived:
    """An inbound message, still to be acknowledged if its `qos` is 1."""

    inbound: Inbound
    mid: int
    qos: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The thread is through. `error` is set when the connection never came about."""

    closed: Closed
    error: TransientError | None


NetworkEvent = Established | Subscribed | Arrived | Ack | Ended
