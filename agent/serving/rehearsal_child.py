"""The process that tries one model: takes its order on standard input, answers in a line of JSON, ends.

`python -m agent.serving.rehearsal_child`, started by `agent.serving.rehearsal`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from agent.adapters import lifeline
from agent.contract.policy import ModelPolicy
from agent.domain.errors import NanofleetError
from agent.domain.ids import ModelName
from agent.serving.lane_plan import LanePlan
from agent.serving.model_loading import load_and_admit
from agent.serving.rehearsal import KINDS
from agent.settings import Settings


def main() -> int:
    """Load and admit, and say what came of it."""
    lifeline.end_with_parent()  # it would hold the GPU
    # What libraries and our own log print is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order = json.load(sys.stdin)
    json.dump(_tried(order), answers)
    answers.close()
    return 0


def _tried(order: dict[str, Any]) -> dict[str, Any]:
    # Loading looks at these folders alone, and the rest is not for a child to know.
    settings = Settings.model_construct(  # type: ignore[call-arg]
        media_root=Path(order["media_root"]), state_dir=Path(order["state_dir"])
    )
    try:
        admitted = load_and_admit(
            ModelName(order["name"]),
            ModelPolicy.model_validate(order["stanza"]),
            settings,
            plan=LanePlan(**order["plan"]),
            may_fall_back=order["may_fall_back"],
        )
    except NanofleetError as error:
        kind = next(kind for kind in KINDS.values() if isinstance(error, kind))
        return {"kind": kind.__name__, "code": error.code, "message": error.message}
    return {"kind": None, "passed": admitted.passed}


if __name__ == "__main__":
    sys.exit(main())
