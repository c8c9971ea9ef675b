"""A second model on spare time: it looks at what the first has just served, and the two are compared."""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Final

import structlog

from agent.contract import payloads
from agent.domain.detections import Detections
from agent.domain.errors import Code, TransientError
from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.domain.thresholds import Thresholds
from agent.pipeline.results import FrameResult, Result
from agent.pipeline.scheduler import FrameJob, Scheduler
from agent.pipeline.supervise import start_thread
from agent.pipeline.waiting import wait_for_event
from agent.ports import Clock, Condition, DetectorModel, Look, Metrics
from agent.vision.concordance import Concordance, compare

log = structlog.get_logger(__name__)

MOST_FAILURES: Final = 3
"""In a row: then it is switched off until the agent starts anew."""

_NICENESS: Final = 19
"""Should a frame come unforeseen, the kernel gives the core to the lane, which is far less nice."""
_MARGIN: Final = 1.25
_MARGIN_S: Final = 0.002
_FIRST_GUESS: Final = 3.0
"""Times the first model's own time: a shadow runs with one thread."""
_RUNS_REMEMBERED: Final = 8
_FORGOTTEN_S: Final = 10.0
"""Runs that were slow by accident would else keep their shadow from ever running again."""
_TIMES_KEPT: Final = 256
_KEPT_WAITING: Final = 1.5
_KEPT_WAITING_S: Final = 0.005
"""A run on the CPU that lasts so much longer than it computes was kept waiting by other work: the machine has
no time to spare, and the next run is put off for `_FORGOTTEN_S`."""
_PATIENCE_S: Final = 0.25
_STOP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ShadowPlan:
    """Which model looks over a camera's shoulder, at most how often, and what each of the two takes.

    Its session has one thread, so that the priority of the thread that calls it is that of all its work.
    """

    model: DetectorModel
    fps: float
    memory_mb: float
    primary_memory_mb: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    frame: Frame
    thresholds: Thresholds
    result: FrameResult


