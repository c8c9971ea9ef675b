"""What the pipeline needs from the outside, as Protocols: who calls what, when, from which thread."""

import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.errors import Code, RefusedError
from agent.domain.ids import Stream
from agent.domain.reading import Reading
from agent.domain.rules.features import Scalar
from agent.domain.rules.prepared import Expression
from agent.domain.stamp import Stamp
from agent.domain.thresholds import Thresholds

# --- time -------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, readable from every thread."""

    @property
    def boot(self) -> str:
        """The kernel's boot id: monotonic times compare only within one."""

    def now(self) -> Stamp: ...

    def synced(self) -> bool:
        """Whether the wall clock is known to be right. Cheap; never blocks."""


class KnownTime(Protocol):
    """The latest time known for certain, kept over restarts."""

    def note(self, *, at_end: bool = False) -> str | None:
        """Store the time now and then, and `at_end`, where it is known. What is wrong, for a person.

        Blocks on the disk.
        """


# --- sources ----------------------------------------------------------------------------------------


class FrameSource(Protocol):
    """A camera. One capture thread of its own calls `open`, then `read` until it ends, then `close`.

    A call may block, but no longer than `patience_s`: past that the supervisor takes the thread for hung
    and abandons it.
    """

    @property
    def patience_s(self) -> float:
        """Longest time that one `open` or `read` may take when all is well, in seconds."""

    def open(self) -> None:
        """Raises: TransientError (try again later), RefusedError (not with this configuration)."""

    def read(self) -> NDArray[np.uint8] | None:
        """The next picture: uint8 `[height, width, 3]`, BGR, contiguous, never written to again.

        Paced sources wait here until the picture is due. None is the regular end (a file read once).

        Raises:
            TransientError: the stream broke; the source will be closed and opened again.
            RefusedError: so it did, and the same again is to be expected (a damaged file).
        """

    def interrupt(self) -> None:
        """Nothing more is wanted: a `read` that waits for its time returns None at once.

        Called from another thread (the event loop's), at any moment; never blocks, never raises. Only `close`
        follows. A call that waits for a device or a host ends by its own timeout.
        """

    def close(self) -> None:
        """Give everything back. Called once after each `open`, also after a failed one; never raises."""


class ReadingSource(Protocol):
    """A sensor. Called as a `FrameSource` is, from a capture thread of its own."""

    @property
    def patience_s(self) -> float: ...

    def open(self) -> None: ...

    def read(self) -> Sequence[Reading] | None:
        """The next readings, of one moment or of consecutive ones, oldest first; None at the end."""

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


# --- models -----------------------------------------------------------------------------------------


Graph = Literal["exported", "exact", "cut"]
"""The trainer's graph, or what was made of it: equal bit for bit, or cut and decoded by its head."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a loaded model is, for messages and reports.

    `sha256` is of the file that the policy names, whatever graph was made of it. `precision`: what it
    computes in (fp32, fp16, bf16, int8, …).
    """

    name: str
    version: str
    sha256: str
    task: Literal["detect", "pose", "classify", "anomaly"]
    class_names: Mapping[int, str]
    provider_asked: str
    provider_used: str
    graph: Graph
    precision: str


@dataclass(frozen=True, slots=True)
class Look:
    """One picture for a detector, with the rules for what counts.

    `scale`: the fraction of its own input size that the detector runs at, where it is `resizable`.
    """

    pixels: NDArray[np.uint8]
    thresholds: Thresholds
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Timed:
    """Monotonic nanoseconds when feeding ended and when the run ended."""

    preprocessed_ns: int
    inferred_ns: int


class DetectorModel(Protocol):
    """A loaded detector or pose model. Lane threads call it, several at once."""

    @property
    def facts(self) -> ModelFacts: ...

    @property
    def max_batch(self) -> int:
        """Most pictures in one `detect`; 1 where the device gains nothing by more."""

    @property
    def resizable(self) -> bool:
        """Whether its file leaves the input's size open, so that a look may ask for a smaller one."""

    def detect(self, looks: Sequence[Look]) -> tuple[list[Detections], Timed]:
        """One result a look, in their order; boxes in pixels of each look's own picture.

        Raises:
            TransientError: the runtime failed on this input.
        """


