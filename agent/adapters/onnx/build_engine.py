"""The process that builds one TensorRT engine: takes its order on standard input, leaves files, ends.

`python -m agent.adapters.onnx.build_engine`, started by `EngineUpgrade`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agent.adapters import lifeline
from agent.adapters.onnx.accelerator import Accelerator, EngineOptions
from agent.adapters.onnx.session import SessionSettings, open_session
from agent.domain.errors import NanofleetError


def main() -> int:
    """Open the model with TensorRT and run it once; both may build. The exit code is 0 when it ran there."""
    lifeline.end_with_parent()  # it would hold the GPU for minutes
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


if __name__ == "__main__":
    sys.exit(main())
