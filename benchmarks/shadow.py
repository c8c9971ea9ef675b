"""Measure what a shadow costs the model that it looks over the shoulder of.

One camera at its own rate through one worker, in blocks with the shadow and without it by turns: how long the
first model's frames take from capture to detections, and at which rate they come, with over without.
"""

import asyncio
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Final, Self

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from agent import __version__
from agent.adapters.cameras.conveyor import ConveyorScene
from agent.adapters.logs.configure import configure_logging
from agent.adapters.logs.scrub import Scrubber
from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.pacing import Pacer
from agent.adapters.system.clock import SystemClock
from agent.app import RESULTS_HELD
from agent.domain.ids import SourceName
from agent.domain.thresholds import Thresholds
from agent.pipeline.handover import Handover
from agent.pipeline.inference import InferenceWorker
from agent.pipeline.intake import FrameIntake
from agent.pipeline.results import FrameResult, Result
from agent.pipeline.scheduler import FrameJob, Scheduler
from agent.pipeline.shadow import ShadowPlan, Shadows
from agent.pipeline.supervise import Ticks, in_thread
from benchmarks.environment import OtherLoad, describe_machine
from benchmarks.lanes import Lanes, both_lanes, usable_cores
from benchmarks.plain import JsonFile, Quick, print_figures, write_figures
from benchmarks.subject import default_model

_SOURCE: Final = SourceName("camera")
_ROUNDS: Final = 12
_FRAMES: Final = 40
_WARM_UP: Final = 20
_PICTURES: Final = 8
_PATIENCE_S: Final = 30.0
_QUIET_CORES: Final = 0.1

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Block:
    """What the first model did: ms from capture to detections of each frame, and frames a second."""

    shadowed: bool
    took_ms: tuple[float, ...]
    rate_hz: float
    compared: int

    def percentile_ms(self, percent: int) -> float:
        return quantiles(self.took_ms, n=100, method="inclusive")[percent - 1]


def main(
    json_file: JsonFile = None,
    quick: Quick = False,
    rate: Annotated[
        float, typer.Option(min=0.1, help="Frames a second of the camera, each of which the shadow may see.")
    ] = 5.0,
    all_lanes: Annotated[
        bool, typer.Option(help="One-thread lanes on all cores instead of one wide lane.")
    ] = False,
    model: Annotated[Path | None, typer.Option(help="First and second model alike.", metavar="FILE")] = None,
) -> None:
    """Measure, print a table to stdout, and write the figures where --json says."""
    configure_logging(stream=sys.stderr, scrubber=Scrubber(), level="warning")
    environment = describe_machine()
    others = OtherLoad()
    rounds, frames = (2, 10) if quick else (_ROUNDS, _FRAMES)
    lanes = both_lanes(usable_cores())["all_lanes" if all_lanes else "one_lane"]
    path = model or default_model()
    blocks = asyncio.run(_measure(path, lanes, rate_hz=rate, rounds=rounds, frames=frames))
    figures = figures_of(blocks)
    print_figures(figures)
    environment |= {"model": path.name, "lanes": lanes.lanes, "threads": lanes.threads, "camera_hz": rate}
    environment |= {"rounds": rounds, "frames": frames, "quick": quick}
    environment["others_cores"] = others_cores = others.cores()
    if others_cores > _QUIET_CORES:
        typer.echo(f"other processes kept {others_cores} cores busy: these figures say little", err=True)
    write_figures(json_file, figures, environment)


def figures_of(blocks: Sequence[Block]) -> Figures:
    """Ratios within each pair of neighbouring blocks, then the median over pairs."""
    figures: Figures = {}
    pairs = [
        sorted(pair, key=lambda block: block.shadowed) for pair in zip(blocks[::2], blocks[1::2], strict=True)
    ]
    for percent in (50, 95):
        without, shadowed = (
            [block.percentile_ms(percent) for block in each] for each in zip(*pairs, strict=True)
        )
        figures[f"primary_p{percent}_ms"] = round(median(without), 3)
        figures[f"primary_p{percent}_ms_with_shadow"] = round(median(shadowed), 3)
        ratios = [after / before for before, after in zip(without, shadowed, strict=True)]
        figures[f"shadow_p{percent}_ratio"] = round(median(ratios), 4)
    rates = [shadowed.rate_hz / without.rate_hz for without, shadowed in pairs]
    figures["shadow_rate_ratio"] = round(median(rates), 4)
    figures["shadow_frames"] = sum(block.compared for block in blocks)
    figures["shadow_frames_share"] = round(
        figures["shadow_frames"] / sum(len(block.took_ms) for block in blocks if block.shadowed), 4
    )
    return figures


