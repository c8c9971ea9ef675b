"""Which adapter a stanza of the policy stands for, under this node's Settings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import assert_never

from agent.adapters.cameras.device import DeviceCamera
from agent.adapters.cameras.images import ImageFolderCamera
from agent.adapters.cameras.network import NetworkCamera
from agent.adapters.cameras.pipe import PipeCamera
from agent.adapters.cameras.video_file import VideoFileCamera
from agent.adapters.mqtt import MqttLink, TlsFiles
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.outbox.bounds import Bounds, Limit
from agent.adapters.sensors.system import SystemSensor
from agent.adapters.system.limits import read_limits
from agent.adapters.system.memory import memory_mb
from agent.adapters.system.temperature import HEATED_BY_INFERENCE, temperatures_c
from agent.adapters.system.time_floor import TimeFloor
from agent.adapters.throttling import Throttling
from agent.contract import sources
from agent.contract.policy import Policy
from agent.domain.errors import Code, RefusedError
from agent.domain.frame import Frame
from agent.domain.ids import ModelName, SourceName
from agent.pipeline.handover import Handover
from agent.pipeline.health import Machine
from agent.pipeline.intake import FrameIntake, ReadingIntake
from agent.pipeline.overload import Strain
from agent.pipeline.results import Result
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.swap import Admitted
from agent.pipeline.windows import WindowAssembler
from agent.ports import (
    AnomalyModel,
    Clock,
    DetectorModel,
    FrameSource,
    Metrics,
    Model,
    Priority,
    ReadingSource,
)
from agent.settings import Settings, resolve_media
from agent.settings.outbox import OutboxSettings


def link(settings: Settings, *, clock: Clock, known_time: TimeFloor | None = None) -> MqttLink:
    """The way to this node's broker. Without `known_time`, certificates are judged by the clock alone.

    Raises:
        ConfigError: a certificate, key or password file cannot be used.
    """
    broker = settings.broker
    tls = (
        TlsFiles(ca=broker.ca_file, certificate=broker.cert_file, key=broker.key_file) if broker.tls else None
    )
    return MqttLink(
        host=broker.host,
        port=broker.port,
        client_id=settings.node,
        clock=clock,
        tls=tls,
        floor=known_time.instead_of_clock if known_time else lambda: None,
        insecure=broker.allow_insecure,
        username=broker.username,
        password_file=broker.password_file,
        dial_timeout_s=broker.connect_timeout_s,
    )


def machine() -> Machine:
    """How the board is now. Blocking: a sensor may take milliseconds to read."""
    limits = read_limits()
    return Machine(
        memory_mb=memory_mb(),
        temperature_c=temperatures_c(),
        memory_left_mb=limits.bound.left_mb if limits else None,
        memory_limit_mb=limits.bound.total_mb if limits else None,
    )


def outbox_bounds(settings: OutboxSettings) -> Bounds:
    """What may wait, in bytes and seconds."""
    percent, ages_s = settings.max_percent, settings.max_ages_s
    kinds: dict[Priority, tuple[int | None, int | None]] = {
        "event": (percent.events, ages_s.events),
        "result": (percent.result, ages_s.result),
        "snapshot": (percent.snapshots, ages_s.snapshots),
        "telemetry": (percent.telemetry, ages_s.telemetry),
        "detection": (percent.detections, ages_s.detections),
    }
    return Bounds(
        max_bytes=settings.max_bytes,
        max_age_s=settings.max_age_s,
        reserve_bytes=settings.max_bytes * settings.reserve_percent // 100,
        limits={
            priority: Limit(
                max_bytes=settings.max_bytes * (100 if most is None else most) // 100,
                max_age_s=settings.max_age_s if age_s is None else age_s,
            )
            for priority, (most, age_s) in kinds.items()
        },
    )


def strain(root: Path = Path("/")) -> Callable[[], Strain]:
    """What tells how hot this board is, and who slows it down. Reads files: for a thread of its own."""
    throttling = Throttling(root)

    def read() -> Strain:
        told = temperatures_c(sys=root / "sys")
        heated = [celsius for kind, celsius in told.items() if kind in HEATED_BY_INFERENCE]
        return Strain(max(heated, default=None), throttling.read())

    return read


def as_detector(model: DetectorModel | AnomalyModel | None, *, source: str) -> DetectorModel | None:
    """The model of a camera.

    Raises:
        RefusedError: it is a model of sensor windows.
    """
    if model is None or isinstance(model, OnnxDetector):
        return model
    raise _wrong_task(model, source, "a camera wants a detector or a pose model")


def as_anomaly_model(
    model: DetectorModel | AnomalyModel | None, *, source: str, stanza: sources.Sensor
) -> AnomalyModel | None:
    """The model of a sensor.

    Raises:
        RefusedError: it is a model of pictures, or of a signal that is sampled otherwise.
    """
    if model is None:
        return None
    if not isinstance(model, OnnxAnomaly):
        raise _wrong_task(model, source, "a sensor wants an anomaly model")
    wanted_hz = model.rate_hz
    if isinstance(stanza, sources.VibrationSensor) and wanted_hz != stanza.rate_hz:
        raise RefusedError(
            f"source {source} takes {stanza.rate_hz:g} samples a second, and its model {model.facts.name} "
            f"wants {wanted_hz:g}; rate_hz: {wanted_hz:g} would be right",
            code=Code.COMPATIBILITY,
            path=f"/policy/sources/{source}/rate_hz",
        )
    return model


def check_suits(policy: Policy, models: Mapping[ModelName, Model]) -> None:
    """Whether each source that runs is served by a model of its kind, as far as `models` are there.

    Raises:
        RefusedError: one is not; its path leads to the source.
    """
    for name, stanza in policy.sources.items():
        model = models.get(ModelName(stanza.model)) if stanza.enabled and stanza.model else None
        if isinstance(stanza, sources.CameraPart):
            as_detector(model, source=name)
        else:
            as_anomaly_model(model, source=name, stanza=stanza)


def _wrong_task(model: DetectorModel | AnomalyModel, source: str, wanted: str) -> RefusedError:
    facts = model.facts
    return RefusedError(
        f"source {source} names the model {facts.name}, whose task is {facts.task}; {wanted}",
        code=Code.COMPATIBILITY,
        path=f"/policy/sources/{source}/model",
    )


def classes_by_camera(
    policy: Policy, serving: Callable[[str | None], Admitted | None]
) -> dict[SourceName, frozenset[str]]:
    """What the models of cameras find, by name, where there is a model and it names what it finds."""
    found = {
        SourceName(name): frozenset(admitted.model.facts.class_names.values())
        for name, stanza in policy.sources.items()
        if isinstance(stanza, sources.CameraPart) and (admitted := serving(stanza.model)) is not None
    }
    return {name: classes for name, classes in found.items() if classes}


def intake(
    name: SourceName,
    *,
    policy: Policy,
    admitted: Admitted | None,
    scheduler: Scheduler,
    results: Handover[Result],
    clock: Clock,
    metrics: Metrics,
    on_frame: Callable[[Frame], None] = lambda _frame: None,
) -> FrameIntake | ReadingIntake:
    """Where a source's items go: into a mailbox of the scheduler, served by its model.

    `on_frame` hears of every frame of a camera, in its thread.

    Raises:
        RefusedError: the model is none for this source.
    """
    stanza = policy.sources[name]
    model = admitted.model if admitted else None
    if isinstance(stanza, sources.CameraPart):
        mailbox = scheduler.add_camera(
            name,
            model=as_detector(model, source=name),
            thresholds=policy.thresholds_of(name, admitted.thresholds if admitted else None),
            overflow=stanza.overflow_or_default,
            priority=stanza.priority,
            max_staleness_s=stanza.max_staleness_s,
            fps=stanza.fps,
        )
        return FrameIntake(source=name, mailbox=mailbox, clock=clock, on_frame=on_frame)
    scorer = as_anomaly_model(model, source=name, stanza=stanza)
    if scorer is None:
        return ReadingIntake(source=name, results=results, windows=None, mailbox=None, metrics=metrics)
    return ReadingIntake(
        source=name,
        results=results,
        windows=WindowAssembler(source=name, channels=scorer.channels, window=scorer.window, hop=scorer.hop),
        mailbox=scheduler.add_sensor(name, model=scorer, deadline_s=stanza.max_delay_s),
        metrics=metrics,
    )


def source(stanza: sources.Source, settings: Settings) -> Callable[[], FrameSource | ReadingSource]:
    """How to build this source, anew for each attempt.

    Raises:
        RefusedError: the stanza points at what Settings do not allow.
    """
    if isinstance(stanza, sources.CameraPart):
        return camera(stanza, settings)
    return sensor(stanza, settings)


def camera(stanza: sources.Camera, settings: Settings) -> Callable[[], FrameSource]:
    """How to build this camera, anew for each attempt.

    Raises:
        RefusedError: the stanza points at what Settings do not allow.
    """
    match stanza:
        case sources.FileCamera():
            path = resolve_media(settings, stanza.path)
            return lambda: VideoFileCamera(path=path, pace=stanza.pace, loop=stanza.loop)
        case sources.ImagesCamera():
            folder = resolve_media(settings, stanza.path)
            return lambda: ImageFolderCamera(path=folder, every_s=stanza.every_s, loop=stanza.loop)
        case sources.RtspCamera() | sources.HttpCamera():
            return lambda: NetworkCamera(
                url=stanza.url,
                credentials=_credentials(stanza, settings),
                transport=stanza.transport if isinstance(stanza, sources.RtspCamera) else "tcp",
                open_timeout_s=stanza.open_timeout_s,
                read_timeout_s=stanza.read_timeout_s,
            )
        case sources.DeviceCamera():
            return lambda: DeviceCamera(
                device=stanza.device,
                width_px=stanza.width_px,
                height_px=stanza.height_px,
                rate_hz=stanza.rate_hz,
                fourcc=stanza.format,
            )
        case sources.PipeCamera():
            pipe = settings.pipes[stanza.pipe]
            return lambda: PipeCamera(
                command=pipe.command,
                width_px=pipe.width_px,
                height_px=pipe.height_px,
                pixel_format=pipe.format,
            )
        case sources.SyntheticCamera():
            # What only demonstrates costs a real node no memory: numpy's random numbers alone take 3 MB.
            from agent.adapters.cameras.synthetic import ConveyorCamera

            return lambda: ConveyorCamera(
                width_px=stanza.width_px,
                height_px=stanza.height_px,
                rate_hz=stanza.rate_hz,
                seed=stanza.seed,
                frames=stanza.frames,
            )
        case never:
            assert_never(never)


def _credentials(
    stanza: sources.RtspCamera | sources.HttpCamera, settings: Settings
) -> tuple[str, str] | None:
    """User name and password, as the secret's file says them now."""
    if stanza.secret is None:
        return None
    secret = settings.secrets[stanza.secret]
    return secret.username, secret.password().get_secret_value()


def sensor(stanza: sources.Sensor, settings: Settings) -> Callable[[], ReadingSource]:
    """How to build this sensor, anew for each attempt."""
    match stanza:
        case sources.SystemSensor():
            return lambda: SystemSensor(every_s=stanza.every_s, disk=settings.state_dir)
        case sources.VibrationSensor():
            from agent.adapters.sensors.vibration import VibrationSensor

            return lambda: VibrationSensor(
                rate_hz=stanza.rate_hz,
                seed=stanza.seed,
                fault_every_s=stanza.fault_every_s,
                fault_for_s=stanza.fault_for_s,
            )
        case never:
            assert_never(never)
