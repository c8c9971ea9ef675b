"""One model tried in a process of its own, so that its memory is measured and not that of whoever asks.

    python -m agent.workbench.trial '{"path": "model.onnx", …}'

prints one JSON object. The parent calls `try_out`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.system.memory import peak_memory_mb
from agent.domain.errors import Code, RefusedError
from agent.domain.thresholds import Thresholds
from agent.ports import Look

if TYPE_CHECKING:
    from agent.adapters.onnx.input_shape import Shape

_RUNS: Final = 5
_TIMEOUT_S: Final = 300.0
_FRAME_PX: Final = (720, 1280)


@dataclass(frozen=True, slots=True)
class Trial:
    """`median_ms` and `fastest_ms` of `runs` runs after one for warming, feeding and decoding left out.

    `libraries_mb`: peak resident memory before the model was opened; `peak_mb` at the end. Both are of
    1024 KiB, 0 where the kernel does not tell.
    """

    threads: int
    runs: int
    median_ms: float
    fastest_ms: float
    libraries_mb: float
    peak_mb: float


def try_out(path: Path, *, shape: Shape, provider: str, threads: int) -> Trial:
    """Run the model on a grey picture of 1280x720, or a window of zeros, in a child process.

    Raises:
        RefusedError: the child failed, or took longer than five minutes.
    """
    asked = json.dumps({"path": str(path), "shape": shape, "provider": provider, "threads": threads})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "agent.workbench.trial", asked],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RefusedError(
            f"{path.name} did not run {_RUNS} times within {_TIMEOUT_S:.0f} s", code=Code.TIMEOUT
        ) from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise RefusedError(
            f"{path.name} did not survive a trial run (exit {done.returncode}): "
            f"{said[-1] if said else 'it said nothing'}",
            code=Code.MODEL,
        )
    return Trial(**json.loads(done.stdout.splitlines()[-1]))


def main(asked: dict[str, Any]) -> Trial:
    """In the child."""
    import onnxruntime

    cv2.setNumThreads(1)
    onnxruntime.get_available_providers()
    libraries_mb = peak_memory_mb()
    shape: Any = asked["shape"] if isinstance(asked["shape"], str) else tuple(asked["shape"])
    model = load_model(
        name="trial",
        path=Path(asked["path"]),
        provider=asked["provider"],
        shape=shape,
        threads=asked["threads"],
    )
    run_ms = _detecting(model) if isinstance(model, OnnxDetector) else _scoring(model)
    took_ms = [run_ms() for _ in range(1 + _RUNS)]
    return Trial(
        threads=asked["threads"],
        runs=_RUNS,
        median_ms=float(np.median(took_ms[1:])),
        fastest_ms=min(took_ms[1:]),
        libraries_mb=libraries_mb,
        peak_mb=peak_memory_mb(),
    )


def _detecting(model: OnnxDetector) -> Callable[[], float]:
    look = Look(np.full((*_FRAME_PX, 3), 114, np.uint8), Thresholds())

    def run_ms() -> float:
        _, timed = model.detect([look])
        return (timed.inferred_ns - timed.preprocessed_ns) / 1e6

    return run_ms


def _scoring(model: Any) -> Callable[[], float]:
    window = np.zeros((model.window, len(model.channels)), np.float32)

    def run_ms() -> float:
        _, timed = model.score(window)
        return float(timed.inferred_ns - timed.preprocessed_ns) / 1e6

    return run_ms


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(main(json.loads(sys.argv[1])))) + "\n")
