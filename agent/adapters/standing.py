"""The events that are on, in one file that is replaced as a whole."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from agent.adapters.durable import replace_file
from agent.domain.errors import Code, TransientError
from agent.ports import Standing, StandingEvent

log = structlog.get_logger(__name__)

STANDING_FILE: Final = "events.json"
_MOST_BYTES: Final = 4 << 20


class FileStandingStore:
    """Fulfils `ports.StandingStore` with a file in `state_dir`: written beside the old one, then renamed."""

    def __init__(self, *, state_dir: Path) -> None:
        self.file = state_dir / STANDING_FILE

    def load(self) -> Standing:
        try:
            with self.file.open("rb") as file:
                return _decoded(json.loads(file.read(_MOST_BYTES)))
        except FileNotFoundError:
            return Standing()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # Overwritten at the next change: it holds nothing that a person could not see elsewhere.
            log.warning("rules.standing_unreadable", file=str(self.file), error=repr(error))
            return Standing()

    def keep(self, standing: Standing) -> None:
        text = json.dumps({"v": 1, **asdict(standing)}, ensure_ascii=False)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.file, text.encode())
        except OSError as error:
            raise TransientError(
                f"{self.file} cannot be written: {error.strerror}", code=Code.DISK, path=str(self.file)
            ) from error


def _decoded(state: dict[str, Any]) -> Standing:
    if state["v"] != 1:
        raise ValueError(f"version {state['v']!r} of the file is not known")
    return Standing(
        events={str(rule): StandingEvent(**event) for rule, event in state["events"].items()},
        alarms=tuple(map(str, state["alarms"])),
    )
