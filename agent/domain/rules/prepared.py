"""A rule that is ready to serve: its conditions compiled, its times in nanoseconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agent.domain.errors import Code, RefusedError
from agent.domain.ids import SourceName
from agent.domain.rules.features import Feature, Scalar
from agent.domain.rules.knowledge import Silence
from agent.domain.rules.machine import Timing
from agent.domain.rules.schedule import Schedule


class FaultyConditionError(RefusedError):
    """A condition that cannot serve. `at` is the 0-based character where it is wrong, None: as a whole."""

    def __init__(self, message: str, *, at: int | None = None) -> None:
        super().__init__(message, code=Code.SCHEMA)
        self.at = at


class Expression(Protocol):
    """A compiled expression over plain values. Called on the event loop; takes microseconds."""

    def __call__(self, values: Mapping[str, Scalar]) -> bool:
        """Whether it holds. A name may be missing from `values`: then only what does not need it is known.

        Raises:
            RefusedError: it cannot be said, for want of a value or by a fault in the expression.
        """


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked, by its names in the expression: `features`, and each as it was written: `calls`."""

    expression: Expression
    features: Mapping[str, Feature]
    calls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PreparedRule:
    """`until` None: an event ends when `when` does not hold.

    `identity` is equal for rules that are stated equally: their state is kept when a policy replaces another.
    """

    name: str
    identity: str
    when: Condition
    until: Condition | None = None
    timing: Timing = field(default_factory=Timing)
    schedule: Schedule | None = None

    @property
    def sources(self) -> tuple[SourceName, ...]:
        """Those that its conditions ask about, in order, each once."""
        conditions = (self.when,) if self.until is None else (self.when, self.until)
        asked = (source for each in conditions for one in each.features.values() for source in one.sources)
        return tuple(dict.fromkeys(asked))


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules of a policy, and after how long what its sources said is not known any more."""

    rules: Mapping[str, PreparedRule] = field(default_factory=dict)
    sources: frozenset[SourceName] = frozenset()
    silence: Silence = field(default_factory=lambda: Silence({}))
