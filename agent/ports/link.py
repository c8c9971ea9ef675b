"""The way to the broker."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Publication:
    """What goes on the wire. `qos` 0 or 1; `expiry_s` is the message expiry interval."""

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    expiry_s: int | None = None
    content_type: str = "application/json"
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ack:
    """A PUBACK. `reason` is MQTT 5's reason code; below 0x80 the broker has taken the message."""

    ticket: int
    reason: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message from a subscribed topic."""

    topic: str
    payload: bytes
    retained: bool
    expiry_s: int | None
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Closed:
    """The session ended. `cause` is its class: dns, tcp, tls, refused, taken-over, keepalive or closed."""

    cause: str
    detail: str


SessionEvent = Ack | Inbound | Closed


@dataclass(frozen=True, slots=True)
class Limits:
    """What CONNACK allows."""

    receive_maximum: int
    maximum_packet_size: int | None
    server_keep_alive_s: int | None
    wildcard_subscriptions: bool = True


class Session(Protocol):
    """One connection with a clean start. Used on the event loop."""

    @property
    def limits(self) -> Limits: ...

    def publish(self, publication: Publication) -> int:
        """Send, without blocking; returns the ticket that its `Ack` will carry (QoS 1).

        The caller keeps the window: at most `limits.receive_maximum` QoS 1 messages without an ack.

        Raises:
            RefusedError: larger than the broker's maximum packet size (`E_SIZE`), or not to be sent at all.
                Nothing was sent.
            TransientError: the connection is gone.
        """

    async def subscribe(
        self, topics: Sequence[str], *, no_local: bool, as_published: Collection[str] = ()
    ) -> None:
        """At QoS 1.

        `retained` of what comes says whether the broker had kept it; below `as_published`, some of `topics`,
        whether it was published to be kept, which is also true of what comes at once.

        Raises:
            TransientError: no answer in time.
            RefusedError: the broker says no.
        """

    def events(self) -> AsyncIterator[SessionEvent]:
        """Acks and messages in order of arrival; ends after `Closed`."""

    async def disconnect(self) -> None:
        """Leave in order (reason 0x00) after what was published is written. Bounded; never raises."""


class Link(Protocol):
    """The way to the broker."""

    async def connect(self, *, will: Publication | None, keepalive_s: int) -> Session:
        """A new session with clean start; `will` is what the broker says for us if we fall silent.

        Raises:
            TransientError: not now; `path` carries the class of cause (dns, tcp, tls, refused, …).
        """


@dataclass(frozen=True, slots=True)
class CertificateCheck:
    """`trouble` is a sentence for a person; `life_left` is a share, None without a certificate of ours.

    `is_renewed`: new ones proved themselves, and the session, which runs with those before, should move.
    """

    trouble: str | None
    expires_s: float | None
    is_renewed: bool
    life_left: float | None = None


class Certificates(Protocol):
    """What the node shows to the broker, and whom it trusts, in files that are renewed now and then."""

    def check(self, *, connected: bool) -> CertificateCheck:
        """Look at the files, and try what is new in them. Blocks; one thread at a time, every few seconds."""
