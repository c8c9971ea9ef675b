"""The stanzas of a policy's sources: cameras, which give frames, and sensors, which give readings."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agent.contract.parts import SLOWEST_HZ, Device, MediaPath, Name, Part, StreamUrl
from agent.contract.thresholds import ThresholdPolicy
from agent.contract.view import Line, Tracking, Zone


class SourcePart(Part):
    """What all sources have."""

    enabled: Annotated[bool, Field(description="false: the source is known, but not run.")] = True
    priority: Annotated[
        int,
        Field(ge=0, le=9, description="9 is served first when not all can be."),
    ] = 5
    model: Annotated[
        Name | None,
        Field(description="A name under `models`. Without: nothing is inferred."),
    ] = None


class Shadow(Part):
    """A second model that looks at frames of a camera in spare time, and is compared with the first."""

    model: Annotated[Name, Field(description="A name under `models`: a detector or a pose model.")]
    fps: Annotated[
        float,
        Field(
            ge=SLOWEST_HZ,
            le=240,
            description="Most frames a second that it looks at; fewer where time is short.",
        ),
    ] = 1.0


class CameraPart(SourcePart):
    """What all cameras have."""

    fps: Annotated[
        float | None,
        Field(ge=SLOWEST_HZ, le=240, description="Most frames a second that are inferred. Without: all."),
    ] = None
    overflow: Annotated[
        Literal["newest", "wait"] | None,
        Field(
            description="While a frame waits for inference: `newest` puts the next one in its place, `wait` "
            "holds the camera up. Without: `newest`, but `wait` for what is read as fast as possible."
        ),
    ] = None
    max_staleness_s: Annotated[
        float,
        Field(
            gt=0,
            le=60,
            description="An older frame is dropped instead of inferred, in seconds (with overflow `newest`).",
        ),
    ] = 1.0
    thresholds: Annotated[
        ThresholdPolicy,
        Field(description="What counts as found here, where it differs from the model's."),
    ] = ThresholdPolicy()
    shadow: Annotated[
        Shadow | None,
        Field(description="A second model to compare with the first, in time that nobody needs."),
    ] = None
    zones: Annotated[
        dict[Name, Zone],
        Field(max_length=32, description="Parts of the picture by name, for messages and rules."),
    ] = Field(default_factory=dict)
    lines: Annotated[
        dict[Name, Line],
        Field(max_length=32, description="Lines by name, for rules; their crossings want `tracking`."),
    ] = Field(default_factory=dict)
    tracking: Annotated[
        Tracking | None,
        Field(
            description="Follow objects from frame to frame: for track numbers, line crossings, and for how "
            "long something stands in a zone or still. Without: nothing is followed."
        ),
    ] = None

    @model_validator(mode="after")
    def _shadow_has_a_first(self) -> Self:
        if self.shadow is not None and self.model is None:
            raise ValueError("shadow compares a second model with the first; give this camera a model too")
        return self

    @model_validator(mode="after")
    def _lines_have_tracks(self) -> Self:
        if self.lines and self.tracking is None:
            raise ValueError("lines are crossed by what is tracked; give this camera `tracking: {}` too")
        return self

    @property
    def overflow_or_default(self) -> Literal["newest", "wait"]:
        """`overflow`, or what suits this kind of camera."""
        return self.overflow or "newest"

    @property
    def period_s(self) -> float | None:
        """Seconds from frame to frame at least, by what is stated; None: nothing is."""
        return None if self.fps is None else 1 / self.fps


class FileCamera(CameraPart):
    """A video file."""

    kind: Literal["file"]
    path: Annotated[MediaPath, Field(description="The file, below Settings' media_root.")]
    pace: Annotated[
        Literal["clock", "fast"],
        Field(description="By the file's own clock, or as fast as possible."),
    ] = "clock"
    loop: Annotated[bool, Field(description="Begin again at the end.")] = False

    @property
    def overflow_or_default(self) -> Literal["newest", "wait"]:
        return self.overflow or ("wait" if self.pace == "fast" else "newest")


class ImagesCamera(CameraPart):
    """A folder of pictures, in the order of their names."""

    kind: Literal["images"]
    path: Annotated[MediaPath, Field(description="The folder, below Settings' media_root.")]
    every_s: Annotated[
        float,
        Field(ge=0, le=86_400, description="Seconds from picture to picture; 0: as fast as possible."),
    ] = 1.0
    loop: Annotated[bool, Field(description="Begin again at the end.")] = False

    @property
    def overflow_or_default(self) -> Literal["newest", "wait"]:
        return self.overflow or ("wait" if self.every_s == 0 else "newest")

    @property
    def period_s(self) -> float | None:
        return max(self.every_s, super().period_s or 0.0)


class NetworkCamera(CameraPart):
    """What cameras with an address have."""

    url: Annotated[
        StreamUrl,
        Field(description="The address, without credentials; its host is among Settings' allowed_hosts."),
    ]
    secret: Annotated[
        Name | None,
        Field(description="The credentials: a name under Settings' [secrets]."),
    ] = None
    open_timeout_s: Annotated[
        float,
        Field(gt=0, le=60, description="Longest wait for the connection, in seconds."),
    ] = 10.0
    read_timeout_s: Annotated[
        float,
        Field(gt=0, le=60, description="Longest wait for the next frame, in seconds."),
    ] = 5.0


class RtspCamera(NetworkCamera):
    """A network camera over RTSP."""

    kind: Literal["rtsp"]
    transport: Annotated[
        Literal["tcp", "udp"],
        Field(description="How the video travels; over udp packets may be lost."),
    ] = "tcp"


class HttpCamera(NetworkCamera):
    """A network camera over HTTP or HTTPS (MJPEG, HLS or a file)."""

    kind: Literal["http"]


class DeviceCamera(CameraPart):
    """A camera of this machine, through Video4Linux2."""

    kind: Literal["v4l2"]
    device: Annotated[
        Device,
        Field(description="Its name below /dev; one below v4l/by-id keeps its meaning when plugs change."),
    ] = "video0"
    width_px: Annotated[
        int | None,
        Field(gt=0, le=16_384, description="Width to ask for, in pixels. Without: the device's own."),
    ] = None
    height_px: Annotated[
        int | None,
        Field(gt=0, le=16_384, description="Height to ask for, in pixels. Without: the device's own."),
    ] = None
    rate_hz: Annotated[
        float | None,
        Field(ge=SLOWEST_HZ, le=240, description="Frames a second to ask for. Without: the device's own."),
    ] = None
    format: Annotated[
        str | None,
        Field(pattern="^[A-Z0-9]{4}$", description="Pixel format to ask for: a FOURCC, e.g. MJPG or YUYV."),
    ] = None


class PipeCamera(CameraPart):
    """Raw frames from the standard output of a command that Settings name."""

    kind: Literal["pipe"]
    pipe: Annotated[Name, Field(description="A name under Settings' [pipes].")]


class SyntheticCamera(CameraPart):
    """A rendered conveyor with parts, whose truth is known."""

    kind: Literal["synthetic"]
    width_px: Annotated[int, Field(ge=64, le=4096, description="Width in pixels.")] = 640
    height_px: Annotated[int, Field(ge=64, le=4096, description="Height in pixels.")] = 480
    rate_hz: Annotated[float, Field(ge=SLOWEST_HZ, le=240, description="Frames a second.")] = 10.0
    seed: Annotated[int, Field(ge=0, description="The same seed gives the same pictures.")] = 1
    frames: Annotated[int | None, Field(gt=0, description="End after so many. Without: never.")] = None


class SensorPart(SourcePart):
    """What all sensors have."""

    report_every_s: Annotated[
        float,
        Field(gt=0, le=3600, description="Seconds from one telemetry message to the next."),
    ] = 1.0
    report: Annotated[
        Literal["last", "mean", "all"],
        Field(description="Which of the readings since the last message are told."),
    ] = "last"
    max_delay_s: Annotated[
        float,
        Field(gt=0, le=600, description="A window that waits longer than this for its model is dropped."),
    ] = 2.0


class SystemSensor(SensorPart):
    """The machine itself: temperatures, load, memory, throttling."""

    kind: Literal["system"]
    every_s: Annotated[
        float,
        Field(gt=0, le=3600, description="Seconds from sample to sample."),
    ] = 5.0


class VibrationSensor(SensorPart):
    """A synthetic accelerometer on a machine whose bearing fails from time to time."""

    kind: Literal["vibration"]
    rate_hz: Annotated[float, Field(ge=SLOWEST_HZ, le=10_000, description="Samples a second.")] = 200.0
    seed: Annotated[int, Field(ge=0, description="The same seed gives the same readings.")] = 1
    fault_every_s: Annotated[
        float,
        Field(gt=0, le=86_400, description="Seconds from the beginning of one fault to the next one's."),
    ] = 20.0
    fault_for_s: Annotated[
        float,
        Field(ge=0, le=86_400, description="Seconds that a fault lasts; 0: there is none."),
    ] = 4.0

    @model_validator(mode="after")
    def _recovers(self) -> Self:
        if self.fault_for_s >= self.fault_every_s:
            raise ValueError(
                f"a fault of {self.fault_for_s:g} s every {self.fault_every_s:g} s never ends; "
                "fault_for_s has to be less than fault_every_s"
            )
        return self


Camera = FileCamera | ImagesCamera | RtspCamera | HttpCamera | DeviceCamera | PipeCamera | SyntheticCamera
Sensor = SystemSensor | VibrationSensor
Source = Annotated[Camera | Sensor, Field(discriminator="kind")]
