"""Whether a source that was opened otherwise does its work: frames come, and they are inferred."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agent.contract import sources
from agent.domain.errors import Code
from agent.domain.ids import SourceName
from agent.pipeline.mailbox import MailboxStatistics
from agent.ports import Status

_ENOUGH: Final = 2
"""Frames: the second one shows that the first was not all."""
_SLOW_S: Final = 5.0
"""A source that is meant to be slower than this has shown its rate with its first frame."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`code` and `message` say what was wrong."""

    passed: bool
    code: Code | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What a source last said of itself."""

    status: Status
    code: str | None
    message: str | None


class Probe:
    """Looks on; asks nothing of a source. `told` is its condition, `flow` what its mailbox counted.

    `is_running`: its capture goes on.
    """

    def __init__(
        self,
        *,
        told: Callable[[SourceName], Told | None],
        flow: Callable[[], Mapping[SourceName, MailboxStatistics]],
        is_running: Callable[[SourceName], bool],
        forget: Callable[[SourceName], None],
    ) -> None:
        self._told = told
        self._flow = flow
        self._is_running = is_running
        self._forget = forget

    def is_camera(self, stanza: sources.Camera | sources.Sensor) -> bool:
        return isinstance(stanza, sources.CameraPart)

    def is_well(self, name: SourceName) -> bool:
        """Whether it works at the moment."""
        told = self._told(name)
        return told is not None and told.status == "ok"

    def begin(self, name: SourceName) -> None:
        """It is opened anew: what it said before does not count."""
        self._forget(name)

    def verdict(
        self, name: SourceName, stanza: sources.Camera | sources.Sensor, *, is_over: bool
    ) -> Verdict | None:
        """None: not known yet, and there is time."""
        told = self._told(name)
        if told is not None and told.status == "failed":
            return Verdict(False, _code(told), told.message or "it failed")
        if told is not None and told.status == "ok" and self._has_shown(name, stanza):
            return Verdict(True)
        if not is_over:
            return None
        if told is None or told.status != "ok":
            why = (told and told.message) or "it did not answer"
            return Verdict(False, _code(told) or Code.TIMEOUT, why)
        if self._offered(name) < self._wanted(stanza):
            return Verdict(False, Code.PROBE, "after its first frame there came no other")
        return Verdict(False, Code.PROBE, "its frames are not inferred")

    def _has_shown(self, name: SourceName, stanza: sources.Camera | sources.Sensor) -> bool:
        if not isinstance(stanza, sources.CameraPart) or not self._is_running(name):
            return True  # a sensor has given readings; what ended by itself has given all that it has
        flow = self._flow().get(name)
        if flow is None or flow.offered < self._wanted(stanza):
            return False
        return stanza.model is None or flow.taken > 0

    def _offered(self, name: SourceName) -> int:
        flow = self._flow().get(name)
        return 0 if flow is None else flow.offered

    def _wanted(self, stanza: sources.Camera | sources.Sensor) -> int:
        is_slow = isinstance(stanza, sources.ImagesCamera) and stanza.every_s > _SLOW_S
        return 1 if is_slow else _ENOUGH


def _code(told: Told | None) -> Code | None:
    return None if told is None or told.code is None else Code(told.code)
