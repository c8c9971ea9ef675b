"""From a condition's text to something that says whether it holds: the port's RuleCompiler."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from agent.adapters.cel import native
from agent.domain.errors import Code, RefusedError
from agent.domain.rules.features import Scalar
from agent.domain.rules.prepared import FaultyConditionError

if TYPE_CHECKING:
    from cel import Program

MOST_S: Final = 1e-3
"""What one evaluation may take."""

_TRIES: Final = 5
_PLACE: Final = re.compile(r"ERROR: <input>:\d+:(\d+): (?:Syntax error: )?(.*)")
_MOST_SAMPLES: Final = 16

_KINDS: Final = "texts, numbers and yes-or-no are not compared or reckoned with one another"


class CelExpression:
    """Fulfils `domain.rules.prepared.Expression`."""

    def __init__(self, program: "Program") -> None:
        self._execute = program.execute

    def __call__(self, values: Mapping[str, Scalar]) -> bool:
        try:
            holds = self._execute(values)  # type: ignore[arg-type]
        # All that the interpreter raises: for names that are missing, kinds that do not fit, an index that
        # is not there, a division by zero, an overflow, a text that is no number.
        except (TypeError, RuntimeError, LookupError, ArithmeticError, ValueError) as error:
            raise RefusedError(_in_words(error), code=Code.SCHEMA) from error
        if holds is True or holds is False:
            return holds
        raise RefusedError(f"it gives {holds!r}; a condition says yes or no", code=Code.SCHEMA)


class CelRuleCompiler:
    """Fulfils `ports.RuleCompiler`. Loads the interpreter when it is first used."""

    def compile(self, text: str, samples: Mapping[str, Sequence[Scalar]]) -> CelExpression:
        cel = native.load()
        try:
            program = cel.compile(text)
        except ValueError as error:
            raise _syntax(str(error)) from error
        expression = CelExpression(program)
        for values in _tries(samples):
            self._try(expression, values)
        return expression

    def _try(self, expression: CelExpression, values: Mapping[str, Scalar]) -> None:
        """Raises: FaultyConditionError (it cannot be evaluated so, or only slowly)."""
        fastest_s = float("inf")
        for _ in range(_TRIES):
            began_s = time.perf_counter()
            try:
                expression(values)
            except RefusedError as error:
                raise FaultyConditionError(error.message) from error
            fastest_s = min(fastest_s, time.perf_counter() - began_s)
            if fastest_s <= MOST_S:
                return
        raise FaultyConditionError(
            f"one evaluation takes {fastest_s * 1e3:.1f} ms; at most {MOST_S * 1e3:g} ms are allowed"
        )


def _tries(samples: Mapping[str, Sequence[Scalar]]) -> Iterator[dict[str, Scalar]]:
    """Answers to evaluate a condition with: all names by turns alike and unlike one another."""
    yield {name: each[0] for name, each in samples.items()}
    for step in range(1, _MOST_SAMPLES):
        # The names are taken through their samples at speeds of their own, so that most pairs meet.
        yield {
            name: each[(step * (1 + place % 3) + place) % len(each)]
            for place, (name, each) in enumerate(samples.items())
        }


def _syntax(told: str) -> FaultyConditionError:
    found = _PLACE.search(told)
    if found is None:
        return FaultyConditionError("this is no expression in CEL")
    message = re.sub(r" expecting \{.*", "", found[2])
    message = message.replace("'<EOF>'", "the end").replace("<EOF>", "the end")
    return FaultyConditionError(f"this is no expression in CEL: {message}", at=int(found[1]) - 1)


def _in_words(error: Exception) -> str:
    """A sentence that stays the same as long as the fault does."""
    match error:
        case TypeError():
            return f"its values do not fit together: {_KINDS}"
        case ArithmeticError():
            return "it divides by zero, or its numbers grow too large"
        case LookupError():
            return "it asks for an entry that a list does not have"
        case RuntimeError():
            return "a value or a function in it is not known"
        case _:
            return "its values cannot be used so"
