"""Every upward payload as a typed model; `config/schemas/` holds them as JSON Schema.

Messages of a stream are encoded without `epoch` and `seq`, which the outbox gives when it commits:
see `with_sequence`. Boxes and keypoints are fractions of the source frame.
"""

from typing import Annotated, Any, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from agent.contract.topics import Topics
from agent.domain.errors import Code
from agent.domain.stamp import Stamp, rfc3339

V1 = Literal[1]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, description="Fraction of the frame's width or height.")]
Time = Annotated[str, Field(description="UTC, RFC 3339, milliseconds.")]
Clock = Literal["synced", "unsynced"]


def _is_absent(value: object) -> bool:
    return value is None


class Payload(BaseModel):
    """What all payloads share: immutable, and strict about what we write ourselves."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class StreamPayload(Payload):
    """The head of a message that passes the outbox."""

    v: V1 = 1
    site: str
    node: str
    time: Time
    clock: Clock
    boot: Annotated[
        str,
        Field(description="The kernel's boot id: monotonic times compare within one boot."),
    ]
    monotonic_ms: Annotated[
        int,
        Field(ge=0, description="Milliseconds since boot, of the same moment as `time`."),
    ]


class StreamHead(TypedDict):
    """The fields of `StreamPayload`, to be unpacked into one of its kinds."""

    site: str
    node: str
    time: Time
    clock: Clock
    boot: str
    monotonic_ms: int


def stream_head(topics: Topics, at: Stamp, *, synced: bool, boot: str) -> StreamHead:
    """The head of a stream's message about the moment `at`."""
    return StreamHead(
        site=topics.site,
        node=topics.node,
        time=rfc3339(at.wall_ns),
        clock="synced" if synced else "unsynced",
        boot=boot,
        monotonic_ms=at.monotonic_ns // 1_000_000,
    )


class ModelRef(Payload):
    """Which model made a message, and how it ran."""

    name: str
    version: str
    sha256: Annotated[str, Field(description="Of the file that the policy names.")]
    graph: Annotated[
        Literal["exported", "exact", "cut"],
        Field(
            description="The trainer's graph as exported, or what was made of it: `exact`, equal bit for "
            "bit, or `cut`, equal to 1e-3 px and 1e-5 in confidence."
        ),
    ]
    provider: Annotated[str, Field(description="ONNX Runtime's provider in use, by the policy's names.")]
    precision: Annotated[str, Field(description="What it computes in: fp32, tf32, fp16, bf16, int8.")]


class FrameRef(Payload):
    """Which picture a message is about."""

    width: Annotated[int, Field(gt=0, description="Pixels.")]
    height: Annotated[int, Field(gt=0, description="Pixels.")]
    number: Annotated[
        int,
        Field(ge=0, description="0-based, in decode order, since the source was opened."),
    ]


class Object(Payload):
    """One detected object."""

    model_config = ConfigDict(populate_by_name=True)

    class_name: Annotated[str, Field(alias="class")]
    class_id: Annotated[int, Field(ge=0)]
    confidence: Fraction
    box: Annotated[
        tuple[Fraction, Fraction, Fraction, Fraction],
        Field(description="x1, y1, x2, y2."),
    ]
    track: Annotated[
        int | None,
        Field(
            exclude_if=_is_absent,
            description="Number of its track, where it is followed and confirmed; within a camera, and as "
            "long as the process lives.",
        ),
    ] = None
    zones: Annotated[
        tuple[str, ...] | None,
        Field(exclude_if=_is_absent, description="Names of the zones that it stands in; without: in none."),
    ] = None
    keypoints: Annotated[
        tuple[tuple[float, float, float], ...] | None,
        Field(exclude_if=_is_absent, description="x, y as fractions, confidence."),
    ] = None


class LatencyMs(Payload):
    """Where the time went, in milliseconds."""

    capture_to_inference: float
    inference: float
    total: Annotated[
        float,
        Field(description="From capture until the message was handed to the outbox."),
    ]


class Detections(StreamPayload):
    """What a camera's model found in one frame; objects by falling confidence."""

    source: str
    model: ModelRef
    lane: Annotated[int, Field(ge=0, description="Which of the worker's lanes ran it.")]
    config_version: int
    frame: FrameRef
    objects: tuple[Object, ...]
    latency_ms: LatencyMs


