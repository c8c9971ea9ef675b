"""The policy in force and the journal of attempts, in one file that is replaced as a whole."""

import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from agent.adapters.durable import replace_file
from agent.domain.errors import Code, TransientError
from agent.ports import KeptPolicy, Trial, Unfinished

log = structlog.get_logger(__name__)

POLICY_FILE: Final = "policy-state.json"
_MOST_BYTES: Final = 4 << 20


class FilePolicyStore:
    """Fulfils `ports.PolicyStore` with a file in `state_dir`.

    A new state is written beside the old one, synced, and renamed over it; then the folder is synced. So a
    process that is killed, or a power cut, leaves the old one or the new one.
    """

    def __init__(self, *, state_dir: Path) -> None:
        self.file = state_dir / POLICY_FILE
        self._writing = threading.Lock()

    def load(self) -> KeptPolicy:
        try:
            with self.file.open("rb") as file:
                return _decoded(json.loads(file.read(_MOST_BYTES)))
        except FileNotFoundError:
            return KeptPolicy()
        except OSError as error:
            log.warning("policy.state_unreadable", file=str(self.file), error=str(error))
            return KeptPolicy()
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            aside = self.file.with_name(f"{self.file.name}.damaged")
            log.warning("policy.state_damaged", file=str(self.file), moved_to=str(aside), error=repr(error))
            self._move(aside)
            return KeptPolicy()

    def peek(self) -> KeptPolicy:
        """As `load`, for who only looks: moves nothing.

        Raises:
            TransientError: it cannot be read, or is damaged.
        """
        try:
            return _decoded(json.loads(self.file.read_bytes()))
        except FileNotFoundError:
            return KeptPolicy()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TransientError(
                f"{self.file} cannot be read: {error}", code=Code.FILE, path=str(self.file)
            ) from error

    def keep(self, kept: KeptPolicy) -> None:
        text = json.dumps({"v": 1, **asdict(kept)})
        try:
            with self._writing:  # a thread whose attempt was broken off may write on
                self.file.parent.mkdir(parents=True, exist_ok=True)
                replace_file(self.file, text.encode("ascii"))
        except OSError as error:
            raise TransientError(
                f"{self.file} cannot be written: {error.strerror}", code=Code.SPACE, path=str(self.file)
            ) from error

    def _move(self, aside: Path) -> None:
        try:
            self.file.replace(aside)
        except OSError as error:
            log.warning("policy.state_not_moved", file=str(self.file), error=str(error))


def _decoded(state: dict[str, Any]) -> KeptPolicy:
    if state["v"] != 1:
        raise ValueError(f"version {state['v']!r} of the file is not known")
    unfinished, trial = state["unfinished"], state.get("trial")
    return KeptPolicy(
        document=state["document"],
        origin=state["origin"],
        floor=int(state["floor"]),
        desired_sha256=state["desired_sha256"],
        unfinished=None if unfinished is None else Unfinished(**unfinished),
        trial=None if trial is None else Trial(**trial),
        attempts=tuple(state["attempts"]),
        sources=dict(state["sources"]),
    )
