"""The stanzas of a policy's sources: cameras, which give frames, and sensors, which give readings."""

from typing import Annotated, Literal

from pydantic import Field

from agent.contract.parts import Device, MediaPath, Name, Part, StreamUrl, Unit
from agent.contract.thresholds import ThresholdPolicy


class SourcePart(Part):
    """What all sources have."""

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


class CameraPart(SourcePart):
    """What all cameras have."""

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
    zones: dict[Name, Zone] = Field(default_factory=dict)

    @property
    def overflow_or_default(self) -> Literal["newest", "wait"]:
        return self.overflow or "newest"


class FileCamera(CameraPart):
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


class ImagesCamera(CameraPart):
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


class NetworkCamera(CameraPart):
    """What cameras with an address have."""

    url: StreamUrl
    secret: Annotated[Name | None, Field(description="Credentials: a name under Settings' [secrets].")] = None
    open_timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    read_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0


class RtspCamera(NetworkCamera):
    """A network camera over RTSP."""

    kind: Literal["rtsp"]
    transport: Literal["tcp", "udp"] = "tcp"


class HttpCamera(NetworkCamera):
    """A network camera over HTTP or HTTPS (MJPEG, HLS or a file)."""

    kind: Literal["http"]


class DeviceCamera(CameraPart):
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


class PipeCamera(CameraPart):
    """Raw frames from the standard output of a command that Settings name."""

    kind: Literal["pipe"]
    pipe: Annotated[Name, Field(description="A name under Settings' [pipes].")]


class SyntheticCamera(CameraPart):
    """A rendered conveyor with parts, whose truth is known."""

    kind: Literal["synthetic"]
    width_px: Annotated[int, Field(ge=64, le=4096)] = 640
    height_px: Annotated[int, Field(ge=64, le=4096)] = 480
    rate_hz: Annotated[float, Field(gt=0, le=240)] = 10.0
    seed: int = 1
    frames: Annotated[int | None, Field(gt=0, description="End after so many; none: never.")] = None


class SensorPart(SourcePart):
    """What all sensors have."""

    report_every_s: Annotated[
        float,
        Field(gt=0, le=3600, description="Seconds from one telemetry message to the next."),
    ] = 1.0
    report: Annotated[
        Literal["last", "mean", "all"],
        Field(description="Of the readings since the last message: which are told."),
    ] = "last"


class SystemSensor(SensorPart):
    """The machine itself: temperatures, load, memory, throttling."""

    kind: Literal["system"]
    every_s: Annotated[float, Field(gt=0, le=3600, description="Seconds from sample to sample.")] = 5.0


class VibrationSensor(SensorPart):
    """A synthetic accelerometer on a machine whose bearing fails from time to time."""

    kind: Literal["vibration"]
    rate_hz: Annotated[float, Field(gt=0, le=10_000)] = 200.0
    seed: int = 1
    fault_every_s: Annotated[float, Field(gt=0, description="Seconds from fault to fault.")] = 20.0
    fault_for_s: Annotated[float, Field(ge=0, description="Seconds that a fault lasts; 0: never.")] = 4.0


Camera = FileCamera | ImagesCamera | RtspCamera | HttpCamera | DeviceCamera | PipeCamera | SyntheticCamera
Sensor = SystemSensor | VibrationSensor
Source = Annotated[Camera | Sensor, Field(discriminator="kind")]
