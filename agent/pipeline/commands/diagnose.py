"""`diagnose`: what somebody far away needs to know first, in one bounded bundle."""

import json
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from agent.contract import payloads
from agent.contract.policy import Policy
from agent.domain.errors import TransientError
from agent.pipeline.supervise import in_thread

MOST_BYTES: Final = 32_768
MOST_WARNINGS: Final = 50
_ROOM_FOR_RESULT: Final = 1_024
_SPARED: Final = frozenset({"node"})
"""Never cut: a few hundred bytes, for which there is room in the smallest message."""

Section = Callable[[], object]
"""One part of the bundle, as JSON knows it."""


class Warnings:
    """The last warnings, and worse, of the log. Used on the event loop."""

    def __init__(self) -> None:
        self._last: deque[payloads.Log] = deque(maxlen=MOST_WARNINGS)

    def note(self, entry: payloads.Log) -> None:
        self._last.append(entry)

    def __call__(self) -> list[dict[str, Any]]:
        """The newest last."""
        return [entry.model_dump(mode="json") for entry in self._last]


class Diagnose:
    """Gathers `sections` on the event loop, `read` in a thread, and what `outbox` says of itself.

    What is too large is cut, the longest part first. No section holds a secret; and the result is scrubbed
    like any.
    """

    def __init__(
        self,
        *,
        sections: Mapping[str, Section],
        read: Mapping[str, Section],
        outbox: Callable[[], Awaitable[Mapping[str, Any]]],
        policy: Policy,
    ) -> None:
        self._sections = sections
        self._read = read
        self._outbox = outbox
        self.adopt(policy)

    def adopt(self, policy: Policy) -> None:
        """How large a message may be, from now on."""
        self._most_bytes = min(MOST_BYTES, policy.publish.max_message_bytes - _ROOM_FOR_RESULT)

    async def __call__(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        del args
        try:
            outbox = await self._outbox()
        except TransientError as error:
            outbox = {"code": error.code, "message": error.message}
        bundle = {name: section() for name, section in self._sections.items()}
        bundle |= await in_thread("diagnose", lambda: {name: each() for name, each in self._read.items()})
        bundle["outbox"] = outbox
        return bounded(
            json.loads(json.dumps(bundle, default=str)), most_bytes=self._most_bytes, spared=_SPARED
        )


def bounded(
    bundle: dict[str, Any], *, most_bytes: int, spared: Collection[str] = frozenset()
) -> dict[str, Any]:
    """`bundle` as large as it may be at most: of its longest part the older half goes, again and again.

    What was cut is named under `cut`. The parts `spared` stay as they are, whatever their size.

    >>> bounded({"a": [1, 2, 3, 4], "b": "short"}, most_bytes=30)
    {'a': [4], 'b': 'short', 'cut': ['a']}
    """
    kept = dict(bundle)
    cut: set[str] = set()
    while _size(told := {**kept, "cut": sorted(cut)} if cut else kept) > most_bytes:
        longest = max(kept.keys() - spared, key=lambda name: _size(kept[name]), default=None)
        if longest is None:
            break
        cut.add(longest)
        match kept[longest]:
            case list() as entries if len(entries) > 1:
                kept[longest] = entries[(len(entries) + 1) // 2 :]
            case dict() as entries if len(entries) > 1:
                kept[longest] = dict(list(entries.items())[: len(entries) // 2])
            case _:
                del kept[longest]
    return told


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
