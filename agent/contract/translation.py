"""A condition in CEL over plain values: what it asks taken out, the rest held to what a rule may do.

CEL knows no named arguments, and evaluates whole lists where a count is wanted. So each call of ours becomes
a variable, numbers become floating (CEL does not mix kinds), and nothing is left that could run for long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.contract.calls import FUNCTIONS, Call, Literal
from agent.contract.conditions import Token, tokens
from agent.contract.vocabulary import Vocabulary
from agent.contract.words import listed, nearest
from agent.domain.rules.features import Feature
from agent.domain.rules.prepared import FaultyConditionError

MOST_DEPTH: Final = 16
MOST_MARKS: Final = 200
MOST_CHOICES: Final = 8
MOST_CALLS: Final = 32

_MACROS: Final = frozenset(
    {"map", "filter", "all", "exists", "exists_one", "has", "transformList", "transformMap", "bind"}
)
_TEXT_METHODS: Final = frozenset({"startsWith", "endsWith", "contains"})
_WORDS: Final = frozenset({"true", "false", "in"})
_MARKS: Final = frozenset("()[],.?:!<>+-*/") | {"&&", "||", "==", "!=", "<=", ">="}
_INSTEAD: Final = {"=": "two are wanted to compare: ==", "&": "&& is and", "|": "|| is or"}


@dataclass(frozen=True, slots=True)
class Translation:
    """`text` is CEL; `features` and, as they were written, `calls` by the variables in it."""

    text: str
    features: Mapping[str, Feature]
    calls: Mapping[str, str]
    places: Sequence[tuple[int, int]]

    def place(self, at: int) -> int:
        """Where in the condition as it was written a character of `text` comes from."""
        return max((each for each in self.places if each[0] <= at), default=(0, 0))[1]


def translate(condition: str, words: Vocabulary) -> Translation:
    """The condition, if it speaks of what there is.

    Raises:
        FaultyConditionError: it does not, or does what a rule may not.
    """
    return _Translator(condition, words).run()


class _Translator:
    def __init__(self, condition: str, words: Vocabulary) -> None:
        self._condition = condition
        self._words = words
        self._tokens = list(tokens(condition))
        self._next = 0
        self._names: dict[Feature, str] = {}
        self._calls: dict[str, str] = {}
        self._written: list[str] = []
        self._places: list[tuple[int, int]] = []
        self._length = self._depth = self._marks = self._choices = 0

    def run(self) -> Translation:
        while self._next < len(self._tokens):
            token = self._tokens[self._next]
            self._next += 1
            match token.kind:
                case "mark":
                    self._mark(token)
                case "number":
                    self._write(floating(token), token)
                case "word":
                    self._word(token)
                case "text":
                    self._write(token.text, token)
        features = {name: feature for feature, name in self._names.items()}
        return Translation(" ".join(self._written), features, self._calls, self._places)

    def _write(self, text: str, token: Token) -> None:
        self._places.append((self._length, token.at))
        self._written.append(text)
        self._length += len(text) + 1

    def _mark(self, token: Token) -> None:
        mark = token.text
        if mark not in _MARKS:
            why = _INSTEAD.get(mark, "a condition has no use for it")
            raise FaultyConditionError(f"{mark!r} at character {token.at + 1}: {why}", at=token.at)
        self._marks += 1
        self._choices += mark == "?"
        self._depth += (mark in {"(", "["}) - (mark in {")", "]"})
        for count, most, what in (
            (self._depth, MOST_DEPTH, "brackets in one another"),
            (self._choices, MOST_CHOICES, "choices with ?"),
            (self._marks, MOST_MARKS, "operators and brackets"),
        ):
            if count > most:
                raise FaultyConditionError(f"a condition has at most {most} {what}", at=token.at)
        self._write(mark, token)

    def _word(self, token: Token) -> None:
        is_call = self._peek() == "("
        is_method = self._next >= 2 and self._tokens[self._next - 2].text == "."
        if token.text in _MACROS:
            why = "goes through a list; a rule asks with count, dwell or crossed"
            raise FaultyConditionError(f"{token.text!r} {why}", at=token.at)
        if is_method:
            if token.text not in _TEXT_METHODS or not is_call:
                raise FaultyConditionError(
                    f"'.{token.text}' is not known; a text has {listed(sorted(_TEXT_METHODS))}", at=token.at
                )
            self._write(token.text, token)
        elif token.text in FUNCTIONS:
            self._call(token)
        elif token.text in _WORDS:
            self._write(token.text, token)
        else:
            close = nearest(token.text, list(FUNCTIONS))
            hint = f"did you mean {close}?" if close else f"there is {listed(list(FUNCTIONS))}"
            raise FaultyConditionError(f"{token.text!r} is nothing that can be asked; {hint}", at=token.at)

    def _call(self, token: Token) -> None:
        arguments = self._arguments(token)
        feature = FUNCTIONS[token.text].bind(Call(token.text, arguments, token.at, self._words))
        name = self._names.setdefault(feature, f"v{len(self._names)}")
        if len(self._names) > MOST_CALLS:
            raise FaultyConditionError(f"a condition asks at most {MOST_CALLS} things", at=token.at)
        self._calls.setdefault(name, self._condition[token.at : self._tokens[self._next - 1].end])
        self._write(name, token)

    def _arguments(self, called: Token) -> dict[str, Literal]:
        function = FUNCTIONS[called.text]
        if self._take().text != "(":
            raise FaultyConditionError(
                f"{called.text} is a question: {called.text}({function.by_place}…)", at=called.at
            )
        known = (function.by_place, *function.by_name)
        found: dict[str, Literal] = {}
        while self._peek() != ")":
            token = self._take()
            name = function.by_place
            if token.kind == "word" and self._peek() == "=":
                name = token.text
                self._take()
                token = self._take()
                if name not in known:
                    close = nearest(name, known)
                    hint = f"did you mean {close}?" if close else f"it takes {listed(known)}"
                    raise FaultyConditionError(f"{called.text} takes no {name}; {hint}", at=token.at)
            elif found:
                raise FaultyConditionError(
                    f"{called.text} takes one value without a name, the {name}, and it comes first",
                    at=token.at,
                )
            if name in found:
                raise FaultyConditionError(f"{called.text} is told the {name} twice", at=token.at)
            found[name] = self._literal(called, token)
            if self._peek() == ",":
                self._take()
            elif self._peek() != ")":
                raise FaultyConditionError(
                    f"a comma or ) is wanted after the {name} of {called.text}", at=token.end
                )
        self._take()
        return found

    def _literal(self, called: Token, token: Token) -> Literal:
        sign = 1.0
        at = token.at
        if token.text == "-":
            sign, token = -1.0, self._take()
        match token.kind:
            case "number":
                return Literal(sign * float(floating(token)), at)
            case "text" if token.text[0] in "\"'" and "\\" not in token.text and token.text[:3] not in _LONG:
                return Literal(token.text[1:-1], at)
            case "word" if token.text in {"true", "false"}:
                return Literal(token.text == "true", at)
        raise FaultyConditionError(
            f"{called.text} takes only fixed values, such as 'door', 2.5 or true; not {token.text}", at=at
        )

    def _peek(self) -> str:
        return self._tokens[self._next].text if self._next < len(self._tokens) else ""

    def _take(self) -> Token:
        if self._next >= len(self._tokens):
            raise FaultyConditionError("the condition ends too early", at=len(self._condition))
        self._next += 1
        return self._tokens[self._next - 1]


_LONG: Final = ('"""', "'''")


def floating(token: Token) -> str:
    """A number as CEL's double.

    Raises:
        FaultyConditionError: it is hexadecimal or said to be unsigned, or too large.

    >>> floating(Token("number", "80", 0)), floating(Token("number", "1e3", 0))
    ('80.0', '1000.0')
    """
    if token.text[-1] in "uU" or token.text[:2] in {"0x", "0X"}:
        raise FaultyConditionError(f"{token.text}: a plain decimal number is wanted", at=token.at)
    value = float(token.text)
    if not value < float("inf"):
        raise FaultyConditionError(f"{token.text} is too large", at=token.at)
    return repr(value)