class AnomalyModel(Protocol):
    """A loaded model of sensor windows. Every lane thread calls it."""

    @property
    def facts(self) -> ModelFacts: ...

    @property
    def window(self) -> int:
        """Samples per window."""

    @property
    def hop(self) -> int:
        """Samples from one window's beginning to the next one's."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the readings that make the columns, in order."""

    @property
    def threshold(self) -> float: ...

    def score(self, values: NDArray[np.float32]) -> tuple[float, Timed]:
        """The anomaly score of one window, float32 `[window, channels]` in sensor units.

        Raises:
            TransientError: the runtime failed on this input.
        """


Model = DetectorModel | AnomalyModel


class ModelUpgrade(Protocol):
    """A faster way to run a model that serves already, which takes minutes to make."""

    @property
    def serving(self) -> DetectorModel:
        """What serves until then."""

    def build(self, *, tell: Callable[[float], None], stop: threading.Event) -> DetectorModel:
        """The same model, made faster. One thread of its own calls this once; it blocks until all is done.

        `tell` hears, now and then, how many seconds the work has taken; `stop` ends it soon.

        Raises:
            NanofleetError: it cannot be made, or was stopped; what serves is as it was.
        """


# --- health -----------------------------------------------------------------------------------------

Status = Literal["ok", "waiting", "degraded", "failed"]

Origin = Literal["file", "mqtt", "patch", "local"]
"""Where a policy came from: the node's file, `config/desired`, a command, or a person at the node."""


class Condition(Protocol):
    """Where a source or a stage tells how it is. Called on the event loop; the same again is cheap."""

    def __call__(self, who: str, status: Status, code: str | None, message: str | None) -> None: ...


# --- policy -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An attempt at a policy that was begun: `tries` times, if the process ended in it."""

    version: int
    sha256: str
    tries: int


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """What the node knows of its policy over restarts, as JSON says it.

    `document` is in force, None before any was; at or below `floor` no version is taken. `attempts` and
    `sources` are as told on `config/reported`.
    """

    document: Mapping[str, Any] | None = None
    origin: Origin = "file"
    floor: int = -1
    desired_sha256: str | None = None
    unfinished: Unfinished | None = None
    attempts: tuple[Mapping[str, Any], ...] = ()
    sources: Mapping[str, Any] = field(default_factory=dict)


class PolicyStore(Protocol):
    """One thread at a time; waits for the disk."""

    def load(self) -> KeptPolicy:
        """What was kept last; nothing, where that is damaged: it is moved aside, and told."""

    def keep(self, kept: KeptPolicy) -> None:
        """On the disk itself when it returns, all or nothing.

        Raises:
            TransientError: the disk refuses; what was kept before stands.
        """


# --- who may control ---------------------------------------------------------------------------------


class ExpiredError(RefusedError):
    """A control document that is genuine and meant for this node, but too old to be taken.

    `body` is what was signed, for whoever has it in force already and need not mind.
    """

    def __init__(self, message: str, *, body: bytes, path: str) -> None:
        super().__init__(message, code=Code.EXPIRED, path=path)
        self.body = body


class ControlVerifier(Protocol):
    """Who may say what to this node.

    Called from any thread, also the event loop's; takes a millisecond or two, and waits for nothing.
    """

    def open(self, payload: bytes, *, kind: Literal["policy", "command"]) -> bytes:
        """The JSON inside a control message, once it is known that this node may take it.

        What is not signed is given as it is, where this node takes that. It is not validated.

        Raises:
            RefusedError: it is not signed, or not by a key of this node, for it, and for this kind
                (E_SIGNATURE, E_AUTH); or from a time that cannot be judged (E_CLOCK).
            ExpiredError: it is all that, but too old.
        """


# --- commands ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """How a command ended. `path`: a JSON pointer into it; `retryable`: a new one may fare better."""

    status: Literal["done", "failed", "rejected"]
    code: Code | None = None
    path: str | None = None
    message: str = ""
    retryable: bool = False
    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptCommand:
    """A command whose id is known. `outcome` None: it has not ended."""

    op: str
    id: str
    outcome: CommandOutcome | None


