"""A broker, a node behind a proxy, and a consumer beside it who sees everything from the broker itself."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

from agent.contract.topics import Topics
from tests.brokers import HOST, UPWARD, Mosquitto
from tests.e2e.agent_process import SITE, AgentProcess
from tests.e2e.outbox_rows import count_waiting
from tests.faults.audit import Audit, audit
from tests.faults.consumer import Broker, Consumer
from tests.polling import until
from tests.proxy import RecordingProxy

NODE: Final = "nano-1"

_QUIET_S: Final = 1.0


def telemetry_policy(*, sensors: int = 3, every_s: float = 0.1, more: str = "", publish: str = "") -> str:
    """A policy that makes `sensors / every_s` messages a second, 30 by itself, and asks for no model.

    `more` are further sources, `publish` is that part: both as lines.
    """
    stanzas = "".join(
        f"    motor-{number}: {{kind: vibration, rate_hz: 50, report_every_s: {every_s}, seed: {number}}}\n"
        for number in range(1, sensors + 1)
    )
    return f"v: 1\nversion: 1\npolicy:\n  sources:\n{stanzas}{more}{publish}"


def mosquitto(folder: Path, *extra: str, upward: Sequence[str] = UPWARD) -> Mosquitto:
    """A persistent one, whose consumers' sessions may hold all that these tests make.

    Not without a bound: mosquitto 2.0.11 then breaks the connection at every PUBLISH that it refuses.
    """
    return Mosquitto(folder, persistent=True, extra=["max_queued_messages 1000000", *extra], upward=upward)


class Site:
    """Made by ``async with``, which starts broker, proxy and consumer; `start` starts the agent.

    `broker` is a persistent mosquitto by itself; `settings` are lines for agent.toml; `proxied=False` lets
    the agent talk to the broker itself, and then nothing is known of PUBACKs; with `listening=False` the
    consumer comes when it is told to. The rest goes to `AgentProcess`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        policy: str | None = None,
        media: Iterable[Path] = (),
        settings: str = "",
        broker: Broker | None = None,
        listening: bool = True,
        proxied: bool = True,
        keepalive_s: int = 5,
        state: Path | None = None,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.broker = broker or mosquitto(folder)
        self.identity = self.broker.authority.issue(NODE)
        self.consumer = Consumer(self.broker)
        self.proxy = RecordingProxy(
            self.broker.port, server=self.broker.authority.issue("proxy", HOST), client=self.identity
        )
        self._proxied = proxied
        self._listening = listening
        self._agent: AgentProcess | None = None
        self._make_agent: Callable[[int], AgentProcess] = lambda port: AgentProcess(
            folder / "node",
            identity=self.identity,
            port=port,
            policy=policy or telemetry_policy(),
            media=media,
            extra_settings=settings,
            keepalive_s=keepalive_s,
            state=state,
            wrapper=wrapper,
            environment=environment,
        )
        self._stack = AsyncExitStack()
        self._base = Topics(SITE, NODE).base

    @property
    def agent(self) -> AgentProcess:
        assert self._agent is not None
        return self._agent

    @property
    def log(self) -> list[dict[str, Any]]:
        """The agent's log so far."""
        return self.agent.events

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.log if line["event"] == event]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as unless_complete:
            await asyncio.to_thread(self.broker.start)
            unless_complete.callback(self.broker.kill)
            if self._listening:
                await asyncio.to_thread(self.consumer.open)
            unless_complete.callback(self.consumer.close)
            if self._proxied:
                await unless_complete.enter_async_context(self.proxy)
            self._agent = self._make_agent(self.proxy.port if self._proxied else self.broker.port)
            unless_complete.enter_context(self._agent)
            self._stack = unless_complete.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def until_logged(self, event: str, *, times: int = 1, within_s: float = 30.0) -> dict[str, Any]:
        """Wait until the agent's log has `event` so often; the last of them."""
        await until(lambda: self.agent.log.count(f'"{event}"') >= times, within_s=within_s, every_s=0.02)
        return self.logged(event)[-1]

    async def start(self, *, within_s: float = 30.0) -> None:
        """Start the agent; returns when messages flow."""
        before = self.count()
        await asyncio.to_thread(self.agent.start)
        await until(lambda: self.count() > before or not self.agent.running, within_s=within_s)
        assert self.agent.running, self.agent.log[-2000:]

    def count(self) -> int:
        """Messages with a number that the broker has taken, as far as is known: every sending counts."""
        if self._proxied:
            return len(self.proxy.acknowledged)
        return self.consumer.count

    async def flow(self, messages: int = 60, *, within_s: float = 60.0) -> float:
        """Wait until so many more have been taken; seconds that it took."""
        loop = asyncio.get_running_loop()
        began, enough = loop.time(), self.count() + messages
        await until(lambda: self.count() >= enough, within_s=within_s, every_s=0.02)
        return loop.time() - began

    async def recover(self, *, within_s: float = 90.0) -> float:
        """At a fault's end: seconds until the next message is taken."""
        return await self.flow(1, within_s=within_s)

    async def wait_drained(self, *, below: int = 30, within_s: float = 120.0) -> None:
        """Until hardly a row waits."""
        file = self.agent.outbox_file
        await until(lambda: count_waiting(file) < below, within_s=within_s, every_s=0.1)

    def go_offline(self) -> None:
        """From now on the line is dead, and says so: connections are reset, and nobody gets in."""
        self.proxy.refuse = True
        self.proxy.reset()

    def come_online(self) -> None:
        self.proxy.refuse = False

    async def finish(self, *, code: int = 0) -> None:
        """Stop the agent in order, and let the consumer have what the broker still holds for it."""
        assert await asyncio.to_thread(self.agent.stop) == code, self.agent.log[-2000:]
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing new reaches the consumer for a second."""
        seen = -1

        def is_quiet() -> bool:
            nonlocal seen
            before, seen = seen, self.consumer.count
            return seen == before

        await until(is_quiet, within_s=60.0, every_s=_QUIET_S)

    def acknowledged(self) -> dict[str, set[int]]:
        """Per stream, the numbers that were acknowledged with success on the wire."""
        found: defaultdict[str, set[int]] = defaultdict(set)
        for sent in self.proxy.acknowledged:
            content = json.loads(sent.payload) if sent.payload else {}
            if "seq" in content:
                found[sent.topic.removeprefix(f"{self._base}/")].add(content["seq"])
        return dict(found)

    def audit(self) -> Audit:
        """What became of all that was produced; the agent has stopped, or was killed."""
        return audit(
            self.agent.outbox_file,
            self.consumer.messages(),
            self.acknowledged() if self._proxied else None,
        )
