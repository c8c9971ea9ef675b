"""The policy document: which sources, models, thresholds, rules and rates.

It is the snapshot that the pipeline works by: immutable, validated when made, replaced as a whole.
It carries no command, no path outside `media_root` and no secret usable with any host: it refers to
what Settings define by name.
"""

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from agent.contract.parts import SLOWEST_HZ, V1, MediaPath, Name, Part, Time
from agent.contract.references import dangling_references
from agent.contract.rules import Rule
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
    Shadow,
    Source,
    SyntheticCamera,
    SystemSensor,
    VibrationSensor,
)
from agent.contract.thresholds import ThresholdPolicy, in_force
from agent.contract.view import Line, Tracking, Zone
from agent.domain.fates import FLOOR
from agent.domain.thresholds import Thresholds

Side = Annotated[int, Field(ge=32, le=4096)]


class ModelPolicy(Part):
    """One model: a detector, a pose model or an anomaly model; which one, the file says."""

    file: Annotated[
        MediaPath,
        Field(
            description="The ONNX file, or a model package (a folder, or a zip of its files), below "
            "Settings' media_root."
        ),
    ]
    sha256: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{64}$",
            description="SHA-256 of the file, or of the package: of its zip, or of what `sha256sum` prints "
            "for a folder's files by name; 64 hexadecimal digits in lower case. Given: another is refused.",
        ),
    ] = None
    provider: Annotated[
        Literal["cpu", "cuda", "tensorrt", "openvino", "migraphx"],
        Field(description="ONNX Runtime's execution provider."),
    ] = "cpu"
    strict_provider: Annotated[
        bool,
        Field(description="Fail rather than fall back to another provider, be it for a single node."),
    ] = False
    precision: Annotated[
        Literal["fp32", "tf32", "fp16", "bf16"],
        Field(
            description="What the provider computes in: cuda fp32 or tf32; tensorrt fp32, fp16 or bf16; "
            "openvino fp32 or bf16 on a CPU, else fp32 or fp16; migraphx fp32 or fp16. Below fp32, boxes "
            "and confidences differ: hold the model against golden results first."
        ),
    ] = "fp32"
    device: Annotated[
        Annotated[int, Field(ge=0, le=15)] | Literal["cpu", "gpu", "npu"] | None,
        Field(
            description="Number of the GPU (cuda, tensorrt, migraphx), or OpenVINO's kind of device. "
            "Without: the first GPU; for openvino the CPU."
        ),
    ] = None
    gpu_mem_limit_mb: Annotated[
        int | None,
        Field(
            ge=64,
            le=1_048_576,
            description="Most memory for the provider's own arena on the GPU, in MiB; CUDA's libraries take "
            "more beside it. Without: no bound.",
        ),
    ] = None
    shape: Annotated[
        Literal["file", "auto"] | tuple[Side, Side],
        Field(
            description="Input size: as the file says (`file`), as the camera's aspect asks (`auto`; only "
            "models with dynamic sizes), or [height, width] in pixels."
        ),
    ] = "file"
    rewrite: Annotated[
        Literal["off", "exact", "cut"],
        Field(
            description="Graph to run: as exported (`off`); its Softmax on the last axis (`exact`, equal "
            "bit for bit, for the CPU); or cut before its decoding (`cut`, equal to 1e-3 px and 1e-5 in "
            "confidence, the fastest on a CPU; `exact` where it does not apply). Made and proven once, by a "
            "child process at first load; needs the extra `models`, else the exported graph runs."
        ),
    ] = "exact"
    max_batch: Annotated[
        int,
        Field(
            ge=1,
            le=32,
            description="Most frames of several cameras in one run; a CPU gains nothing by it.",
        ),
    ] = 1
    thresholds: Annotated[
        ThresholdPolicy,
        Field(description="What counts as found by this model."),
    ] = ThresholdPolicy()


class Publish(Part):
    """How what was seen leaves the node."""

    keep_until: Annotated[
        Literal["acknowledged", "stored"],
        Field(description="A row stays until the broker (`acknowledged`) or its consumer (`stored`) has it."),
    ] = "acknowledged"
    window: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="Most messages without an acknowledgement; the broker may allow less.",
        ),
    ] = 20
    max_message_bytes: Annotated[
        int,
        Field(
            ge=1024,
            le=16_777_216,
            description="A larger row is set aside instead of sent, in bytes; not what the node says of "
            "itself.",
        ),
    ] = 262_144
    backlog_per_s: Annotated[
        int,
        Field(
            ge=1,
            le=100_000,
            description="Most rows a second of what waited while the broker was away, with bursts of a "
            "second's worth. What is new goes at once, and in any case.",
        ),
    ] = 500
    detections: Annotated[
        Literal["always", "detected", "changed"],
        Field(
            description="Tell of every inferred frame (`always`), of those in which something was found "
            "(`detected`), or of those that show something else than the last one told (`changed`): what is "
            "there, in which zones, or where."
        ),
    ] = "always"
    detections_per_s: Annotated[
        float | None,
        Field(
            ge=SLOWEST_HZ,
            le=1000,
            description="Most messages a second about each camera's frames. With `changed`, what had to wait "
            "is told as soon as may be. Without: no bound.",
        ),
    ] = None
    heartbeat_s: Annotated[
        float,
        Field(ge=1, le=3600, description="Seconds from heartbeat to heartbeat."),
    ] = 10.0
    expiry_s: Annotated[
        dict[
            Literal["detections", "telemetry", "events", "snapshots", "result"],
            Annotated[int, Field(ge=1, lt=2**32)],
        ],
        Field(
            description="Seconds that a message keeps, by stream. Without: detections 7 days, events 30, "
            "telemetry, snapshots and result 1."
        ),
    ] = Field(default_factory=dict)


