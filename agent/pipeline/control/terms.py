"""Who follows a policy, who makes ready for it, and what has come of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from agent.contract.policy import Policy
from agent.contract.reported import PolicyStatus, SourceStanding
from agent.domain.errors import RefusedError
from agent.domain.ids import SourceName

OnProbation = Callable[[Mapping[SourceName, SourceStanding]], None]


class Follower(Protocol):
    """Something that goes by the policy. `adopt` takes effect at once, never waits and never fails."""

    def adopt(self, policy: Policy) -> None: ...


class Stager(Protocol):
    """Something that has to make ready what a policy needs of it, before anything changes."""

    async def stage(self, policy: Policy) -> Callable[[], None]:
        """What puts it to work: that takes effect at once, never waits and never fails.

        Raises:
            RefusedError: the policy cannot be had; nothing has changed.
        """


@dataclass(frozen=True, slots=True)
class Applied:
    """What is in force now. `standings`: sources that were touched, and which version each runs by.

    `error`: why not all is as it was asked for.
    """

    policy: Policy
    status: PolicyStatus
    standings: Mapping[SourceName, SourceStanding]
    error: RefusedError | None = None
