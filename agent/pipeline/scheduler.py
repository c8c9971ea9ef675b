"""Which frame or window is served next: fair over sources by their weight, sensor windows by deadline."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.domain.reading import SensorWindow
from agent.domain.thresholds import Thresholds
from agent.pipeline.lines import CameraLine, Demand, SensorLine
from agent.pipeline.mailbox import Mailbox, MailboxStatistics, Overflow
from agent.ports import AnomalyModel, Clock, DetectorModel

_IDLE_WAIT_S = 1.0
"""Lanes come up for air so often, so that their tick stays young."""

_WINDOWS_HELD = 4


@dataclass(frozen=True, slots=True)
class FrameJob:
    """Frames of several cameras, at most one each, for one run of one detector."""

    model: DetectorModel
    frames: tuple[Frame, ...]
    thresholds: tuple[Thresholds, ...]
    taken_ns: int
    scale: float = 1.0
    """Fraction of the model's own input size to run at."""
    config_version: int | None = None
    """Of the policy whose thresholds these are."""


@dataclass(frozen=True, slots=True)
class WindowJob:
    """One window of one sensor."""

    model: AnomalyModel
    window: SensorWindow
    taken_ns: int


Job = FrameJob | WindowJob


class NoJob(Enum):
    """Why a lane got nothing to do."""

    IDLE = "idle"
    """Nothing has come within a second: ask again."""
    OVER = "over"
    """The scheduler is closed and everything has been served."""


@dataclass(slots=True)
class _Lines:
    cameras: dict[SourceName, CameraLine] = field(default_factory=dict)
    sensors: dict[SourceName, SensorLine] = field(default_factory=dict)


