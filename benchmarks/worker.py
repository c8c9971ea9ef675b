"""The inference worker as the agent runs it, on frames that lie decoded in memory."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from agent import __version__
from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.system.clock import SystemClock
from agent.app import RESULTS_HELD
from agent.domain.ids import SourceName
from agent.domain.thresholds import Thresholds
from agent.pipeline.handover import Handover
from agent.pipeline.inference import InferenceWorker
from agent.pipeline.intake import FrameIntake
from agent.pipeline.results import FrameResult, Result
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.supervise import Ticks, in_thread
from agent.ports import DetectorModel
from benchmarks.lanes import Lanes, rate_hz, warm_up_of
from benchmarks.subject import Subject

_SOURCE: Final = SourceName("memory")
_POLL_S: Final = 1.0
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """Frames a second, and how long a frame took from its capture to its detections (the median)."""

    rate_hz: float
    frame_ms: float


class Worker:
    """The agent's worker on a model that stays loaded from block to block."""

    def __init__(
        self, detector: DetectorModel, *, pictures: Sequence[NDArray[np.uint8]], lanes: Lanes
    ) -> None:
        self._detector = detector
        self._pictures = pictures
        self._lanes = lanes

    @classmethod
    def open(cls, subject: Subject, pictures: Sequence[NDArray[np.uint8]], lanes: Lanes) -> Self:
        """Load the model as the agent loads it."""
        return cls(subject.load(threads=lanes.threads), pictures=pictures, lanes=lanes)

    def run(self, frames: int, *, one_by_one: bool = False) -> WorkerRun:
        """Letterbox, run and decode `frames` of the pictures, taken in turn, through a mailbox that waits.

        With `one_by_one` the next frame is captured when the result of the last has arrived: nothing queues,
        and `frame_ms` is what one frame takes. Else the mailbox is never empty, and `rate_hz` is what can be
        had.

        Raises:
            RuntimeError: the model failed, or no result came for half a minute.
        """
        lanes = self._lanes.lanes
        warm_up = warm_up_of(frames, lanes=lanes)
        results = asyncio.run(
            serve(self._detector, self._pictures, lanes=lanes, frames=warm_up + frames, one_by_one=one_by_one)
        )
        took_ns = [result.timing.finished_ns - result.captured.monotonic_ns for result in results[warm_up:]]
        finished_ns = [result.timing.finished_ns for result in results]
        return WorkerRun(rate_hz=rate_hz(finished_ns, warm_up=warm_up), frame_ms=median(took_ns) / 1e6)


async def serve(
    detector: DetectorModel,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    lanes: int,
    frames: int,
    one_by_one: bool,
) -> list[FrameResult]:
    """All results in order of arrival, by a worker that is joined as `agent/app.py` joins it.

    Raises:
        RuntimeError: the model failed, or no result came for half a minute.
    """
    clock = SystemClock()
    scheduler = Scheduler(clock=clock)
    handover: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=RESULTS_HELD)
    troubles: list[str] = []
    worker = InferenceWorker(
        scheduler=scheduler,
        results=handover,
        lanes=lanes,
        clock=clock,
        metrics=PrometheusMetrics(version=__version__),
        ticks=Ticks(clock=clock),
        on_condition=lambda who, status, _, message: troubles.append(f"{who} is {status}: {message}"),
    )
    mailbox = scheduler.add_camera(_SOURCE, model=detector, thresholds=Thresholds(), overflow="wait")
    intake = FrameIntake(source=_SOURCE, mailbox=mailbox, clock=clock)
    turn = threading.Semaphore(1 if one_by_one else frames)

    def offer() -> None:
        for number in range(frames):
            if not turn.acquire(timeout=_PATIENCE_S) or not intake.accept(pictures[number % len(pictures)]):
                return

    serving = asyncio.create_task(worker.run(), name="inference")
    offering = asyncio.create_task(in_thread("frames", offer), name="frames")
    try:
        return await _gather(handover, frames, turn=turn, serving=serving, troubles=troubles)
    finally:
        # Whatever happened, no lane and no frame may go on beside the next measurement.
        scheduler.close()
        await asyncio.wait([serving, offering], timeout=_PATIENCE_S)


async def _gather(
    handover: Handover[Result],
    frames: int,
    *,
    turn: threading.Semaphore,
    serving: "asyncio.Task[None]",
    troubles: Sequence[str],
) -> list[FrameResult]:
    """Each result gives `turn` to one more frame; `serving` ends before that only by an error."""
    results: list[FrameResult] = []
    silent_s = 0.0
    while len(results) < frames:
        result = await handover.get(timeout_s=_POLL_S)
        silent_s = 0.0 if result is not None else silent_s + _POLL_S
        if troubles:
            raise RuntimeError(troubles[0])
        if serving.done():
            serving.result()
        if silent_s > _PATIENCE_S:
            raise RuntimeError(f"the worker gave {len(results)} of {frames} results and then none")
        if isinstance(result, FrameResult):
            results.append(result)
            turn.release()
    return results