async def _measure(path: Path, lanes: Lanes, *, rate_hz: float, rounds: int, frames: int) -> list[Block]:
    cv2.setNumThreads(1)
    first, second = _detector(path, lanes.threads), _detector(path, 1, spinning=False)
    camera = _Camera(first, second, lanes=lanes.lanes, rate_hz=rate_hz)
    blocks: list[Block] = []
    async with camera:
        camera.shadowed = True
        await camera.block(_WARM_UP)
        for number in track(range(2 * rounds), "blocks", console=Console(stderr=True)):
            # on off, off on, …: a steady drift cancels out
            camera.shadowed = number % 4 in {0, 3}
            await camera.block(2)
            blocks.append(await camera.block(frames))
    return blocks


def _detector(path: Path, threads: int, *, spinning: bool = True) -> OnnxDetector:
    detector = load_model(name="subject", path=path, threads=threads, spinning=spinning)
    if not isinstance(detector, OnnxDetector):
        raise TypeError(f"{path.name} is no detector")
    return detector


class _Camera:
    """A camera, a worker and a shadow as the agent joins them; `shadowed` turns the shadow on and off."""

    def __init__(self, first: OnnxDetector, second: OnnxDetector, *, lanes: int, rate_hz: float) -> None:
        self.shadowed = False
        self._rate_hz = rate_hz
        self._pictures = _pictures()
        self._clock = SystemClock()
        metrics = PrometheusMetrics(version=__version__)
        self._scheduler = Scheduler(clock=self._clock)
        self._results: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=RESULTS_HELD)
        self._shadows = Shadows(
            plans={_SOURCE: ShadowPlan(model=second, fps=2 * rate_hz, memory_mb=0.0, primary_memory_mb=0.0)},
            scheduler=self._scheduler,
            clock=self._clock,
            metrics=metrics,
            on_condition=self._hear,
        )
        self._worker = InferenceWorker(
            scheduler=self._scheduler,
            results=self._results,
            lanes=lanes,
            clock=self._clock,
            metrics=metrics,
            ticks=Ticks(clock=self._clock),
            on_condition=self._hear,
            on_served=self._offer,
        )
        mailbox = self._scheduler.add_camera(
            _SOURCE, model=first, thresholds=Thresholds(), overflow="newest", max_staleness_s=_PATIENCE_S
        )
        self._intake = FrameIntake(source=_SOURCE, mailbox=mailbox, clock=self._clock)
        self._ended = asyncio.Event()
        self._stop = threading.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._worker.run(), name="inference"),
            asyncio.create_task(self._shadows.run(self._ended), name="shadow"),
            asyncio.create_task(in_thread("camera", self._film), name="camera"),
        ]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._stop.set()
        self._ended.set()
        self._scheduler.close()
        await asyncio.wait(self._tasks, timeout=_PATIENCE_S)

    async def block(self, frames: int) -> Block:
        """The next so many frames of the first model.

        Raises:
            RuntimeError: a model failed, or no result came for half a minute.
        """
        compared = self._shadows.reports[_SOURCE].frames
        results: list[FrameResult] = []
        while len(results) < frames:
            result = await self._results.get(timeout_s=_PATIENCE_S)
            if not isinstance(result, FrameResult):
                raise RuntimeError("the worker gives no results any more")
            results.append(result)
        took_ms = tuple((each.timing.finished_ns - each.captured.monotonic_ns) / 1e6 for each in results)
        lasted_s = (results[-1].timing.finished_ns - results[0].timing.finished_ns) / 1e9
        more = self._shadows.reports[_SOURCE].frames - compared
        return Block(self.shadowed, took_ms, (frames - 1) / lasted_s, more)

    def _film(self) -> None:
        pacer = Pacer()
        pacer.restart()
        number = 0
        while not self._stop.is_set() and pacer.wait_until(number / self._rate_hz):
            self._intake.accept(self._pictures[number % len(self._pictures)])
            number += 1

    def _offer(self, job: FrameJob, results: Sequence[Result]) -> None:
        if self.shadowed:
            self._shadows.offer(job, results)

    def _hear(self, who: str, status: str, code: str | None, message: str | None) -> None:
        if status in {"degraded", "failed"}:
            typer.echo(f"{who} is {status}, {code}: {message}", err=True)


def _pictures() -> list[NDArray[np.uint8]]:
    scene = ConveyorScene(width_px=1280, height_px=720, seed=1)
    return [scene.render(number * 10) for number in range(_PICTURES)]


if __name__ == "__main__":
    typer.run(main)
