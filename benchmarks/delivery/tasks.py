"""What a subject is asked to do, and what it answers: both cross a process boundary as JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from agent.domain.ids import Stream
from agent.ports import Priority

BODY: Final = b'{"v":1,"x":"' + b"a" * 386 + b'"}'
"""400 bytes, ready to be sent: encoding is measured elsewhere."""

WINDOW: Final = 20
SITE: Final = "bench"
EXPIRY_S: Final = 604_800

Kind = Literal["bulk", "strict"]

ROWS_OF: Final[dict[Kind, tuple[Priority, Stream]]] = {
    "bulk": ("detection", Stream("detections/door")),
    "strict": ("event", Stream("events/crowd")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a subject sends to, who it is there, and the folder that it stores in."""

    host: str
    port: int
    node: str
    ca: Path
    certificate: Path
    key: Path
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTask:
    """As fast as can be: so many messages, until each is acknowledged."""

    place: Place
    messages: int
    kind: Kind = "bulk"


@dataclass(frozen=True, slots=True)
class Sent:
    """`acknowledged` with a success code; `took_s` from the first message to the last PUBACK.

    `cpu_s`: the subject's processor time meanwhile; None where it does not tell.
    """

    acknowledged: int
    took_s: float
    cpu_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceTask:
    """A message for each tick that comes in by stdin, until its end."""

    place: Place
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """`append_ms`, sorted: from the tick until append has returned. Latencies are from append to PUBACK."""

    append_ms: tuple[float, ...]
    latency_p50_ms: float
    latency_p99_ms: float
    acknowledged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FillTask:
    """Rows to store without a broker, for `DrainTask`s."""

    place: Place
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainTask:
    """Deliver what waits: `most` of it, and then die as by `kill -9`; without `most` all of it.

    `spawned_ns` is when the process was started, by the monotonic clock.
    """

    place: Place
    spawned_ns: int
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """`took_s` for all rows, of which the file has become `file_mb` large."""

    rows: int
    took_s: float
    file_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """`start_s`: from the process's start to its first PUBACK, of which `opened_s` until the file was open.

    Peaks of memory are VmHWM in MB of 1024 KiB, when the first rows were through and at the end. `lacking`:
    rows that the outbox counts neither as acknowledged nor as waiting.
    """

    opened_s: float
    start_s: float
    acknowledged: int
    took_s: float
    early_peak_mb: float
    peak_mb: float
    waiting: int
    lacking: int