class ReadingValue(Payload):
    """One value of one quantity."""

    time: Time
    name: str
    value: float
    unit: str
    quality: Literal["good", "uncertain", "bad"]


class ScoreValue(Payload):
    """A window's anomaly score; above `threshold` it is an anomaly."""

    model_config = ConfigDict(populate_by_name=True)

    model: str
    first: Annotated[Time, Field(alias="from")]
    last: Annotated[Time, Field(alias="to")]
    score: float
    threshold: float


class Telemetry(StreamPayload):
    """Readings and anomaly scores of one sensor."""

    source: str
    config_version: int
    readings: tuple[ReadingValue, ...]
    scores: tuple[ScoreValue, ...]


class Evidence(Payload):
    """Which messages of a stream an event rests on: from the first to the last, by their moments.

    Sequence numbers are given later than an event is made; `monotonic_ms`, within one `boot`, is that of the
    messages. Those of sensors hold several readings, and bear the moment of the last.
    """

    model_config = ConfigDict(populate_by_name=True)

    first: Annotated[Time, Field(alias="from")]
    last: Annotated[Time, Field(alias="to")]
    first_ms: Annotated[int, Field(ge=0, description="`monotonic_ms` of the first.")]
    last_ms: Annotated[int, Field(ge=0, description="`monotonic_ms` of the last.")]


class Event(StreamPayload):
    """A rule began, goes on, or ended. The same `event` names it from begin to end.

    An `update` may be the first that is heard of it, and an `end` may come without one, where the node was
    killed between.
    """

    rule: str
    event: Annotated[str, Field(description="ULID; the same from begin to end, also over restarts.")]
    phase: Literal["begin", "update", "end"]
    severity: Literal["info", "warning", "critical"]
    message: str
    began: Annotated[Time, Field(description="Since when the condition held.")]
    ended: Annotated[Time | None, Field(description="Since when it did not any more.")]
    reason: Annotated[
        Literal["over", "schedule", "removed"] | None,
        Field(
            description="Why it ended: it held no more; its hours were over; its rule was removed or changed."
        ),
    ]
    config_version: int
    values: Annotated[
        dict[str, float | bool | str | None],
        Field(description="What the rule asked, as it is written there, and the answers; null: not known."),
    ]
    evidence: Annotated[
        dict[str, Evidence],
        Field(description="By stream. Empty where the event goes on from before a restart."),
    ]


class Alarm(Payload):
    """An event that is on, retained at `alarms/{rule}`. An empty payload: there is none."""

    v: V1 = 1
    rule: str
    event: str
    severity: Literal["info", "warning", "critical"]
    since: Time
    message: str


LossReason = Literal["evicted", "expired", "refused", "oversize", "damaged", "disk"]


class Loss(StreamPayload):
    """What was dropped. `first` and `last` are None where no sequence number had been given."""

    model_config = ConfigDict(populate_by_name=True)

    stream: str
    lost_epoch: str | None
    first: Annotated[int | None, Field(alias="from")]
    last: Annotated[int | None, Field(alias="to")]
    count: Annotated[int, Field(ge=0)]
    reason: LossReason


ResultStatus = Literal["accepted", "running", "done", "failed", "rejected"]


class Result(StreamPayload):
    """What became of a command, on `result/{op}/{id}`; the numbers count over all of them.

    `rejected`: nothing was done. `accepted` and `running` are told of operations that take long. A command
    whose id was used before gets what is kept of the first one's result.
    """

    op: str
    id: str
    status: ResultStatus
    code: Annotated[Code | None, Field(description="None: all is well.")] = None
    path: Annotated[str | None, Field(description="JSON pointer to what was wrong in the command.")] = None
    message: str = ""
    retryable: Annotated[bool, Field(description="A new command may fare better later.")] = False
    output: Annotated[dict[str, Any], Field(description="What the operation answers.")] = {}


class State(Payload):
    """Whether the node is there. `session` rises with every connection."""

    v: V1 = 1
    state: Literal["online", "offline"]
    session: int
    time: Time
    reason: str | None = None


Status = Literal["ok", "waiting", "degraded", "failed"]


class Condition(Payload):
    """How one source or stage is."""

    status: Status
    code: str | None = None
    message: str | None = None
    since: Time


class Health(Payload):
    """How the node, its sources and its stages are."""

    v: V1 = 1
    time: Time
    status: Literal["ok", "degraded", "failed"]
    sources: dict[str, Condition]
    stages: dict[str, Condition]


