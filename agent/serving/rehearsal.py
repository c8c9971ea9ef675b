"""A model's whole way to admission, gone in a process of its own first where the provider keeps what it took.

CUDA's and ROCm's runtimes hold memory until their process ends: a model that is refused must not leave less
to the one that serves. The CPU gives it back: after four swaps of YOLOv8n 164 MB are resident, 158 before.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import agent
from agent.adapters import lifeline
from agent.contract.policy import ModelPolicy
from agent.domain.errors import Code, ConfigError, NanofleetError, RefusedError, TransientError
from agent.domain.ids import ModelName
from agent.serving.lane_plan import LanePlan
from agent.settings import Settings

RETURN_MEMORY: Final = frozenset({"cpu", "openvino"})
"""Providers that give back what a session took when it is closed."""

COMMAND: Final = (sys.executable, "-m", "agent.serving.rehearsal_child")
LIMIT_S: Final = 3700.0
"""A little less than a swap may take in all; building a TensorRT engine is part of it."""

KINDS: Final[dict[str, type[NanofleetError]]] = {
    kind.__name__: kind for kind in (ConfigError, RefusedError, TransientError)
}
_OWN_PREFIX: Final = "NANOFLEET_"


def rehearse(
    name: ModelName,
    stanza: ModelPolicy,
    settings: Settings,
    *,
    plan: LanePlan,
    may_fall_back: bool,
    command: Sequence[str] = COMMAND,
    limit_s: float = LIMIT_S,
) -> None:
    """Returns if the model is admitted there. Blocks.

    Raises:
        RefusedError, ConfigError, TransientError: what stopped it, as it would have here.
        TransientError: the process took longer than `limit_s`, or ended by itself (E_TIMEOUT, E_MODEL).
    """
    order = {
        "name": name,
        "stanza": stanza.model_dump(mode="json"),
        "media_root": str(settings.media_root),
        "state_dir": str(settings.state_dir),
        "plan": asdict(plan),
        "may_fall_back": may_fall_back,
    }
    answer = _ask(command, json.dumps(order).encode(), name=name, limit_s=limit_s)
    if answer.get("kind") is not None:
        kind = KINDS.get(answer["kind"], TransientError)
        raise kind(str(answer["message"]), code=Code(answer["code"]))


def _ask(command: Sequence[str], order: bytes, *, name: str, limit_s: float) -> dict[str, Any]:
    # Ours without our settings, which may hold passwords; and the same code, wherever it lies.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_OWN_PREFIX)}
    environment["PYTHONPATH"] = str(Path(agent.__file__).parent.parent)
    child = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=lifeline.tied(environment),
        start_new_session=True,
    )
    try:
        said, complaint = child.communicate(order, timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise TransientError(
            f"model {name} was not admitted within {limit_s:g} s, in a process of its own", code=Code.TIMEOUT
        ) from error
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError as error:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2][:300]
        raise TransientError(
            f"the process that was to try model {name} ended with {child.returncode}: "
            f"{last or 'it said nothing'}",
            code=Code.MODEL,
        ) from error
    return answer
