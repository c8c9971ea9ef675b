"""The policy document: which sources, models, thresholds, rules and rates.

It is the snapshot that the pipeline works by: immutable, validated when made, replaced as a whole.
It carries no command, no path outside `media_root` and no secret usable with any host: it refers to
what Settings define by name.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agent.contract.places import check_device, check_relative_path, check_url
from agent.domain.ids import NAME
from agent.domain.thresholds import Thresholds

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
MediaPath = Annotated[str, AfterValidator(check_relative_path)]
"""A path below Settings' `media_root`, relative, that does not climb out of it."""

StreamUrl = Annotated[str, AfterValidator(check_url)]
"""An address without credentials; its host must be among Settings' `allowed_hosts`."""

Device = Annotated[str, AfterValidator(check_device)]
"""A video device by its name below /dev, e.g. ``video0`` or ``v4l/by-id/usb-…``."""


class Part(BaseModel):
    """What every part of the document shares: immutable, no unknown keys, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ThresholdPolicy(Part):
    """What counts as found. A field left out falls back: source, then model, then the default."""

    confidence: Annotated[Unit | None, Field(description="Least confidence, 0..1. Default 0.25.")] = None
    iou: Annotated[
        Unit | None,
        Field(description="Overlap above which the weaker box goes, 0..1. Default 0.45."),
    ] = None
    max_objects: Annotated[
        int | None,
        Field(ge=1, le=3000, description="Most objects per frame. Default 300."),
    ] = None
    min_side_px: Annotated[
        float | None,
        Field(ge=0, description="Least side of a box, source pixels. Default 0."),
    ] = None
    classes: Annotated[dict[str, Unit], Field(description="Least confidence by class name.")] = {}


class ModelPolicy(Part):
    """One model: a detector, a pose model or an anomaly model; which one, the file says."""

    file: Annotated[MediaPath, Field(description="ONNX file, a path below media_root.")]
    sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-f]{64}$", description="Refuse the file unless it matches."),
    ] = None
    provider: Annotated[
        Literal["cpu", "cuda", "tensorrt", "openvino", "migraphx"],
        Field(description="ONNX Runtime execution provider."),
    ] = "cpu"
    strict_provider: Annotated[bool, Field(description="Fail rather than fall back to another provider.")] = (
        False
    )
    shape: Annotated[
        Literal["file", "auto"] | tuple[int, int],
        Field(
            description="Input as the file says, as the camera's aspect asks (dynamic models), or [height, width]."
        ),
    ] = "file"
    max_batch: Annotated[
        int,
        Field(
            ge=1,
            le=32,
            description="Most frames of several cameras in one run; a CPU gains nothing by it.",
        ),
    ] = 1
    thresholds: ThresholdPolicy = ThresholdPolicy()


class _Source(Part):
    enabled: Annotated[bool, Field(description="False: known, but not run.")] = True
    priority: Annotated[int, Field(ge=0, le=9, description="9 is served first when not all can be.")] = 5
    model: Annotated[
        Name | None,
        Field(description="A name under `models`; none: nothing is inferred."),
    ] = None


Point = tuple[Unit, Unit]


class Zone(Part):
    """A polygon of fractions of the frame, for rules."""

    polygon: Annotated[tuple[Point, ...], Field(min_length=3, max_length=64)]
    mode: Literal["include", "exclude"] = "include"
    classes: Annotated[tuple[str, ...] | None, Field(description="Only these classes; none: all.")] = None


class _Camera(_Source):
    fps: Annotated[
        float | None,
        Field(gt=0, le=240, description="Most frames a second to infer; none: all."),
    ] = None
    overflow: Annotated[
        Literal["newest", "wait"] | None,
        Field(
            description="A full mailbox: the newest frame replaces the held one, or capture waits. "
            "Default: newest, but wait for a file that is read as fast as possible."
        ),
    ] = None
    max_staleness_s: Annotated[
        float,
        Field(
            gt=0,
            le=60,
            description="A frame older than this is dropped instead of inferred (overflow newest).",
        ),
    ] = 1.0
    thresholds: ThresholdPolicy = ThresholdPolicy()
    zones: dict[Name, Zone] = {}

    @property
    def overflow_or_default(self) -> Literal["newest", "wait"]:
        return self.overflow or "newest"


class FileCamera(_Camera):
    """A video file."""

    kind: Literal["file"]
    path: MediaPath
    pace: Annotated[
        Literal["clock", "fast"],
        Field(description="By the file's own clock, or as fast as possible."),
    ] = "clock"
    loop: Annotated[bool, Field(description="Begin again at the end.")] = False

    @property
    def overflow_or_default(self) -> Literal["newest", "wait"]:
        return self.overflow or ("wait" if self.pace == "fast" else "newest")


class ImagesCamera(_Camera):
    """A folder of pictures, in the order of their names."""

    kind: Literal["images"]
    path: MediaPath
    every_s: Annotated[
        float,
        Field(ge=0, description="Seconds from picture to picture; 0: as fast as possible."),
    ] = 1.0
    loop: bool = False

    @property
    def overflow_or_default(self) -> Literal["newest", "wait"]:
        return self.overflow or ("wait" if self.every_s == 0 else "newest")


class _NetworkCamera(_Camera):
    url: StreamUrl
    secret: Annotated[Name | None, Field(description="Credentials: a name under Settings' [secrets].")] = None
    open_timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    read_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0


class RtspCamera(_NetworkCamera):
    """A network camera over RTSP."""

    kind: Literal["rtsp"]
    transport: Literal["tcp", "udp"] = "tcp"


class HttpCamera(_NetworkCamera):
    """A network camera over HTTP or HTTPS (MJPEG, HLS or a file)."""

    kind: Literal["http"]


class DeviceCamera(_Camera):
    """A camera of this machine, through Video4Linux2."""

    kind: Literal["v4l2"]
    device: Device = "video0"
    width_px: Annotated[int | None, Field(gt=0, le=16384)] = None
    height_px: Annotated[int | None, Field(gt=0, le=16384)] = None
    rate_hz: Annotated[float | None, Field(gt=0, le=240)] = None
    format: Annotated[
        str | None,
        Field(pattern="^[A-Z0-9]{4}$", description="FOURCC, e.g. MJPG or YUYV."),
    ] = None


class PipeCamera(_Camera):
    """Raw frames from the standard output of a command that Settings name."""

    kind: Literal["pipe"]
    pipe: Annotated[Name, Field(description="A name under Settings' [pipes].")]


class SyntheticCamera(_Camera):
    """A rendered conveyor with parts, whose truth is known."""

    kind: Literal["synthetic"]
    width_px: Annotated[int, Field(ge=64, le=4096)] = 640
    height_px: Annotated[int, Field(ge=64, le=4096)] = 480
    rate_hz: Annotated[float, Field(gt=0, le=240)] = 10.0
    seed: int = 1
    frames: Annotated[int | None, Field(gt=0, description="End after so many; none: never.")] = None


class _Sensor(_Source):
    report_every_s: Annotated[
        float,
        Field(gt=0, le=3600, description="Seconds from one telemetry message to the next."),
    ] = 1.0
    report: Annotated[
        Literal["last", "mean", "all"],
        Field(description="Of the readings since the last message: which are told."),
    ] = "last"


class SystemSensor(_Sensor):
    """The machine itself: temperatures, load, memory, throttling."""

    kind: Literal["system"]
    every_s: Annotated[float, Field(gt=0, le=3600, description="Seconds from sample to sample.")] = 5.0


class VibrationSensor(_Sensor):
    """A synthetic accelerometer on a machine whose bearing fails from time to time."""

    kind: Literal["vibration"]
    rate_hz: Annotated[float, Field(gt=0, le=10_000)] = 200.0
    seed: int = 1
    fault_every_s: Annotated[float, Field(gt=0, description="Seconds from fault to fault.")] = 20.0
    fault_for_s: Annotated[float, Field(ge=0, description="Seconds that a fault lasts; 0: never.")] = 4.0


Camera = FileCamera | ImagesCamera | RtspCamera | HttpCamera | DeviceCamera | PipeCamera | SyntheticCamera
Sensor = SystemSensor | VibrationSensor
Source = Annotated[Camera | Sensor, Field(discriminator="kind")]


class Rule(Part):
    """What makes an event."""

    when: Annotated[str, Field(min_length=1, max_length=2000, description="A condition in CEL.")]
    for_s: Annotated[float, Field(ge=0, le=86_400, description="It must hold so long.")] = 0.0
    cool_down_s: Annotated[float, Field(ge=0, le=86_400, description="Quiet time after an event.")] = 0.0
    severity: Literal["info", "warning", "critical"] = "info"
    message: Annotated[str, Field(max_length=500)] = ""
    alarm: Annotated[bool, Field(description="Also keep a retained alarm while it holds.")] = False
    snapshot: Annotated[
        tuple[Name, ...],
        Field(description="Cameras whose picture goes with the event."),
    ] = ()


class Publish(Part):
    """How what was seen leaves the node."""

    keep_until: Annotated[
        Literal["acknowledged", "stored"],
        Field(description="A row stays until the broker, or its consumer, has it."),
    ] = "acknowledged"
    window: Annotated[
        int,
        Field(ge=1, le=1000, description="Most messages without an acknowledgement."),
    ] = 20
    max_message_bytes: Annotated[int, Field(ge=1024, le=16_777_216)] = 262_144
    detections: Annotated[
        Literal["always", "detected"],
        Field(description="Every inferred frame, or only those with objects."),
    ] = "always"
    heartbeat_s: Annotated[float, Field(ge=1, le=3600)] = 10.0
    expiry_s: Annotated[
        dict[
            Literal["detections", "telemetry", "events", "snapshots", "result"],
            Annotated[int, Field(ge=1)],
        ],
        Field(description="Seconds that a message keeps, where it differs from the contract's."),
    ] = {}


class Power(Part):
    """How hard the node works."""

    mode: Literal["full", "balanced", "eco"] = "full"
    lanes: Annotated[
        Literal["auto", "latency", "throughput"] | Annotated[int, Field(ge=1, le=64)],
        Field(
            description="latency: one lane with all threads; throughput: one one-thread lane per core; a number: "
            "so many one-thread lanes; auto: latency with one camera, throughput with more."
        ),
    ] = "auto"


class Policy(Part):
    """The whole: what the node watches and how."""

    models: dict[Name, ModelPolicy] = {}
    sources: dict[Name, Source] = {}
    rules: dict[Name, Rule] = {}
    publish: Publish = Publish()
    power: Power = Power()

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Self:
        for name, source in self.sources.items():
            if source.model is not None and source.model not in self.models:
                known = ", ".join(self.models) or "none"
                raise ValueError(
                    f"sources.{name}.model is {source.model!r}, which models does not define ({known})"
                )
        for name, rule in self.rules.items():
            for camera in rule.snapshot:
                if not isinstance(self.sources.get(camera), _Camera):
                    raise ValueError(  # noqa: TRY004  pydantic reports ValueError, not TypeError
                        f"rules.{name}.snapshot names {camera!r}, which is no camera under sources"
                    )
        return self

    def thresholds_of(self, source_name: str) -> Thresholds:
        """The thresholds in force for a camera: its own, else its model's, else the defaults."""
        source = self.sources[source_name]
        model = self.models[source.model] if source.model else None
        merged: dict[str, Any] = {}
        by_class: dict[str, float] = {}
        for layer in (
            model.thresholds if model else None,
            getattr(source, "thresholds", None),
        ):
            if layer is not None:
                given = layer.model_dump(exclude={"classes"}, exclude_none=True)
                merged |= given
                if "confidence" in given:
                    by_class = {}
                by_class = by_class | layer.classes
        return Thresholds(**merged, by_class=by_class)


class PolicyDocument(Part):
    """The envelope: the same from the file, over MQTT and by local command; the highest version wins."""

    v: Literal[1] = 1
    version: Annotated[int, Field(ge=0, lt=2**53, description="Unix milliseconds are a good choice.")]
    issued_at: str | None = None
    expires_at: str | None = None
    issuer: Annotated[str, Field(min_length=1, max_length=200)] = "file"
    policy: Policy


__all__ = [
    "Camera",
    "DeviceCamera",
    "FileCamera",
    "HttpCamera",
    "ImagesCamera",
    "ModelPolicy",
    "PipeCamera",
    "Policy",
    "PolicyDocument",
    "Power",
    "Publish",
    "RtspCamera",
    "Rule",
    "Sensor",
    "Source",
    "SyntheticCamera",
    "SystemSensor",
    "ThresholdPolicy",
    "VibrationSensor",
    "Zone",
]