class OutboxFill(Payload):
    """What waits on disk, `at_broker` of it only for a consumer; `refused` counts the rows set aside."""

    rows: int
    bytes: int
    oldest_s: float
    refused: int
    at_broker: int = 0


class ShadowLatency(Payload):
    """Of the last runs, in milliseconds: feeding and inference."""

    p50: float
    p95: float


class Shadow(Payload):
    """A second model that looks on in spare time, compared with the first since the agent started.

    The first model is taken for the truth in `recall` and `precision`: objects match from an IoU of 0.5 on,
    whatever their class. `agreement` is twice those of the same class over all that either found. None of
    the three is known before a frame has been compared.
    """

    model: str
    version: str
    status: Literal["on", "off"]
    frames: Annotated[int, Field(description="Frames that both have seen.")]
    missed: Annotated[int, Field(description="Frames that were to be compared, and there was no time.")]
    failed: int
    agreement: Fraction | None
    recall: Fraction | None
    precision: Fraction | None
    iou: Annotated[float | None, Field(description="Mean of the matched boxes.")]
    classes_differ: int
    confidence_difference: Annotated[
        float | None,
        Field(description="Mean of the second's confidence less the first's, of matched boxes."),
    ]
    latency_ms: Annotated[
        ShadowLatency | None,
        Field(description="With one thread of the lowest priority."),
    ]
    primary_latency_ms: ShadowLatency | None
    memory_mb: Annotated[float, Field(description="Estimated from its file and input.")]
    primary_memory_mb: Annotated[float, Field(description="The same, of the first.")]


class Heartbeat(Payload):
    """Liveness, rates and fill, every few seconds at QoS 0."""

    v: V1 = 1
    time: Time
    clock: Clock
    uptime_s: float
    session: int
    fps: dict[str, float]
    dropped: dict[str, dict[str, int]]
    outbox: OutboxFill
    temperature_c: dict[str, float]
    memory_mb: float
    shadow: Annotated[dict[str, Shadow] | None, Field(exclude_if=_is_absent)] = None
    config_version: int


class Provider(Payload):
    """The execution provider asked for and the one in use."""

    asked: str
    used: str


class ModelInfo(Payload):
    """A loaded model."""

    version: str
    sha256: str
    task: str
    provider: Provider
    graph: Literal["exported", "exact", "cut"]
    precision: str


class Started(Payload):
    """How this process came to be."""

    boot: str
    reason: Literal["watchdog", "signal", "upgrade", "crash", "first"]


class LastOffline(Payload):
    """When the broker was out of reach the last time, and why."""

    model_config = ConfigDict(populate_by_name=True)

    first: Annotated[Time, Field(alias="from")]
    last: Annotated[Time, Field(alias="to")]
    causes: Annotated[
        dict[str, int],
        Field(description="Failed attempts by cause: dns, tcp, tls, refused, …"),
    ]


class Info(Payload):
    """What this node is and can."""

    v: V1 = 1
    agent: str
    contract: int = 1
    schemas: Annotated[
        dict[str, str],
        Field(description="SHA-256 of each JSON Schema that the node speaks."),
    ]
    provider: Provider | None
    models: dict[str, ModelInfo]
    capabilities: tuple[str, ...]
    config_version: int
    last_offline: LastOffline | None
    started: Started


class Log(Payload):
    """A warning or worse, rate limited."""

    v: V1 = 1
    time: Time
    level: Literal["warning", "error", "critical"]
    event: str
    fields: dict[str, Any]


def encode(payload: Payload) -> bytes:
    """Compact UTF-8 JSON under the names of the contract."""
    return payload.model_dump_json(by_alias=True).encode()


def with_sequence(body: bytes, *, epoch: str, seq: int) -> bytes:
    """A stream's message as it goes out: `body`, as `encode` made it, with `epoch` and `seq` put in.

    >>> with_sequence(b'{"v":1,"site":"plant"}', epoch="01JC", seq=7)
    b'{"v":1,"epoch":"01JC","seq":7,"site":"plant"}'
    """
    head, rest = body[:7], body[7:]
    if head != b'{"v":1,':
        raise ValueError("the body is not a stream message of contract version 1")
    return head + f'"epoch":"{epoch}","seq":{seq},'.encode() + rest
