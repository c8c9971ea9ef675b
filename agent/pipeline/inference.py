"""The one inference worker: lanes that take jobs from the scheduler, run models and hand results on."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from agent.domain.errors import TransientError
from agent.domain.latency import InferenceTiming
from agent.domain.reading import Score
from agent.pipeline.handover import Handover
from agent.pipeline.results import FrameResult, Result, WindowResult
from agent.pipeline.scheduler import FrameJob, Job, NoJob, Scheduler, WindowJob
from agent.pipeline.supervise import Ticks, start_thread
from agent.ports import Clock, Condition, Look, Metrics, Timed

log = structlog.get_logger(__name__)

_HANDOVER_PATIENCE_S = 1.0
_LOOK_S = 0.25

OnServed = Callable[[FrameJob, Sequence[Result]], None]
"""Hears in a lane of frames whose results, in their order, have been handed on; must be quick."""


class InferenceWorker:
    """Runs `lanes` threads over the scheduler until that is closed and empty."""

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        results: Handover[Result],
        lanes: int,
        clock: Clock,
        metrics: Metrics,
        ticks: Ticks,
        on_condition: Condition,
        on_served: OnServed | None = None,
    ) -> None:
        if lanes < 1:
            raise ValueError(f"the worker needs at least one lane, not {lanes}")
        self._scheduler = scheduler
        self._results = results
        self._lanes = lanes
        self._clock = clock
        self._metrics = metrics
        self._ticks = ticks
        self._on_condition = on_condition
        self._on_served = on_served
        self._loop = asyncio.get_running_loop()
        self._failing: set[str] = set()
        self._is_over = False

    def resize(self, lanes: int) -> None:
        """So many lanes within a second; one that is too many ends what it does."""
        if lanes < 1:
            raise ValueError(f"the worker needs at least one lane, not {lanes}")
        self._lanes = lanes

    async def run(self) -> None:
        """Returns when every lane has ended in order; a lane's unforeseen error is raised at once."""
        lanes: dict[int, asyncio.Future[None]] = {}
        while True:
            for number in range(self._lanes):
                if number not in lanes and not self._is_over:
                    thread = start_thread(f"lane[{number}]", self._lane_of(number), yields=True)
                    lanes[number] = asyncio.wrap_future(thread)
            if not lanes:
                return
            done, _ = await asyncio.wait(lanes.values(), timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            for number in [number for number, lane in lanes.items() if lane in done]:
                lanes.pop(number).result()

    def _lane_of(self, number: int) -> Callable[[], None]:
        stage = f"lane-{number}"

        def lane() -> None:
            self._ticks.tick(stage)
            while number < self._lanes:
                job = self._scheduler.next_job(number)
                if job is NoJob.OVER:
                    self._is_over = True
                    break
                self._ticks.tick(stage)
                if not isinstance(job, NoJob):
                    self._serve(job, number, stage)
            self._ticks.retire(stage)

        return lane

    def _serve(self, job: Job, lane: int, stage: str) -> None:
        model = job.model.facts.name
        try:
            results = self._detect(job, lane) if isinstance(job, FrameJob) else [self._score(job)]
        except TransientError as error:
            self._scheduler.spoil(job)
            self._tell_condition(model, error)
            return
        if model in self._failing:
            self._tell_condition(model, None)
        for result in results:
            while not self._results.put(result, timeout_s=_HANDOVER_PATIENCE_S):
                self._ticks.tick(stage)  # waiting for the disk is no standstill of ours
                if self._results.closed:
                    log.error("inference.result_unwanted", source=result.source)
                    break
        if self._on_served is not None and isinstance(job, FrameJob):
            self._on_served(job, results)

    def _detect(self, job: FrameJob, lane: int) -> list[Result]:
        looks = [
            Look(frame.pixels, thresholds, job.scale)
            for frame, thresholds in zip(job.frames, job.thresholds, strict=True)
        ]
        found, timed = job.model.detect(looks)
        timing = self._timing(job, timed)
        for frame in job.frames:
            self._observe("queue", job.taken_ns - frame.captured.monotonic_ns)
        return [
            FrameResult(
                source=frame.source,
                number=frame.number,
                width_px=frame.width_px,
                height_px=frame.height_px,
                captured=frame.captured,
                detections=detections,
                model=job.model.facts,
                lane=lane,
                timing=timing,
                config_version=job.config_version,
            )
            for frame, detections in zip(job.frames, found, strict=True)
        ]

    def _score(self, job: WindowJob) -> WindowResult:
        value, timed = job.model.score(job.window.values)
        self._observe("queue", job.taken_ns - job.window.last.monotonic_ns)
        score = Score(
            model=job.model.facts.name,
            first=job.window.first,
            last=job.window.last,
            score=value,
            threshold=job.model.threshold,
        )
        return WindowResult(job.window.source, score, self._timing(job, timed))

    def _timing(self, job: Job, timed: Timed) -> InferenceTiming:
        finished_ns = self._clock.now().monotonic_ns
        self._observe("preprocess", timed.preprocessed_ns - job.taken_ns)
        self._observe("inference", timed.inferred_ns - timed.preprocessed_ns)
        self._observe("postprocess", finished_ns - timed.inferred_ns)
        return InferenceTiming(job.taken_ns, timed.preprocessed_ns, timed.inferred_ns, finished_ns)

    def _observe(self, stage: str, duration_ns: int) -> None:
        self._metrics.observe("stage_seconds", duration_ns / 1e9, stage=stage)

    def _tell_condition(self, model: str, error: TransientError | None) -> None:
        """Called in a lane; told on the loop."""
        if error is None:
            self._failing.discard(model)
        elif model not in self._failing:
            self._failing.add(model)
            log.error("inference.model_failed", model=model, code=error.code, message=error.message)
        who = f"inference-{model}"
        if error is None:
            self._loop.call_soon_threadsafe(self._on_condition, who, "ok", None, None)
        else:
            self._loop.call_soon_threadsafe(self._on_condition, who, "failed", error.code, error.message)
