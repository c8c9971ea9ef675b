"""A node's control as the agent puts it together, over a world that only remembers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from agent.adapters.cel import CelRuleCompiler
from agent.adapters.policy_inbox import FilePolicyInbox
from agent.adapters.policy_store import FilePolicyStore
from agent.adapters.standing import FileStandingStore
from agent.command_plane import CommandPlane
from agent.contract.policy import PolicyDocument
from agent.contract.topics import Topics
from agent.control_plane import ControlPlane
from agent.domain.ids import ModelName, SourceName
from agent.hindsight import Hindsight
from agent.pipeline.handover import Handover
from agent.pipeline.health import Health, Machine
from agent.pipeline.keeping import Keeping
from agent.pipeline.ruling import Ruling
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.sources import Sources
from agent.pipeline.supervise import Ticks
from agent.pipeline.swap import ModelSwap
from agent.policies import Policies, Rereading, check_permitted, read_policy
from agent.ports import Inbound
from agent.serving.model_loading import LoadedShadows
from tools.control_fuzzing.idle import IdleCaptures, admitted, in_force, no_lanes, trusting
from tools.control_fuzzing.outside import (
    AnswerBook,
    CountingMetrics,
    HeardAnnouncements,
    SteppedClock,
)
from tools.control_fuzzing.seeds import NODE, SITE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.ports import Publication
    from agent.settings import Settings

_UNDER_WAY: Final = frozenset({"applying", "probation"})


class ControlledNode:
    """`ControlPlane` and `CommandPlane` with their real parts; sources idle, and models are not loaded.

    `public_key` is the one that it trusts; it takes unsigned documents as well. `read` makes a policy of what
    was signed, or was not. Made on the running loop.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        public_key: bytes,
        read: Callable[[bytes], PolicyDocument] = read_policy,
    ) -> None:
        self.clock = SteppedClock()
        self.metrics = CountingMetrics()
        self.store = FilePolicyStore(state_dir=settings.state_dir)
        self.answers: dict[str, dict[str, Any]] = {}
        self.outbox = AnswerBook(on_ended=self._on_ended)
        self.reported: dict[str, Any] = {}
        self.largest_report_bytes = 0
        self._news = asyncio.Event()
        self.topics = topics = Topics(SITE, NODE)
        announcements = HeardAnnouncements(on_retained=self._on_retained)
        first = in_force(self.store)
        policy = first.document.policy
        ticks = Ticks(clock=self.clock)
        scheduler = Scheduler(clock=self.clock)
        health = Health(
            topics=topics,
            announcements=announcements,
            outbox=self.outbox,
            clock=self.clock,
            metrics=self.metrics,
            ticks=ticks,
            sources=frozenset(map(SourceName, policy.sources)),
            flow=scheduler.statistics,
            machine=lambda: Machine(0.0, {}),
            session=lambda: 1,
            heartbeat_s=10.0,
            config_version=1,
            scrub=str,
        )
        swap = ModelSwap(
            scheduler=scheduler,
            models={name: admitted(name) for name in map(ModelName, policy.models)},
            policy=policy,
            load=lambda name, _stanza, _may: admitted(name),
            digest=lambda _stanza: "",
            suits=lambda _policy, _models: None,
            give_back=lambda: None,
            on_condition=health.report,
            on_swapped=lambda: None,
        )
        self._ruling = Ruling(
            compiler=CelRuleCompiler(),
            outbox=self.outbox,
            topics=topics,
            announcements=announcements,
            clock=self.clock,
            metrics=self.metrics,
            ticks=ticks,
            store=FileStandingStore(state_dir=settings.state_dir),
            on_condition=health.report,
            snapshot=lambda _source, _event: None,
            set_rates=lambda _rates: None,
        )
        keeping = Keeping(
            until="stored",
            outbox=self.outbox,
            topics=topics,
            clock=self.clock,
            metrics=self.metrics,
            on_sendable=lambda: None,
        )
        sources = Sources(scheduler=scheduler, forget=health.forget)
        verifier = trusting(public_key, clock=self.clock)
        hindsight = Hindsight(
            policy=policy,
            swap=swap,
            scheduler=scheduler,
            compiler=CelRuleCompiler(),
            check=lambda wanted: check_permitted(wanted.policy, settings),
            clock=self.clock,
        )
        self.command = CommandPlane(
            settings=settings,
            policy=policy,
            document=lambda: self.control.policies.document,
            topics=topics,
            outbox=self.outbox,
            keeping=keeping,
            health=health,
            clock=self.clock,
            metrics=self.metrics,
            session=lambda: 1,
            verifier=verifier,
            scrub=str,
            set_log_level=lambda _level: None,
        )
        self._captures = IdleCaptures(
            settings=settings,
            sources=sources,
            swap=swap,
            scheduler=scheduler,
            results=Handover(loop=asyncio.get_running_loop(), capacity=1),
            health=health,
            clock=self.clock,
            metrics=self.metrics,
            on_frame=lambda _frame: None,
        )
        self.control = ControlPlane(
            first=first,
            policies=Policies(
                store=self.store,
                inbox=FilePolicyInbox(state_dir=settings.state_dir),
                read=lambda payload: read(verifier.open(payload, kind="policy")),
                read_local=read_policy,
                check=lambda wanted: check_permitted(wanted.policy, settings),
                plan_lanes=no_lanes,
                load_shadows=lambda _policy: LoadedShadows({}, {}),
                rereading=Rereading(asyncio.Event(), lambda: first.document),
            ),
            topics=topics,
            announcements=announcements,
            mark=lambda _version: None,
            swap=swap,
            sources=sources,
            captures=self._captures,
            keeping=keeping,
            stagers=[self._ruling],
            followers=[health, keeping, *self.command.followers, hindsight],
            clock=self.clock,
            on_condition=health.report,
            on_applied=lambda _document: None,
        )
        self.command.answer({**self.control.handlers(), **hindsight.handlers})
        self._sources = sources

    @property
    def document(self) -> PolicyDocument:
        """In force."""
        return self.control.policies.document

    def settled(self) -> tuple[object, str, int]:
        """What the disk says is in force, and the floor; the attempts that came to nothing do not count."""
        kept = self.store.peek()
        return kept.document, kept.origin, kept.floor

    @asynccontextmanager
    async def running(self) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Serves, with its sources, until the end; the tasks that must not end before."""
        await self._ruling.begin(self.document.policy)
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        captures: list[asyncio.Task[None]] = []

        def spawn(capture: Any, name: str) -> asyncio.Task[None]:
            captures[:] = [task for task in captures if not task.done()]
            captures.append(loop.create_task(capture, name=name))
            return captures[-1]

        self._sources.attach(spawn)
        self._captures.start_all(self.document.policy)
        works = {**self.control.coroutines(stop), **self.command.coroutines()}
        tasks = [loop.create_task(work, name=name) for name, work in works.items()]
        await self.heard()  # what it begins with
        try:
            yield tasks
        finally:
            for task in (*tasks, *captures):
                task.cancel()
            await asyncio.wait([*tasks, *captures])

    def receive(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """What the broker brings, as the agent hands it on; `topic` is below the node's base."""
        inbound = Inbound(self.topics.below(topic), payload, retained=retained, expiry_s=None, properties={})
        self.control.receive(inbound)
        self.command.receive(inbound)

    async def heard(self) -> None:
        """Wait until something was told since the last call."""
        await self._news.wait()
        self._news.clear()

    def _on_ended(self, below: str, told: dict[str, Any]) -> None:
        self.answers[below] = told
        self._news.set()

    def _on_retained(self, publication: Publication) -> None:
        if publication.topic != self.topics.reported:
            return
        self.largest_report_bytes = max(self.largest_report_bytes, len(publication.payload))
        told = json.loads(publication.payload)
        if told["status"] not in _UNDER_WAY:
            self.reported = told
            self._news.set()
