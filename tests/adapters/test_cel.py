"""Conditions in CEL: what compiles, what it says, what it may cost, and what we rely on."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.adapters.cel import CelRuleCompiler
from agent.adapters.cel.compiler import MOST_S
from agent.domain.errors import RefusedError
from agent.domain.rules.features import Scalar
from agent.domain.rules.prepared import Expression, FaultyConditionError

SAMPLES: Final[dict[str, tuple[Scalar, ...]]] = {
    "v0": (0.0, 1.0),
    "v1": (False, True),
    "v2": ("ok", "failed"),
}


def compiled(text: str) -> Expression:
    return CelRuleCompiler().compile(text, SAMPLES)


@pytest.mark.parametrize(
    ("text", "values", "wanted"),
    [
        ("v0 > 0.5", {"v0": 1.0}, True),
        ("v0 > 0.5 && !v1", {"v0": 1.0, "v1": True}, False),
        ('v2 in ["ok", "waiting"]', {"v2": "waiting"}, True),
        ('v2.startsWith("fa")', {"v2": "failed"}, True),
        ("v1 ? v0 > 1.0 : v0 < 1.0", {"v0": 0.0, "v1": False}, True),
        ("v0 / 0.0 > 1.0 || v0 <= 0.0", {"v0": 1.0}, True),
        ("true", {}, True),
    ],
)
def test_it_says_whether_a_condition_holds(text: str, values: dict[str, Scalar], wanted: bool) -> None:
    assert compiled(text)(values) is wanted


@pytest.mark.parametrize(
    ("text", "values", "wanted"),
    [
        ("v1 || v0 > 1.0", {"v1": True}, True),
        ("v0 > 1.0 || v1", {"v1": True}, True),
        ("v1 && v0 > 1.0", {"v1": False}, False),
        ("v0 > 1.0 && v1", {"v1": False}, False),
    ],
)
def test_what_is_not_known_does_not_matter_where_the_rest_decides(
    text: str, values: dict[str, Scalar], wanted: bool
) -> None:
    assert compiled(text)(values) is wanted


@pytest.mark.parametrize("text", ["v0 > 1.0", "v1 && v0 > 1.0", "v0 > 1.0 || v1"])
def test_what_is_not_known_and_matters_is_told(text: str) -> None:
    with pytest.raises(RefusedError, match="not known"):
        compiled(text)({"v1": text.startswith("v1")})


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        ("v0 >", "this is no expression in CEL: mismatched input the end", 4),
        ("v0 > 1.0 v1", "extraneous input 'v1'", 9),
        ("v0 + 1.0", "it gives 1.0; a condition says yes or no", None),
        ("v2", "it gives 'ok'", None),
        ("v0 > v2", "its values do not fit together", None),
        ("v0 && v1", "its values do not fit together", None),
        ("nothing > 1.0", "not known", None),
        ("[v0][3] > 1.0", "", None),
    ],
)
def test_what_cannot_serve_is_refused_when_it_is_compiled(text: str, words: str, at: int | None) -> None:
    with pytest.raises(FaultyConditionError) as refused:
        compiled(text)
    assert words in refused.value.message
    assert refused.value.at == at


def test_what_takes_too_long_is_refused() -> None:
    # Our own translation leaves no lists to go through; this is the second fence.
    numbers = "[" + ",".join(["1.0"] * 400) + "]"
    slow = f"{numbers}.all(x, {numbers}.all(y, x <= y)) || v1"
    with pytest.raises(FaultyConditionError, match=f"at most {MOST_S * 1e3:g} ms are allowed"):
        compiled(slow)


def test_what_was_compiled_in_one_thread_serves_in_another() -> None:
    made: list[Expression] = []
    thread = threading.Thread(target=lambda: made.append(compiled("v0 > 0.5")))
    thread.start()
    thread.join()
    assert made[0]({"v0": 1.0}) is True


PIECES = st.sampled_from(
    [
        *("v0", "v1", "v2", "1.0", "0.0", "1e308", "'a'", "true", "(", ")", "[", "]", "!", "-", "?", ":"),
        *(",", "&&", "||", "==", "!=", "<", ">=", "+", "*", "/", " in ", ".contains", ".startsWith"),
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=30).map(" ".join))
def test_any_expression_is_compiled_or_refused(text: str) -> None:
    """The interpreter does not panic, and raises nothing that we do not know of."""
    try:
        expression = compiled(text)
    except FaultyConditionError:
        return
    tries: tuple[dict[str, Scalar], ...] = (
        {"v0": 1e308, "v1": True, "v2": ""},
        {"v0": float("nan")},
        {},
    )
    for values in tries:
        try:
            expression(values)
        except RefusedError:
            continue


def test_the_interpreter_is_loaded_without_its_command_line() -> None:
    """A canary: `import cel` would load a command with rich and prompt_toolkit, of 24 MB."""
    program = (
        "import sys\n"
        "from agent.adapters.cel import CelRuleCompiler\n"
        "assert 'cel' not in sys.modules\n"
        "CelRuleCompiler().compile('v0 > 1.0', {'v0': (1.0,)})\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "unwanted = {'typer', 'rich', 'prompt_toolkit', 'pygments', 'click'}\n"
        "print(sorted(loaded & unwanted), 'cel.cli' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.strip() == "[] False"
