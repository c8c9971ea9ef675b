"""The operations that ask others of the node and answer at once."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import structlog

from agent.domain.errors import Code, RefusedError
from agent.domain.ids import SourceName, Stream
from agent.ports import Replay

log = structlog.get_logger(__name__)

AskReplay = Callable[[Stream, str, int, int], Awaitable[Replay | None]]


class Ping:
    """`ping`: whether somebody is there, and how long since. `about` is what is told."""

    def __init__(self, about: Callable[[], Mapping[str, Any]]) -> None:
        self._about = about

    async def __call__(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        del args
        return self._about()


class ReplayStream:
    """`replay`: what is still held of a range is sent again; the answer says which that is."""

    def __init__(self, replay: AskReplay) -> None:
        self._replay = replay

    async def __call__(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        stream = args["stream"]
        held = await self._replay(Stream(stream), args["epoch"], args["from"], args["to"])
        if held is None:
            return {"stream": stream, "from": None, "to": None, "rows": 0, "complete": True}
        return {
            "stream": stream,
            "from": held.first,
            "to": held.last,
            "rows": held.rows,
            "complete": held.complete,
        }


class LogLevel:
    """`log-level`: another level for a while; then the one that Settings say holds again."""

    def __init__(self, *, set_level: Callable[[str], None], usual: str) -> None:
        self._set_level = set_level
        self._usual = usual
        self._back: asyncio.TimerHandle | None = None

    async def __call__(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        level, for_s = args["level"], args["for_s"]
        if self._back is not None:
            self._back.cancel()
        self._set_level(level)
        log.warning("log.level_changed", level_now=level, for_s=for_s)
        self._back = asyncio.get_running_loop().call_later(for_s, self._go_back)
        return {"level": level, "for_s": for_s, "then": self._usual}

    def _go_back(self) -> None:
        self._back = None
        self._set_level(self._usual)
        log.warning("log.level_changed", level_now=self._usual, for_s=None)


def known_source(args: Mapping[str, Any], known: Collection[str]) -> SourceName:
    """The source that a command names.

    Raises:
        RefusedError: there is none of that name.
    """
    name = args["source"]
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise RefusedError(
            f"there is no source {name!r} that this could be done with; there are: {listed}",
            code=Code.SCHEMA,
            path="/args/source",
        )
    return SourceName(name)