class CommandLog(Protocol):
    """The ids of commands, each with how it ended, over restarts. Every thread may call; waits for the disk.

    An id belongs to one command, whatever the operation. What was entered is kept for a day at least; of
    what was only refused, the last thousand.
    """

    def enter(self, op: str, command_id: str) -> KeptCommand | None:
        """Keep the id of a command that is about to run: on the disk itself when it returns.

        What is known of it, if it was there already: then nothing is to be done.

        Raises:
            RefusedError: as many were entered within a day as are kept (E_BUSY).
            TransientError: the disk refuses (E_SPACE); the command may not run.
        """

    def refuse(self, op: str, command_id: str, outcome: CommandOutcome) -> KeptCommand | None:
        """Keep how a command ended that is not to run; what is known of it, if it was there already.

        Raises:
            TransientError: the disk refuses; it is not kept.
        """

    def finish(self, command_id: str, outcome: CommandOutcome) -> None:
        """Keep how a command ended that was entered, on the disk itself when it returns; else nothing.

        Raises:
            TransientError: the disk refuses; after a restart the command counts as interrupted.
        """

    def unfinished(self) -> Sequence[KeptCommand]:
        """What was entered and has not ended, in order. Asked before anything else, it was interrupted."""


# --- rules ------------------------------------------------------------------------------------------


class RuleCompiler(Protocol):
    """From text to something that can be evaluated, once for each condition. Any thread."""

    def compile(self, text: str, samples: Mapping[str, Sequence[Scalar]]) -> Expression:
        """An expression in CEL over the names of `samples`, which are values that each may have.

        Raises:
            FaultyConditionError: it is none, gives something else than yes or no with such values, or takes
                too long.
        """


@dataclass(frozen=True, slots=True)
class StandingEvent:
    """An event that was on. `identity` is that of its rule; `began_ns`: wall nanoseconds since 1970.

    `severity` and `message` are as they were told.
    """

    event: str
    identity: str
    began_ns: int
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the node has to remember of its events over restarts.

    `events` that are on, by rule. `alarms`: the rules that ever kept an alarm, which may still stand at the
    broker.
    """

    events: Mapping[str, StandingEvent] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()


class StandingStore(Protocol):
    """One thread at a time; waits for the disk."""

    def load(self) -> Standing:
        """What was kept last; nothing, where that is damaged."""

    def keep(self, standing: Standing) -> None:
        """On the disk itself when it returns, all or nothing.

        Raises:
            TransientError: the disk refuses; what was kept before stands.
        """


@dataclass(frozen=True, slots=True)
class PolicyWish:
    """What a person at the node wants: that a document, JSON, is tried, or that any version may come next."""

    document: bytes | None
    forget_floor: bool = False


class PolicyInbox(Protocol):
    """One thread at a time; waits for the disk."""

    def take(self) -> PolicyWish | None:
        """What was left since the last time; it is not there any more.

        Raises:
            NanofleetError: it is no policy, or cannot be read.
        """


# --- outbox -----------------------------------------------------------------------------------------

Priority = Literal["loss", "event", "result", "snapshot", "telemetry", "detection"]
"""From the last to be dropped to the first."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message on its way into the outbox, still without epoch and sequence number.

    `body` is what `contract.payloads.encode` made (or a JPEG, for snapshots).
    """

    stream: Stream
    priority: Priority
    body: bytes
    made: Stamp
    captured: Stamp | None = None
    content_type: str = "application/json"
    expiry_s: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A committed message. `key` names the row within this outbox file and rises with commitment.

    `made`, `captured` and `committed_ns` are this boot's, unless `boot` says otherwise; `synced`: the wall
    clock was right then.
    """

    key: int
    epoch: str
    seq: int
    stream: Stream
    priority: Priority
    body: bytes
    content_type: str
    expiry_s: int | None
    properties: Mapping[str, str]
    made: Stamp
    captured: Stamp | None
    committed_ns: int
    boot: str
    synced: bool
    again: bool = False
    """The broker has had it, and it is sent once more because its consumer has not."""

    @property
    def trace(self) -> str:
        """Names the message in logs: epoch, stream and sequence number."""
        return f"{self.epoch}/{self.stream}/{self.seq}"


