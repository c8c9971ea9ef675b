"""The policy document: which sources, models, thresholds, rules and rates.

It is the snapshot that the pipeline works by: immutable, validated when made, replaced as a whole.
It carries no command, no path outside `media_root` and no secret usable with any host: it refers to
what Settings define by name.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agent.contract.parts import MediaPath, Name, Part
from agent.contract.sources import (
    Camera,
    CameraPart,
    DeviceCamera,
    FileCamera,
    HttpCamera,
    ImagesCamera,
    PipeCamera,
    RtspCamera,
    Sensor,
    Source,
    SyntheticCamera,
    SystemSensor,
    VibrationSensor,
    Zone,
)
from agent.contract.thresholds import ThresholdPolicy, in_force
from agent.domain.thresholds import Thresholds


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
            description="Input as the file says, as the camera's aspect asks (auto; dynamic models only), "
            "or [height, width]."
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
    ] = Field(default_factory=dict)


class Power(Part):
    """How hard the node works."""

    mode: Literal["full", "balanced", "eco"] = "full"
    lanes: Annotated[
        Literal["auto", "latency", "throughput"] | Annotated[int, Field(ge=1, le=64)],
        Field(
            description="latency: one lane with all threads; throughput: one one-thread lane per core; "
            "a number: so many one-thread lanes; auto: latency with one camera, throughput with more."
        ),
    ] = "auto"


class Policy(Part):
    """The whole: what the node watches and how."""

    models: dict[Name, ModelPolicy] = Field(default_factory=dict)
    sources: dict[Name, Source] = Field(default_factory=dict)
    rules: dict[Name, Rule] = Field(default_factory=dict)
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
                if not isinstance(self.sources.get(camera), CameraPart):
                    raise ValueError(
                        f"rules.{name}.snapshot names {camera!r}, which is no camera under sources"
                    )
        return self

    def thresholds_of(self, source_name: str) -> Thresholds:
        """The thresholds in force for a camera: its own, else its model's, else the defaults."""
        source = self.sources[source_name]
        layers = [self.models[source.model].thresholds] if source.model else []
        if isinstance(source, CameraPart):
            layers.append(source.thresholds)
        return in_force(layers)


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
