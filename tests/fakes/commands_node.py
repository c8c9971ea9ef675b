"""Commands with fakes all around them, and operations that a test writes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from agent.contract.policy import Policy
from agent.contract.topics import Topics
from agent.pipeline.commands import Commands, Handler
from agent.pipeline.commands.reading import Open
from agent.pipeline.commands.results import Results
from agent.pipeline.outgoing import SUBTOPIC
from agent.ports import Inbound
from tests.fakes.clock import FakeClock
from tests.fakes.command_log import FakeCommandLog
from tests.fakes.metrics import FakeMetrics
from tests.fakes.outbox import FakeOutbox
from tests.polling import until

TOPICS = Topics("plant", "nano-42")

Work = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class CommandsNode:
    """`asked` are the arguments that handlers were called with, as (operation, arguments)."""

    def __init__(
        self,
        *,
        kept: FakeCommandLog | None = None,
        policy: Policy | None = None,
        open_signed: Open = lambda payload, op: payload,  # noqa: ARG005
        scrub: Callable[[str], str] = lambda text: text,
        **work: Work,
    ) -> None:
        self.clock = FakeClock()
        self.metrics = FakeMetrics()
        self.outbox = FakeOutbox(clock=self.clock)
        self.kept = kept or FakeCommandLog()
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        names = {name.replace("_", "-"): each for name, each in work.items()}
        self.commands = Commands(
            handlers={name: self._noting(name, names.get(name, _nothing)) for name in {"ping", *names}},
            kept=self.kept,
            results=Results(
                outbox=self.outbox,
                topics=TOPICS,
                clock=self.clock,
                metrics=self.metrics,
                policy=policy or Policy(),
                scrub=scrub,
            ),
            topics=TOPICS,
            clock=self.clock,
            metrics=self.metrics,
            open_signed=open_signed,
        )

    def _noting(self, name: str, work: Work) -> Handler:
        async def handler(args: Mapping[str, Any]) -> Mapping[str, Any]:
            self.asked.append((name, args))
            return await work(args)

        return handler

    @asynccontextmanager
    async def running(self) -> AsyncIterator["CommandsNode"]:
        """Serves until the end, or is cancelled as at the end of the process."""
        task = asyncio.create_task(self.commands.run(), name="commands")
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def send(
        self,
        op: str = "ping",
        command_id: str = "a",
        args: Mapping[str, Any] | None = None,
        *,
        retained: bool = False,
        expiry_s: int | None = None,
        **more: Any,
    ) -> None:
        envelope = {"v": 1, "op": op, "id": command_id, "args": args or {}, **more}
        self.send_bytes(
            json.dumps(envelope).encode(), f"{op}/{command_id}", retained=retained, expiry_s=expiry_s
        )

    def send_bytes(
        self, payload: bytes, topic: str = "ping/a", *, retained: bool = False, expiry_s: int | None = None
    ) -> None:
        self.commands.receive(
            Inbound(
                TOPICS.below(f"command/{topic}"), payload, retained=retained, expiry_s=expiry_s, properties={}
            )
        )

    def results(self, below: str | None = None) -> list[dict[str, Any]]:
        """What was told so far, or what was told on ``op/id``."""
        rows = sorted(self.outbox.rows.values(), key=lambda row: row.key)
        return [
            json.loads(row.body)
            for row in rows
            if row.stream == "result" and below in {None, row.properties[SUBTOPIC]}
        ]

    async def result(self, below: str = "ping/a", *, number: int = 1) -> dict[str, Any]:
        """The last word on a command, once so many were said."""
        ended = {"done", "failed", "rejected"}

        def last_words() -> list[dict[str, Any]]:
            return [each for each in self.results(below) if each["status"] in ended]

        await until(lambda: len(last_words()) >= number)
        return last_words()[number - 1]


async def _nothing(args: Mapping[str, Any]) -> Mapping[str, Any]:
    del args
    return {}
