"""A graph rewritten in a process of its own, which ends: the agent never imports the package onnx."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import agent
from agent.adapters import lifeline
from agent.domain.errors import Code, TransientError
from agent.ports import Graph

Rewrite = Literal["off", "exact", "cut"]

COMMAND: Final = (sys.executable, "-P", "-m", "agent.cli", "model", "prepare")
"""What is run, with the model and its options behind."""

_OWN_PREFIX: Final = "NANOFLEET_"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the child wrote to its `--out`; nothing, if `graph` is ``exported``. `reason`: why not more."""

    graph: Graph
    reason: str


class KilledError(TransientError):
    """A signal ended the child: memory was short, or somebody did it. That says nothing of the graph."""


def why_impossible() -> str | None:
    """Why no child need be started, in a few words."""
    if importlib.util.find_spec("onnx") is None:
        return "the package onnx is not installed (extra `models`)"
    return None


def prepare_in_child(
    model: Path, *, rewrite: Rewrite, out: Path, time_limit_s: float, command: Sequence[str] = COMMAND
) -> Outcome:
    """Blocks until the child has written `out`, at most for `time_limit_s`; then it is killed.

    Raises:
        KilledError: a signal ended it that was not ours.
        TransientError: it failed, took too long, or said nothing that is understood.
    """
    words = [*command, str(model), "--rewrite", rewrite, "--out", str(out), "--json"]
    try:
        # A session of its own, so that what it starts is killed with it.
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=lifeline.tied(_environment()),
            start_new_session=True,
        )
    except OSError as error:
        raise TransientError(f"its process did not start: {error.strerror}", code=Code.MODEL) from error
    try:
        said, complaint = child.communicate(timeout=time_limit_s)
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"it took longer than {time_limit_s:g} s", code=Code.TIMEOUT) from error
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode < 0:
        raise KilledError(f"its process was ended by {_signal(-child.returncode)}", code=Code.MODEL)
    if child.returncode != 0:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        raise TransientError(
            f"its process ended with {child.returncode}: {last or 'it said nothing'}", code=Code.MODEL
        )
    return _understood(said)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _understood(said: bytes) -> Outcome:
    try:
        answer = json.loads(said)
        graph, reasons = answer["graph"], answer["reasons"]
    except (ValueError, TypeError, KeyError) as error:
        raise TransientError(f"its process said {said[:80]!r}", code=Code.MODEL) from error
    if graph not in {"exported", "exact", "cut"}:
        raise TransientError(f"its process made {graph!r}", code=Code.MODEL)
    return Outcome(graph, "; ".join(map(str, reasons)))


def _environment() -> dict[str, str]:
    """Ours, but for settings, which may hold passwords; and the same code, wherever it lies."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OWN_PREFIX)}
    return kept | {"PYTHONPATH": str(Path(agent.__file__).parent.parent)}
