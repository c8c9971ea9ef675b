"""The process that builds one TensorRT engine: takes its order on standard input, leaves files, ends.

`python -m agent.adapters.onnx.build_engine`, started by `EngineUpgrade`.
"""

import ctypes
import json
import signal
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from agent.adapters.onnx.accelerator import Accelerator, EngineOptions
from agent.adapters.onnx.session import SessionSettings, open_session
from agent.domain.errors import NanofleetError

_PR_SET_PDEATHSIG: Final = 1
"""Source: prctl(2)."""


def main() -> int:
    """Open the model with TensorRT and run it once; both may build. The exit code is 0 when it ran there."""
    _end_with_parent()
    order = json.load(sys.stdin)
    try:
        session = open_session(Path(order["path"]), sha256=None, settings=_settings(order["settings"]))
        if session.provider_used != "tensorrt":
            sys.stderr.write(f"{session.provider_used} runs it instead of tensorrt\n")
            return 1
        first, *beside = (
            np.ones(order["shapes"][spec.name], np.dtype(spec.dtype)) for spec in session.inputs
        )
        names = [spec.name for spec in session.inputs[1:]]
        session.run(first, beside=dict(zip(names, beside, strict=True)))
    except NanofleetError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


def _settings(said: dict[str, Any]) -> SessionSettings:
    engine = said.pop("engine")
    folder, timings = Path(engine.pop("folder")), Path(engine.pop("timings"))
    accelerator = Accelerator(**said.pop("accelerator"))
    return SessionSettings(**said, accelerator=accelerator, engine=EngineOptions(folder, timings, **engine))


def _end_with_parent() -> None:
    """An agent that is killed leaves no build behind that holds its GPU for minutes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
