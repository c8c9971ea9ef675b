"""Control put together: what comes from outside, who decides on it, and what it changes."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from agent.captures import Captures
from agent.contract.policy import PolicyDocument
from agent.contract.topics import Topics
from agent.pipeline.announcements import Announcements
from agent.pipeline.commands import Handler
from agent.pipeline.control.local import LocalControl
from agent.pipeline.control.patching import PatchConfig
from agent.pipeline.control.policy import PolicyControl
from agent.pipeline.control.reconcile import Reconciler
from agent.pipeline.control.reporting import Reporting
from agent.pipeline.control.restarting import RestartSource
from agent.pipeline.control.terms import Follower, Stager
from agent.pipeline.keeping import Keeping
from agent.pipeline.sources import Sources
from agent.pipeline.swap import ModelSwap
from agent.policies import FirstPolicy, Policies
from agent.ports import Clock, Condition, Inbound


class ControlPlane:
    """Policies and commands, from the broker, the node's file and a person at the node. On the event loop.

    `stagers` and `followers` go by the policy; `on_applied` hears of the document that is in force from now
    on, and `mark` by which version frames are inferred.
    """

    def __init__(
        self,
        *,
        first: FirstPolicy,
        policies: Policies,
        topics: Topics,
        announcements: Announcements,
        mark: Callable[[int], None],
        swap: ModelSwap,
        sources: Sources,
        captures: Captures,
        keeping: Keeping,
        stagers: Sequence[Stager],
        followers: Sequence[Follower],
        clock: Clock,
        on_condition: Condition,
        on_applied: Callable[[PolicyDocument], None],
    ) -> None:
        self._topics = topics
        self._keeping = keeping
        self._rereading = policies.rereading
        self.reconciler = Reconciler(
            policy=first.document.policy,
            version=first.document.version,
            mark=mark,
            swap=swap,
            sources=sources,
            capture=captures.make,
            alter=captures.alter,
            stagers=stagers,
            followers=followers,
            mixture=policies.mixture,
            probe=captures.probe(),
        )
        self.policies = PolicyControl(
            store=policies.store,
            journal=first.journal,
            document=first.document,
            origin=first.origin,
            pending=first.pending,
            again=first.again,
            reconciler=self.reconciler,
            read=policies.read,
            check=policies.check,
            reporting=Reporting(topics=topics, announcements=announcements),
            clock=clock,
            on_condition=on_condition,
            on_applied=on_applied,
        )
        self._local = LocalControl(inbox=policies.inbox, policies=self.policies, read=policies.read_local)

    @staticmethod
    def subscriptions_of(topics: Topics) -> tuple[str, ...]:
        """What is addressed to this node."""
        return (topics.desired, topics.acks)

    def handlers(self) -> Mapping[str, Handler]:
        """The commands that are control's to answer."""
        return {
            "patch-config": PatchConfig(policies=self.policies),
            "restart-source": RestartSource(reconciler=self.reconciler),
        }

    def receive(self, inbound: Inbound) -> None:
        """A message that somebody sent to this node; returns at once."""
        if inbound.topic != self._topics.desired:
            self._keeping.receive(inbound)
        elif inbound.payload:  # an empty one takes the retained document away, and changes nothing
            self.policies.want(inbound.payload)

    def coroutines(self, stop: asyncio.Event) -> Mapping[str, Coroutine[Any, Any, None]]:
        """What has to run for it, by name; all of it may be cancelled at any time."""
        return {
            "policies": self.policies.run(),
            "rereading": self._reread(),
            "local-control": self._local.run(stop),
        }

    async def _reread(self) -> None:
        """The policy's file is read again whenever somebody asks for it."""
        while True:
            await self._rereading.asked.wait()
            self._rereading.asked.clear()
            await self.policies.reread(self._rereading.read)