KeepUntil = Literal["acknowledged", "stored"]
"""A row stays until the broker has acknowledged it, or until its consumer has stored it."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Numbers from `first` to `last` are the outermost still held of a range that was asked for.

    `rows` of them were at the broker and are sent again; the others will be sent anyway. Not `complete`: more
    are held than are sent again at once, from the lowest number on; ask for the rest afterwards.
    """

    first: int
    last: int
    rows: int
    complete: bool


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """`rows` and `bytes` wait to be acknowledged; the counters are of this epoch, over restarts.

    `at_broker` of the rows have a PUBACK and wait for their consumer.
    """

    epoch: str
    rows: int
    bytes: int
    oldest_s: float
    refused: int
    produced: int
    acknowledged: int
    lost: int
    at_broker: int = 0


class Outbox(Protocol):
    """Messages on disk until the broker has them. Called on the event loop, which it never blocks."""

    @property
    def epoch(self) -> str: ...

    @property
    def newest_key(self) -> int:
        """The highest key that was committed so far, as far as is known on the loop; 0 before any."""

    async def append(self, draft: Draft) -> None:
        """Hand over. Returns when the draft is queued for the next group commit (bounded: waits while full).

        Order of calls is order of commitment, per stream.
        """

    async def committed(self) -> None:
        """Wait until something has been committed, or set free to be sent, since the last call."""

    async def fetch(self, *, after: Mapping[Priority, int], limit: int) -> list[Row]:
        """Up to `limit` waiting rows above `after[priority]`: highest priority first, then oldest."""

    def acknowledge(self, keys: Sequence[int]) -> None:
        """The broker has them: they leave the outbox with the next group commit. Unknown keys are ignored.

        Where rows are kept until stored they stay and go on to wait, but `fetch` does not give them again.
        """

    def refuse(self, key: int, *, reason: Literal["refused", "oversize"], code: int | None) -> None:
        """This row will never pass: set it aside, listable, and declare its loss."""

    def keep(self, until: KeepUntil) -> None:
        """From now on. Going back to `acknowledged` lets go of what the broker has."""

    def stored(self, stream: Stream, epoch: str, seq: int) -> None:
        """The consumer has everything of `stream` up to `seq`: what the broker has of it leaves the outbox.

        Ignored where it is of another epoch or, until that has caught up, beyond the last PUBACK.
        """

    def remind(self) -> None:
        """Have the newest row at the broker of each stream sent again, to show a gap before it."""

    async def replay(self, stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
        """Have what is at the broker of this range sent again: then `fetch` gives it, below any cursor.

        None: nothing of it is held any more.
        """

    async def statistics(self) -> OutboxStatistics: ...

    async def next_session(self) -> int:
        """Count a session up, on disk before it returns: the number for birth and will."""

    async def close(self) -> None:
        """Commit what was appended and close the file. Bounded in time."""


# --- link -------------------------------------------------------------------------------------------


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

    async def subscribe(self, topics: Sequence[str], *, no_local: bool) -> None:
        """At QoS 1. Raises: TransientError (no answer in time), RefusedError (the broker says no)."""

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
    """`trouble` is a sentence for a person.

    `is_renewed`: new ones proved themselves, and the session, which runs with those before, should move.
    """

    trouble: str | None
    expires_s: float | None
    is_renewed: bool


class Certificates(Protocol):
    """What the node shows to the broker, and whom it trusts, in files that are renewed now and then."""

    def check(self, *, connected: bool) -> CertificateCheck:
        """Look at the files, and try what is new in them. Blocks; one thread at a time, every few seconds."""


# --- metrics ----------------------------------------------------------------------------------------


class Metrics(Protocol):
    """Numbers for /metrics. Every thread may call; never blocks, never raises."""

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, /, **labels: str) -> None: ...

    def observe(self, name: str, seconds: float, /, **labels: str) -> None: ...

    def observe_all(self, name: str, seconds: Sequence[float], /, **labels: str) -> None:
        """`observe` each, for less."""
