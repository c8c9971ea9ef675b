"""The yardstick: ONNX Runtime's `session.run`, and nothing around it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Self

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


class Raw:
    """A session with nothing set but its threads, and one input that lies ready."""

    def __init__(
        self, session: onnxruntime.InferenceSession, *, feed: dict[str, NDArray[np.generic]], lanes: Lanes
    ) -> None:
        self._session = session
        self._feed = feed
        self._lanes = lanes

    @classmethod
    def open(cls, subject: Subject, picture: NDArray[np.uint8], lanes: Lanes) -> Self:
        """A session of its own: it shares no thread with what it is compared with."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = lanes.threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(subject.path), options, providers=["CPUExecutionProvider"])
        return cls(session, feed={subject.input_name: subject.feed(picture)}, lanes=lanes)

    def run(self, frames: int) -> RawRun:
        """`frames` runs by as many Python threads as there are lanes, after a warm-up."""
        warm_up = warm_up_of(frames, lanes=self._lanes.lanes)
        number = count()
        took_ns: list[int] = []
        finished_ns: list[int] = []

        def call() -> None:
            # `next` and `append` are each one step under the interpreter's lock.
            while next(number) < warm_up + frames:
                began_ns = time.monotonic_ns()
                self._session.run(None, self._feed)
                ended_ns = time.monotonic_ns()
                took_ns.append(ended_ns - began_ns)
                finished_ns.append(ended_ns)

        with ThreadPoolExecutor(self._lanes.lanes) as pool:
            for caller in [pool.submit(call) for _ in range(self._lanes.lanes)]:
                caller.result()
        return RawRun(rate_hz=rate_hz(finished_ns, warm_up=warm_up), run_ms=median(took_ns[warm_up:]) / 1e6)
