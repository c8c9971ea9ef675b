"""One setup measured in this process, so that its memory is its own.

    python -m agent.workbench.bench.child '{"path": "model.onnx", "setup": {…}, …}'

prints one JSON object. `rounds` starts it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.adapters import heap
from agent.adapters.onnx import load_model
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.system.memory import peak_memory_mb
from agent.domain.errors import Code, NanofleetError, RefusedError
from agent.domain.thresholds import Thresholds
from agent.ports import Look, Timed
from agent.workbench.bench.setup import Setup
from agent.workbench.pictures import read_one

STAGES: Final = ("feed", "run", "decode", "all")
SHARES: Final = {"p50": 50, "p95": 95, "p99": 99, "max": 100}

_WARM_RUNS: Final = 2
_LEAST_RUNS: Final = 3
"""A lane makes so many, however slow the model."""

Call = Callable[[], Timed]


@dataclass(frozen=True, slots=True)
class Measured:
    """`stage_ms[stage][p50 | p95 | p99 | max]` of one call, which takes a batch: STAGES, SHARES.

    `per_second` counts pictures (or windows) of all lanes. Memory in MB of 1024 KiB, at most.
    """

    runs: int
    per_second: float
    stage_ms: dict[str, dict[str, float]]
    peak_mb: float
    libraries_mb: float


def main(asked: dict[str, Any]) -> Measured:
    """In the child. Raises: NanofleetError (the model cannot be run so)."""
    import onnxruntime

    setup = Setup(**asked["setup"])
    heap.limit_heaps()
    cv2.setNumThreads(1)
    onnxruntime.get_available_providers()
    libraries_mb = peak_memory_mb()
    path = Path(asked["path"])
    shape: Any = asked["shape"] if isinstance(asked["shape"], str) else tuple(asked["shape"])
    model = load_model(
        name="bench",
        path=path,
        provider=asked["provider"],
        strict_provider=True,
        shape=shape,
        threads=setup.threads,
        max_batch=setup.batch,
        spinning=setup.spinning,
        arena=setup.arena,
    )
    call = _call(model, setup, Path(asked["image"]) if asked["image"] else None)
    times_ns, seconds = _run_lanes(call, setup.lanes, asked["seconds"])
    return Measured(
        runs=len(times_ns),
        per_second=len(times_ns) * setup.batch / seconds,
        stage_ms=_percentiles(times_ns),
        peak_mb=peak_memory_mb(),
        libraries_mb=libraries_mb,
    )


def _call(model: OnnxDetector | OnnxAnomaly, setup: Setup, image: Path | None) -> Call:
    """What a lane does over and over."""
    if isinstance(model, OnnxAnomaly):
        if setup.batch > 1:
            raise RefusedError("sensor windows come one at a time", code=Code.MODEL)
        window = model.typical_window()
        return lambda: model.score(window)[1]
    if model.max_batch < setup.batch:
        raise RefusedError(f"its batch is fixed at {model.max_batch}", code=Code.MODEL)
    looks = [Look(read_one(image) if image else _patches(), Thresholds())] * setup.batch
    return lambda: model.detect(looks)[1]


def _patches() -> NDArray[np.uint8]:
    """A picture of 1280x720 of soft patches of colour, always the same; costs no memory to speak of."""
    small = np.random.default_rng(1).integers(0, 256, (9, 16, 3), np.uint8)
    return np.asarray(cv2.resize(small, (1280, 720), interpolation=cv2.INTER_LINEAR), np.uint8)


def _run_lanes(call: Call, lanes: int, seconds: float) -> tuple[list[tuple[int, int, int]], float]:
    """Nanoseconds of feeding, running and decoding of each call, and how long all lanes were at it."""
    begun_ns: list[int] = []
    start = threading.Barrier(lanes, action=lambda: begun_ns.append(time.monotonic_ns()))

    def lane(_number: int) -> tuple[list[tuple[int, int, int]], int]:
        try:
            for _ in range(_WARM_RUNS):
                call()
        except NanofleetError:
            start.abort()
            raise
        start.wait()
        until_ns = begun_ns[0] + int(seconds * 1e9)
        taken: list[tuple[int, int, int]] = []
        now_ns = time.monotonic_ns()
        while now_ns < until_ns or len(taken) < _LEAST_RUNS:
            called_ns = now_ns
            timed = call()
            now_ns = time.monotonic_ns()
            taken.append(
                (
                    timed.preprocessed_ns - called_ns,
                    timed.inferred_ns - timed.preprocessed_ns,
                    now_ns - timed.inferred_ns,
                )
            )
        return taken, now_ns

    with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
        done = list(pool.map(lane, range(lanes)))
    ended_ns = max(ended for _, ended in done)
    return [each for taken, _ in done for each in taken], (ended_ns - begun_ns[0]) / 1e9


def _percentiles(times_ns: list[tuple[int, int, int]]) -> dict[str, dict[str, float]]:
    taken_ms = np.array(times_ns, np.float64) / 1e6
    columns = np.column_stack([taken_ms, taken_ms.sum(axis=1)])
    return {
        stage: {name: float(np.percentile(column, share)) for name, share in SHARES.items()}
        for stage, column in zip(STAGES, columns.T, strict=True)
    }


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(asdict(main(json.loads(sys.argv[1])))) + "\n")
    except NanofleetError as error:
        sys.stdout.write(json.dumps({"refused": error.message}) + "\n")