@dataclass(slots=True)
class _Watch:
    """One camera's shadow, and what has come of it. Under the lock of `Shadows`."""

    plan: ShadowPlan
    candidate: _Candidate | None = None
    due_ns: int = 0
    ran_ns: int = 0
    off: bool = False
    failures_in_a_row: int = 0
    failed: int = 0
    missed: int = 0
    agreed: Concordance = field(default_factory=Concordance)
    lasted_s: deque[float] = field(default_factory=lambda: deque(maxlen=_RUNS_REMEMBERED))
    shadow_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))
    primary_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))

    def need_s(self, now_ns: int) -> float:
        """How much time a run needs, cautiously."""
        if not self.lasted_s:
            timing = self.candidate.result.timing if self.candidate else None
            guess_ns = timing.inferred_ns - timing.taken_ns if timing else 0
            return _FIRST_GUESS * guess_ns / 1e9 + _MARGIN_S
        if len(self.lasted_s) > 1 and now_ns - self.ran_ns > _FORGOTTEN_S * 1e9:
            self.lasted_s.remove(max(self.lasted_s))
            self.ran_ns = now_ns
        # One in four may last longer: other processes of the machine go before a thread as nice as this one.
        likely_s = sorted(self.lasted_s)[-1 - len(self.lasted_s) // 4]
        return _MARGIN * likely_s + _MARGIN_S


class Shadows:
    """A thread of the lowest priority that runs second models while no camera and no sensor wants a lane.

    What it does touches nothing of the first models: their messages are on their way before it looks, it
    holds one frame a camera, its failures are counted and told, and after three in a row it is switched off.
    """

    def __init__(
        self,
        *,
        plans: Mapping[SourceName, ShadowPlan],
        scheduler: Scheduler,
        clock: Clock,
        metrics: Metrics,
        on_condition: Condition,
    ) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._metrics = metrics
        self._on_condition = on_condition
        self._changed = threading.Condition()
        self._watches: dict[SourceName, _Watch] = {}
        self._has_some = threading.Event()
        self._turn = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.adopt(plans)

    def offer(self, job: FrameJob, results: Sequence[Result]) -> None:
        """Called by a lane when it has handed on what it found: the worker's `OnServed`."""
        for frame, thresholds, result in zip(job.frames, job.thresholds, results, strict=True):
            watch = self._watches.get(frame.source)
            if watch is None or watch.off or not isinstance(result, FrameResult):
                continue
            now_ns = self._clock.now().monotonic_ns
            with self._changed:
                if now_ns < watch.due_ns:
                    continue
                watch.due_ns = now_ns + int(1e9 / watch.plan.fps)
                if watch.candidate is not None:
                    watch.missed += 1
                    self._metrics.count("shadow_frames_total", source=frame.source, outcome="missed")
                watch.candidate = _Candidate(frame, thresholds, result)
                self._changed.notify()

    def adopt(self, plans: Mapping[SourceName, ShadowPlan]) -> None:
        """Look over these shoulders from now on; what came of a pair that stays is kept."""
        with self._changed:
            before, self._watches = self._watches, {}
            for name, plan in plans.items():
                known = before.get(name)
                stays = known is not None and known.plan == plan
                self._watches[name] = known if known is not None and stays else _Watch(plan)
            self._changed.notify_all()
            self._has_some.set() if plans else self._has_some.clear()

    async def run(self, stop: asyncio.Event) -> None:
        """Look on until `stop`. An error that nobody foresaw ends the shadows, and nothing else."""
        self._loop = asyncio.get_running_loop()
        while not (self._has_some.is_set() or stop.is_set()):  # most nodes never need the thread
            await wait_for_event(stop, timeout_s=_STOP_S)
        if stop.is_set():
            return
        ended = asyncio.wrap_future(start_thread("shadow", self._work))
        while not (stop.is_set() or ended.done()):
            await wait_for_event(stop, timeout_s=_STOP_S)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        await asyncio.wait([ended], timeout=_STOP_S)  # a run in its midst is left to itself
        error = ended.exception() if ended.done() else None
        if error is not None:
            log.error("shadow.crashed", exc_info=error)
            for name in self._watches:
                self._on_condition(f"shadow-{name}", "degraded", Code.INTERNAL, "the shadows have crashed")

    @property
    def reports(self) -> dict[str, payloads.Shadow]:
        """What has come of each so far, for the heartbeat."""
        with self._changed:
            return {name: _report(watch) for name, watch in self._watches.items()}

    def _work(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._closed:
            found = self._next()
            if found is None:
                continue
            name, watch, need_s = found
            if self._scheduler.wait_for_spare(need_s, timeout_s=_PATIENCE_S):
                self._look(name, watch)

    def _next(self) -> tuple[SourceName, _Watch, float] | None:
        """The next camera in turn that has a frame to look at."""
        with self._changed:
            waiting = [name for name, watch in self._watches.items() if watch.candidate is not None]
            if not waiting:
                self._changed.wait(timeout=_STOP_S)
                return None
            self._turn += 1
            name = waiting[self._turn % len(waiting)]
            watch = self._watches[name]
            return name, watch, watch.need_s(self._clock.now().monotonic_ns)

    def _look(self, name: SourceName, watch: _Watch) -> None:
        with self._changed:
            candidate, watch.candidate = watch.candidate, None
        if candidate is None or self._closed:
            return
        began_ns = self._clock.now().monotonic_ns
        computing_s = time.thread_time()
        try:
            (found,), timed = watch.plan.model.detect([Look(candidate.frame.pixels, candidate.thresholds)])
        except TransientError as error:
            self._fail(name, watch, error)
            return
        ended_ns = self._clock.now().monotonic_ns
        computing_s = time.thread_time() - computing_s
        agreed = self._compare(watch, candidate.result, found)
        timing = candidate.result.timing
        with self._changed:
            watch.failures_in_a_row = 0
            watch.ran_ns = ended_ns
            lasted_s = (ended_ns - began_ns) / 1e9
            watch.lasted_s.append(lasted_s)
            on_cpu = watch.plan.model.facts.provider_used == "cpu"
            if on_cpu and lasted_s > _KEPT_WAITING * computing_s + _KEPT_WAITING_S:
                watch.due_ns = ended_ns + int(_FORGOTTEN_S * 1e9)
            watch.agreed += agreed
            watch.shadow_ms.append((timed.inferred_ns - began_ns) / 1e6)
            watch.primary_ms.append((timing.inferred_ns - timing.taken_ns) / 1e6)
            share = watch.agreed.agreement
        self._metrics.count("shadow_frames_total", source=name, outcome="compared")
        self._metrics.gauge("shadow_agreement", share, source=name)
        self._metrics.observe("stage_seconds", (timed.inferred_ns - began_ns) / 1e9, stage="shadow")

    def _compare(self, watch: _Watch, result: FrameResult, found: Detections) -> Concordance:
        return compare(
            result.detections,
            found,
            first_names=result.model.class_names,
            second_names=watch.plan.model.facts.class_names,
        )

    def _fail(self, name: SourceName, watch: _Watch, error: TransientError) -> None:
        with self._changed:
            watch.failed += 1
            watch.failures_in_a_row += 1
            watch.off = watch.failures_in_a_row >= MOST_FAILURES
        self._metrics.count("shadow_frames_total", source=name, outcome="failed")
        model = watch.plan.model.facts.name
        if watch.failures_in_a_row == 1:
            log.warning(
                "shadow.model_failed", source=name, model=model, code=error.code, message=error.message
            )
        if watch.off:
            log.error("shadow.switched_off", source=name, model=model, failures=watch.failures_in_a_row)
            message = f"{model} failed {MOST_FAILURES} times in a row and looks no more: {error.message}"
            self._tell(lambda: self._on_condition(f"shadow-{name}", "degraded", error.code, message))

    def _tell(self, call: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)


def _report(watch: _Watch) -> payloads.Shadow:
    agreed = watch.agreed
    facts = watch.plan.model.facts
    return payloads.Shadow(
        model=facts.name,
        version=facts.version,
        status="off" if watch.off else "on",
        frames=agreed.frames,
        missed=watch.missed,
        failed=watch.failed,
        agreement=_rounded(agreed.agreement if agreed.frames else None),
        recall=_rounded(agreed.found_of_first if agreed.frames else None),
        precision=_rounded(agreed.confirmed_of_second if agreed.frames else None),
        iou=_rounded(agreed.mean_iou),
        classes_differ=agreed.classes_differ,
        confidence_difference=_rounded(agreed.mean_confidence_difference),
        latency_ms=_percentiles(watch.shadow_ms),
        primary_latency_ms=_percentiles(watch.primary_ms),
        memory_mb=round(watch.plan.memory_mb, 1),
        primary_memory_mb=round(watch.plan.primary_memory_mb, 1),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _percentiles(times_ms: Sequence[float]) -> payloads.ShadowLatency | None:
    """Of the last runs; None before there are two."""
    if len(times_ms) < 2:
        return None
    cuts = quantiles(times_ms, n=20, method="inclusive")
    return payloads.ShadowLatency(p50=round(cuts[9], 2), p95=round(cuts[18], 2))
