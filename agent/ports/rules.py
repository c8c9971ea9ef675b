"""What compiles conditions, and what is kept of events that are on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.domain.rules.features import Scalar
from agent.domain.rules.prepared import Expression


class RuleCompiler(Protocol):
    """From text to something that can be evaluated, once for each condition. Any thread."""

    def compile(self, text: str, samples: Mapping[str, Sequence[Scalar]]) -> Expression:
        """An expression in CEL over the names of `samples`, which are values that each may have.

        Raises:
            FaultyConditionError: it is none, gives something else than yes or no with such values, or takes
                too long.
        """


@dataclass(frozen=True, slots=True)
class StandingEvent:
    """An event that was on. `identity` is that of its rule; `began_ns`: wall nanoseconds since 1970.

    `severity` and `message` are as they were told.
    """

    event: str
    identity: str
    began_ns: int
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the node has to remember of its events over restarts.

    `events` that are on, by rule. `alarms`: the rules that ever kept an alarm, which may still stand at the
    broker.
    """

    events: Mapping[str, StandingEvent] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()


class StandingStore(Protocol):
    """One thread at a time; waits for the disk."""

    def load(self) -> Standing:
        """What was kept last; nothing, where that is damaged."""

    def keep(self, standing: Standing) -> None:
        """On the disk itself when it returns, all or nothing.

        Raises:
            TransientError: the disk refuses; what was kept before stands.
        """