class Power(Part):
    """How hard the node works."""

    mode: Annotated[
        Literal["full", "balanced", "eco"],
        Field(
            description="What is given up at least. `full`: nothing; `balanced`: half the rate of the least "
            "important cameras; `eco`: all of rate, input size and lanes, short of pausing a camera."
        ),
    ] = "full"
    max_temperature_c: Annotated[
        float,
        Field(
            ge=40,
            le=110,
            description="As hot as this, processor, GPU or board, the node does less and less, until it is "
            "5 °C cooler.",
        ),
    ] = 85.0
    lanes: Annotated[
        Literal["auto", "latency", "throughput"] | Annotated[int, Field(ge=1, le=64)],
        Field(
            description="`latency`: one lane with all threads; `throughput`: one one-thread lane per core; "
            "a number: so many one-thread lanes; `auto`: what `nanofleet model bench --tune` found on this "
            "node, else latency with one camera, throughput with more."
        ),
    ] = "auto"


class Policy(Part):
    """The whole: what the node watches and how."""

    models: Annotated[
        dict[Name, ModelPolicy],
        Field(description="Models by name."),
    ] = Field(default_factory=dict)
    sources: Annotated[
        dict[Name, Source],
        Field(description="Cameras and sensors by name."),
    ] = Field(default_factory=dict)
    rules: Annotated[
        dict[Name, Rule],
        Field(description="Rules by name."),
    ] = Field(default_factory=dict)
    publish: Annotated[Publish, Field(description="How what was seen leaves the node.")] = Publish()
    power: Annotated[Power, Field(description="How hard the node works.")] = Power()

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Self:
        details = [
            InitErrorDetails(
                type=PydanticCustomError(
                    "dangling_reference", "{message}", {"message": each.message, "known": each.known}
                ),
                loc=each.path,
                input=each.name,
            )
            for each in dangling_references(self.model_dump())
        ]
        if details:
            raise ValidationError.from_exception_data("Policy", details, hide_input=True)
        return self

    @property
    def shadows(self) -> dict[str, Shadow]:
        """Of the cameras that are switched on, those that have one."""
        return {
            name: source.shadow
            for name, source in self.sources.items()
            if source.enabled and isinstance(source, CameraPart) and source.shadow is not None
        }

    @property
    def only_shadows(self) -> set[str]:
        """Models that only look over others' shoulders and serve no source: the node runs without them."""
        serving = {source.model for source in self.sources.values() if source.enabled}
        return {shadow.model for shadow in self.shadows.values()} - serving

    def thresholds_of(self, source_name: str, beneath: ThresholdPolicy | None = None) -> Thresholds:
        """The thresholds in force for a camera: its own, else its model's, else the defaults.

        `beneath` is what the model's package says, below what the policy says of the model.
        """
        layers = self.threshold_layers(source_name, beneath)
        return replace(in_force(stated for _, stated in layers), floor=FLOOR)

    def threshold_layers(
        self, source_name: str, beneath: ThresholdPolicy | None = None
    ) -> list[tuple[str, ThresholdPolicy]]:
        """What states thresholds for a camera, the weakest first, by what a person calls it."""
        source = self.sources[source_name]
        layers = [("model package", beneath or ThresholdPolicy())]
        if source.model:
            layers.append(("model", self.models[source.model].thresholds))
        if isinstance(source, CameraPart):
            layers.append(("source", source.thresholds))
        return layers


class PolicyDocument(Part):
    """The envelope: the same from the file, over MQTT and by local command; the highest version wins."""

    v: Annotated[V1, Field(description="Version of the contract.")] = 1
    version: Annotated[
        int,
        Field(
            ge=0,
            le=2**53 - 1,
            description="Raise it with each change: the highest wins, wherever it came from. "
            "Unix time in milliseconds is a good choice.",
        ),
    ]
    issued_at: Annotated[Time | None, Field(description="When it was written, with zone.")] = None
    expires_at: Annotated[Time | None, Field(description="From when it is refused, with zone.")] = None
    issuer: Annotated[
        str,
        Field(min_length=1, max_length=200, description="Who wrote it."),
    ] = "file"
    policy: Annotated[Policy, Field(description="What the node watches and how.")]


__all__ = [
    "Camera",
    "DeviceCamera",
    "FileCamera",
    "HttpCamera",
    "ImagesCamera",
    "Line",
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
    "Tracking",
    "VibrationSensor",
    "Zone",
]