class Scheduler:
    """The mailboxes of all sources, and the order in which the lanes empty them.

    Cameras are served by stride scheduling: each service costs a source 1 / (priority + 1) of virtual
    time and the source with the least is next, so that no source starves and a weight is a share.
    Source: Waldspurger & Weihl, "Stride Scheduling" (MIT/LCS/TM-528, 1995).
    Sensor windows are small and go first, the earliest deadline before the others.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._unparked = threading.Condition(self._lock)
        self._spare = threading.Condition(self._lock)
        self._busy: set[int] = set()
        self._sheds = False
        self._lines = _Lines()
        self._asked: dict[SourceName, int] = {}
        self._lanes: int | None = None
        self._scale = 1.0
        self.config_version: int | None = None
        """Of the policy by which jobs are given out from now on, where somebody says so."""
        self._closed = False
        self._virtual_time = 0.0

    def add_camera(
        self,
        source: SourceName,
        *,
        model: DetectorModel | None,
        thresholds: Thresholds,
        overflow: Overflow,
        priority: int = 5,
        max_staleness_s: float = 1.0,
        fps: float | None = None,
    ) -> Mailbox[Frame]:
        """Serve a camera from now on; its capture thread fills the mailbox that is returned.

        Without a model it is paused: its frames are let go.
        """
        mailbox: Mailbox[Frame] = Mailbox(
            overflow=overflow, capacity=1, filled=self._filled, lock=self._lock, now_ns=self._now_ns
        )
        line = CameraLine(
            mailbox=mailbox,
            model=model,
            thresholds=thresholds,
            weight=priority + 1,
            max_staleness_ns=int(max_staleness_s * 1e9),
            min_interval_ns=int(1e9 / fps) if fps else 0,
        )
        with self._lock:
            line.served = self._virtual_time
            line.asked_interval_ns = self._asked.get(source)
            self._lines.cameras[source] = line
        return mailbox

    def add_sensor(
        self, source: SourceName, *, model: AnomalyModel, deadline_s: float
    ) -> Mailbox[SensorWindow]:
        """Serve a sensor's windows; one that waits longer than `deadline_s` is dropped as stale."""
        mailbox: Mailbox[SensorWindow] = Mailbox(
            overflow="newest",
            capacity=_WINDOWS_HELD,
            filled=self._filled,
            lock=self._lock,
            now_ns=self._now_ns,
        )
        with self._lock:
            self._lines.sensors[source] = SensorLine(mailbox, model, int(deadline_s * 1e9))
        return mailbox

    def alter_camera(
        self,
        source: SourceName,
        *,
        model: DetectorModel | None,
        thresholds: Thresholds,
        priority: int,
        max_staleness_s: float,
        fps: float | None,
    ) -> None:
        """Serve a camera otherwise from the next job on; what it has captured stays."""
        with self._lock:
            line = self._lines.cameras[source]
            line.model, line.thresholds, line.weight = model, thresholds, priority + 1
            line.max_staleness_ns = int(max_staleness_s * 1e9)
            line.min_interval_ns = int(1e9 / fps) if fps else 0
            line.due_ns = min(line.due_ns, self._now_ns() + line.interval_ns)
            self._filled.notify_all()

    def ask_rates(self, fps: Mapping[SourceName, float]) -> None:
        """Serve these cameras at most so often, in place of what was said of each; all others as was said."""
        with self._lock:
            self._asked = {source: int(1e9 / rate) for source, rate in fps.items()}
            for source, line in self._lines.cameras.items():
                line.asked_interval_ns = self._asked.get(source)
                line.due_ns = min(line.due_ns, self._now_ns() + line.interval_ns)
            self._filled.notify_all()

    def remove(self, source: SourceName) -> None:
        """Serve a source no more: what it has captured is let go, and its capture thread is set free."""
        with self._lock:
            mailbox = self._mailboxes().get(source)
            self._lines.cameras.pop(source, None)
            self._lines.sensors.pop(source, None)
        if mailbox is not None:
            mailbox.close()

    def replace_model(
        self,
        old: DetectorModel | AnomalyModel,
        new: DetectorModel | AnomalyModel,
        *,
        thresholds: Mapping[SourceName, Thresholds],
    ) -> None:
        """Every source that `old` serves is served by `new` from the next job on, all of them at once.

        What a lane has taken is finished with `old`; what is held goes to `new`. `new` is of the same kind,
        and cuts a sensor's signal alike. `thresholds` are those of cameras; a camera not named keeps its own.
        """
        with self._lock:
            for name, camera in self._lines.cameras.items():
                if camera.model is old:
                    camera.model = cast("DetectorModel", new)
                    camera.thresholds = thresholds.get(name, camera.thresholds)
            for sensor in self._lines.sensors.values():
                if sensor.model is old:
                    sensor.model = cast("AnomalyModel", new)

    def relieve(self, *, keep_one_of: Mapping[SourceName, int], scale: float, lanes: int) -> None:
        """Do less, from the next job on; with no names, 1.0 and all lanes everything is done again.

        Of a camera named one frame in so many is served, none for 0. What may not lose frames gets a smaller
        share, or waits. Detectors run at `scale` of their input where they can; lanes from `lanes` on rest.
        """
        with self._lock:
            for name, camera in self._lines.cameras.items():
                camera.mailbox.keep_one_of = keep_one_of.get(name, 1)
            self._scale = scale
            self._lanes = lanes
            self._sheds = scale < 1.0 or any(share != 1 for share in keep_one_of.values())
            # A lane that rests from now on may have been woken for a frame: another has to look.
            self._filled.notify_all()
            self._unparked.notify_all()

    def wait_for_spare(self, need_s: float, *, timeout_s: float) -> bool:
        """Whether nobody will want a lane for the next `need_s`, now or as soon as lanes fall idle.

        Not while load is shed, a lane works, a frame or window is held, or a camera's next frame is due
        before that time: False after `timeout_s` of this.
        """
        with self._lock:
            return self._spare.wait_for(lambda: self._spare_s() >= need_s, timeout=timeout_s)

    def demands(self) -> dict[SourceName, Demand]:
        """How each camera that has a model fares. One caller: waits are counted from its last call."""
        with self._lock:
            now_ns = self._now_ns()
            cameras = {name: line for name, line in self._lines.cameras.items() if line.model is not None}
            waited_s = {}
            for name, line in cameras.items():
                line.note_wait(now_ns)
                waited_s[name] = line.waited_ns / 1e9
                line.waited_ns = 0
        return {name: line.demand(waited_s[name]) for name, line in cameras.items()}

    def close(self) -> None:
        """Close all mailboxes. Lanes go on until those are empty, then `next_job` says that it is over."""
        with self._lock:
            self._closed = True
            mailboxes = self._mailboxes()
        for mailbox in mailboxes.values():
            mailbox.close()
        with self._lock:
            self._filled.notify_all()
            self._unparked.notify_all()

    def spoil(self, job: Job) -> None:
        """The model failed on `job`: its frames or window count as dropped, not as inferred."""
        sources = [frame.source for frame in job.frames] if isinstance(job, FrameJob) else [job.window.source]
        with self._lock:
            mailboxes = self._mailboxes()
            for source in sources:
                if source in mailboxes:  # it may have been removed meanwhile
                    mailboxes[source].spoil()

    def statistics(self) -> dict[SourceName, MailboxStatistics]:
        """Per source, what was offered and what became of it."""
        with self._lock:
            mailboxes = self._mailboxes()
        return {name: mailbox.statistics() for name, mailbox in mailboxes.items()}

    def next_job(self, lane: int = 0) -> Job | NoJob:
        """What a lane does next; waits up to a second for it. `lane` counts from 0."""
        with self._lock:
            self._busy.discard(lane)
            if not self._unparked.wait_for(lambda: not self._is_parked(lane), timeout=_IDLE_WAIT_S):
                return NoJob.IDLE
            now_ns = self._now_ns()
            job, due_ns = self._choose(now_ns)
            if job is None and not self._is_over():
                wait_s = _IDLE_WAIT_S if due_ns is None else min(_IDLE_WAIT_S, (due_ns - now_ns) / 1e9)
                self._spare.notify()
                self._filled.wait(timeout=max(wait_s, 0.0))
                if self._is_parked(lane):
                    return NoJob.IDLE
                job, _ = self._choose(self._now_ns())
            if job is not None:
                self._busy.add(lane)
                return job
            return NoJob.OVER if self._is_over() else NoJob.IDLE

    def _now_ns(self) -> int:
        return self._clock.now().monotonic_ns

    def _spare_s(self) -> float:
        """For how long nobody is expected to want a lane."""
        if self._closed or self._sheds or self._busy:
            return 0.0
        if any(line.mailbox.peek() is not None for line in self._lines.sensors.values()):
            return 0.0
        now_ns = self._now_ns()
        cameras = (line for line in self._lines.cameras.values() if line.model is not None)
        nexts = (line.next_ns(now_ns) for line in cameras)
        return min(((next_ns - now_ns) / 1e9 for next_ns in nexts if next_ns is not None), default=math.inf)

    def _is_parked(self, lane: int) -> bool:
        return self._lanes is not None and lane >= self._lanes and not self._closed

    def _mailboxes(self) -> dict[SourceName, Mailbox[Frame] | Mailbox[SensorWindow]]:
        mailboxes: dict[SourceName, Mailbox[Frame] | Mailbox[SensorWindow]] = {}
        mailboxes |= {name: line.mailbox for name, line in self._lines.cameras.items()}
        mailboxes |= {name: line.mailbox for name, line in self._lines.sensors.items()}
        return mailboxes

    def _is_over(self) -> bool:
        return self._closed and all(mailbox.peek() is None for mailbox in self._mailboxes().values())

    def _choose(self, now_ns: int) -> tuple[Job | None, int | None]:
        """The job to do now, or else the time at which a held frame becomes due."""
        self._let_go(now_ns)
        window_job = self._choose_window(now_ns)
        if window_job is not None:
            return window_job, None
        held = [line for line in self._lines.cameras.values() if line.mailbox.peek() is not None]
        ready = [line for line in held if self._closed or (line.due_ns <= now_ns and not line.is_held_back)]
        if not ready:
            return None, min((line.due_ns for line in held if not line.is_held_back), default=None)
        return self._take_frames(ready, now_ns), None

    def _choose_window(self, now_ns: int) -> WindowJob | None:
        waiting = [
            (held.last.monotonic_ns + line.deadline_ns, name)
            for name, line in self._lines.sensors.items()
            if (held := line.mailbox.peek()) is not None
        ]
        if not waiting:
            return None
        line = self._lines.sensors[min(waiting)[1]]
        return WindowJob(line.model, line.mailbox.take(), now_ns)

    def _take_frames(self, ready: list[CameraLine], now_ns: int) -> FrameJob:
        for line in ready:
            # A source that was idle does not save up service for later.
            line.served = max(line.served, self._virtual_time)
        ready.sort(key=lambda line: line.served)
        first = ready[0]
        self._virtual_time = first.served
        model = first.model
        if model is None:
            raise AssertionError("a camera without a model holds no frame here: they were let go as paused")
        batch = [line for line in ready if line.model is model][: model.max_batch]
        frames = []
        for line in batch:
            line.note_wait(now_ns)
            frames.append(line.mailbox.take())
            line.served += line.stride
            on_time = now_ns - line.due_ns < line.interval_ns
            line.due_ns = (line.due_ns if on_time else now_ns) + line.interval_ns
        thresholds = tuple(line.thresholds for line in batch)
        return FrameJob(model, tuple(frames), thresholds, now_ns, self._scale, self.config_version)

    def _let_go(self, now_ns: int) -> None:
        for camera in self._lines.cameras.values():
            frame = camera.mailbox.peek()
            if frame is not None and camera.model is None:
                camera.mailbox.drop("paused")
            elif frame is not None and camera.is_held_back and camera.mailbox.overflow == "newest":
                camera.mailbox.drop("degraded")
            elif (
                frame is not None
                and camera.mailbox.overflow == "newest"
                and now_ns - frame.captured.monotonic_ns > camera.max_staleness_ns
            ):
                camera.note_wait(now_ns)
                camera.mailbox.drop("stale")
        for sensor in self._lines.sensors.values():
            window = sensor.mailbox.peek()
            if window is not None and now_ns - window.last.monotonic_ns > sensor.deadline_ns:
                sensor.mailbox.drop("stale")
