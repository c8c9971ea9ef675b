"""Whether a condition holds now: evaluated again only where one of its answers has changed."""

from agent.domain.errors import RefusedError
from agent.domain.rules.features import Scalar
from agent.domain.rules.prepared import Condition


class Judge:
    """Keeps a condition's answers and its verdict: None while it cannot be said.

    `trouble` says why, where that is a fault of the condition and not merely a value that is not known yet.
    """

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.verdict: bool | None = None
        self.trouble: str | None = None
        self._values: dict[str, Scalar] = {}

    def learn(self, name: str, answer: Scalar | None) -> None:
        """The answer to one of its questions is another now; `weigh` before you ask for the verdict."""
        if answer is None:
            self._values.pop(name, None)
        else:
            self._values[name] = answer

    def weigh(self) -> None:
        """Bring the verdict up to what was learned."""
        self.trouble = None
        try:
            self.verdict = self.condition.expression(self._values)
        except RefusedError as error:
            self.verdict = None
            if len(self._values) == len(self.condition.features):
                self.trouble = error.message

    def answers(self) -> dict[str, Scalar | None]:
        """What it asked, as it was written, and the answers."""
        return {call: self._values.get(name) for name, call in self.condition.calls.items()}
