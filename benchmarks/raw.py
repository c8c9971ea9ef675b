"""The yardstick: ONNX Runtime's `session.run`, and nothing around it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from statistics import median

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.lanes import Lanes, rate_hz, warm_up_of
from benchmarks.subject import Subject


@dataclass(frozen=True, slots=True)
class RawRun:
    """Runs a second by all callers together, and how long one run took (the median)."""

    rate_hz: float
    run_ms: float


def run_raw(subject: Subject, feed: NDArray[np.float32], lanes: Lanes, *, frames: int) -> RawRun:
    """`frames` runs on one input, by `lanes.lanes` Python threads which share one session.

    The session is made here and goes afterwards, so that its threads spin beside nobody else's block.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = lanes.threads
    session = onnxruntime.InferenceSession(str(subject.path), options, providers=["CPUExecutionProvider"])
    warm_up = warm_up_of(frames, lanes=lanes.lanes)
    number = count()
    took_ns: list[int] = []
    finished_ns: list[int] = []

    def call() -> None:
        # `next` and `append` are each one step under the interpreter's lock.
        while next(number) < warm_up + frames:
            began_ns = time.monotonic_ns()
            session.run(None, {subject.input_name: feed})
            ended_ns = time.monotonic_ns()
            took_ns.append(ended_ns - began_ns)
            finished_ns.append(ended_ns)

    with ThreadPoolExecutor(lanes.lanes) as pool:
        for caller in [pool.submit(call) for _ in range(lanes.lanes)]:
            caller.result()
    return RawRun(rate_hz=rate_hz(finished_ns, warm_up=warm_up), run_ms=median(took_ns[warm_up:]) / 1e6)
