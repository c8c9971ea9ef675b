"""What is wrong with rules, told in health by name."""

from collections.abc import Mapping
from typing import Final

from agent.domain.errors import Code
from agent.ports import Condition

_MOST_NAMED: Final = 5


class RuleTroubles:
    """`refused`: rules that cannot serve. `doubts`: rules that serve, and most likely wait in vain."""

    def __init__(self, *, on_condition: Condition) -> None:
        self._on_condition = on_condition
        self.refused: Mapping[str, str] = {}
        self.doubts: Mapping[str, str] = {}
        self._told: dict[str, str] | None = None

    def tell(self, faults: Mapping[str, str]) -> None:
        """Say what is wrong, with `faults` that showed while judging. The same again is cheap."""
        troubles = {**self.doubts, **faults, **self.refused}
        if troubles == self._told:
            return
        self._told = troubles
        if not troubles:
            self._on_condition("rules", "ok", None, None)
            return
        named = "; ".join(f"{name}: {why}" for name, why in sorted(troubles.items())[:_MOST_NAMED])
        more = f" and {len(troubles) - _MOST_NAMED} more" if len(troubles) > _MOST_NAMED else ""
        self._on_condition(
            "rules", "degraded", Code.SCHEMA, f"rules that cannot hold as they are: {named}{more}"
        )
