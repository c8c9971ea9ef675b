"""Commands put together: what this node answers, and what each operation asks of it."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

from agent import __version__
from agent.adapters.command_log import SqliteCommandLog
from agent.adapters.system.memory import memory_mb, peak_memory_mb
from agent.adapters.system.stacks import thread_stacks
from agent.adapters.system.temperature import temperatures_c
from agent.adapters.system.versions import versions
from agent.contract.policy import Policy, PolicyDocument
from agent.contract.reported import policy_sha256
from agent.contract.topics import CONTRACT_VERSION, Topics
from agent.pipeline.commands import Commands, Handler
from agent.pipeline.commands.diagnose import Diagnose, Warnings
from agent.pipeline.commands.operations import CHANGING_POLICY, REPEATABLE
from agent.pipeline.commands.pictures import Pictures
from agent.pipeline.commands.results import Results
from agent.pipeline.commands.simple import LogLevel, Ping, ReplayStream
from agent.pipeline.commands.snapshot import Snapshots
from agent.pipeline.health import Health
from agent.pipeline.keeping import Keeping
from agent.ports import Clock, ControlVerifier, Inbound, Metrics, Outbox
from agent.settings import Settings
from agent.settings.telling import told


class _Follower(Protocol):
    def adopt(self, policy: Policy) -> None: ...


class CommandPlane:
    """Used on the event loop. `policy` is that of the start, `document` what is in force.

    `session` is the number of the connection; `set_log_level` is None where nobody can.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        policy: Policy,
        document: Callable[[], PolicyDocument],
        topics: Topics,
        outbox: Outbox,
        keeping: Keeping,
        health: Health,
        clock: Clock,
        metrics: Metrics,
        session: Callable[[], int],
        verifier: ControlVerifier,
        scrub: Callable[[str], str],
        set_log_level: Callable[[str], None] | None,
    ) -> None:
        self._document = document
        self._session = session
        self._outbox = outbox
        self._health = health
        self._clock = clock
        self._digest: tuple[PolicyDocument, str] | None = None
        self._started_ns = clock.now().monotonic_ns
        self.warnings = Warnings()
        self.pictures = Pictures()
        self.snapshots = Snapshots(
            pictures=self.pictures,
            outbox=outbox,
            topics=topics,
            clock=clock,
            metrics=metrics,
            policy=policy,
            config_version=lambda: document().version,
        )
        self._diagnose = Diagnose(
            sections={
                "node": self._node,
                "health": health.describe,
                "warnings": self.warnings,
                "tasks": _tasks,
            },
            read={
                "versions": versions,
                "machine": _machine,
                "settings": lambda: told(settings),
                "threads": thread_stacks,
            },
            outbox=self._outbox_figures,
            policy=policy,
        )
        self._handlers: dict[str, Handler] = {
            "ping": Ping(self._node),
            "snapshot": self.snapshots,
            "replay": ReplayStream(keeping.replay),
            "diagnose": self._diagnose,
        }
        if set_log_level is not None:
            self._handlers["log-level"] = LogLevel(set_level=set_log_level, usual=settings.log.level)
        self.commands = Commands(
            handlers=self._handlers,
            kept=SqliteCommandLog(state_dir=settings.state_dir, repeatable=REPEATABLE),
            results=Results(
                outbox=outbox, topics=topics, clock=clock, metrics=metrics, policy=policy, scrub=scrub
            ),
            topics=topics,
            clock=clock,
            metrics=metrics,
            open_signed=partial(_opened, verifier),
        )

    @property
    def followers(self) -> Sequence[_Follower]:
        """Who goes by the policy."""
        return (self.commands, self.snapshots, self._diagnose)

    def answer(self, handlers: Mapping[str, Handler]) -> None:
        """More operations, which others do; before the first command comes."""
        self._handlers.update(handlers)

    def receive(self, inbound: Inbound) -> None:
        """A message that somebody sent to this node; what is no command is left to others."""
        self.commands.receive(inbound)

    def coroutines(self) -> Mapping[str, Coroutine[Any, Any, None]]:
        """What has to run for it, by name; all of it may be cancelled at any time."""
        return {"commands": self.commands.run(), "snapshots": self.snapshots.run()}

    def _node(self) -> dict[str, Any]:
        document = self._document()
        return {
            "agent": __version__,
            "contract": CONTRACT_VERSION,
            "uptime_s": round((self._clock.now().monotonic_ns - self._started_ns) / 1e9, 1),
            "session": self._session(),
            "health": self._health.status,
            "config_version": document.version,
            "config_sha256": self._sha256(document),
        }

    def _sha256(self, document: PolicyDocument) -> str:
        """Of its policy; made once for each, as a large one takes milliseconds."""
        if self._digest is None or self._digest[0] is not document:
            self._digest = (document, policy_sha256(document.policy))
        return self._digest[1]

    async def _outbox_figures(self) -> dict[str, Any]:
        return asdict(await self._outbox.statistics())


def _opened(verifier: ControlVerifier, payload: bytes, op: str) -> bytes:
    if op in CHANGING_POLICY:
        return verifier.open(payload, kind="command", also=["policy"])
    return verifier.open(payload, kind="command")


def _machine() -> dict[str, Any]:
    return {
        "memory_mb": round(memory_mb(), 1),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "temperature_c": dict(temperatures_c()),
        "cores": os.cpu_count(),
        "load": [round(average, 2) for average in os.getloadavg()],
    }


def _tasks() -> list[str]:
    """Every task of the loop, and the line in which its outermost call waits."""
    return sorted(
        f"{task.get_name()}: {frames[-1].f_code.co_name}:{frames[-1].f_lineno}"
        for task in asyncio.all_tasks()
        if (frames := task.get_stack(limit=1))
    )
