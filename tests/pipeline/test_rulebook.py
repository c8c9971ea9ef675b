"""All rules of a policy, compiled, or what is wrong with each."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.adapters.cel import CelRuleCompiler
from agent.contract.policy import Policy
from agent.contract.rules import Rule
from agent.domain.errors import Code
from agent.domain.rules.questions import MOST_QUESTIONS
from agent.pipeline.rulebook import RuleRefusedError, prepare, prepare_what_can
from benchmarks.rules_at_their_limit import at_their_limit

SOURCES = {
    "door": {"kind": "synthetic", "zones": {"hall": {"polygon": [[0, 0], [1, 0], [1, 1]]}}},
    "motor": {"kind": "vibration"},
}


def policy(**conditions: str) -> Policy:
    """With rules whose conditions may be anything that is a text."""
    plain = Policy.model_validate({"sources": SOURCES})
    rules = {name: Rule.model_construct(when=condition) for name, condition in conditions.items()}
    return plain.model_copy(update={"rules": rules})


def test_the_first_rule_that_cannot_serve_is_refused_by_name() -> None:
    faulty = policy(good="count() > 1", bad='count("person" > 1', worse="age(1)")
    with pytest.raises(RuleRefusedError) as refused:
        prepare(faulty, compiler=CelRuleCompiler())
    error = refused.value
    assert (error.name, error.key, error.code) == ("bad", "when", Code.SCHEMA)
    assert error.path == "/policy/rules/bad/when"
    assert error.message.startswith("rule bad, when: ")


def test_what_can_serve_does_and_all_else_is_told() -> None:
    prepared, refused = prepare_what_can(
        policy(a="count() >", b="count() > 1", c="x"), compiler=CelRuleCompiler()
    )
    assert list(prepared.book.rules) == ["b"]
    assert [error.name for error in refused] == ["a", "c"]
    assert prepared.streams == {"door": "detections/door", "motor": "telemetry/motor"}


def test_a_place_in_the_condition_is_that_of_what_was_written() -> None:
    written = "count('person')   >   2 3"
    _, (error,) = prepare_what_can(policy(a=written), compiler=CelRuleCompiler())
    assert error.at == written.index("3")


def test_rules_that_are_stated_alike_are_the_same() -> None:
    one, other, third = (
        prepare(policy(a=condition), compiler=CelRuleCompiler()).book.rules["a"].identity
        for condition in ("count() > 1", "count() > 1", "count() > 2")
    )
    assert one == other != third


HOSTILE = {
    "brackets": "(" * 999 + "true" + ")" * 999,
    "lists": "[" * 900 + "1" + "]" * 900,
    "choices": "true ? true : " * 140 + "true",
    "signs": "-" * 1990 + "1 > 0",
    "nots": "!" * 1990 + "true",
    "sums": " + ".join(["1"] * 490) + " > 0",
    "ors": " || ".join(["count() > 1"] * 130),
    "texts": " + ".join(["'a'"] * 330) + " == 'b'",
    "members": "count()" + ".a" * 900,
    "calls": "count(" * 300,
    "comprehensions": "[1].all(a, " * 100 + "true" + ")" * 100,
    "regex": "'" + "a" * 900 + "'.matches('(a+)+$')",
    "quotes": "'" * 1999,
    "number": "9" * 1990 + " > 0",
    "nul": "count() > 0 \x00",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_built_to_run_for_ever_is_refused_at_once(kind: str) -> None:
    began_s = time.process_time()
    _, refused = prepare_what_can(policy(a=HOSTILE[kind]), compiler=CelRuleCompiler())
    assert len(refused) == 1
    assert time.process_time() - began_s < 0.5


LINED = {
    "door": {"kind": "synthetic", "tracking": {}, "lines": {"gate": {"points": [[0, 0], [1, 1]]}}},
}


def asking(questions: range) -> str:
    return " || ".join(f'crossed("gate", within_s={1000 + number}) > 9' for number in questions)


def test_all_rules_together_ask_only_so_much_and_who_asks_more_is_refused_by_name() -> None:
    conditions = {f"r{place}": asking(range(place, place + 20)) for place in range(0, MOST_QUESTIONS, 20)}
    full = policy(**conditions, again=asking(range(30))).model_copy(
        update={"sources": Policy.model_validate({"sources": LINED}).sources}
    )
    assert len(prepare(full, compiler=CelRuleCompiler()).book.rules) == len(full.rules)
    more = {**full.rules, "more": Rule.model_construct(when="true", until=asking(range(990, 991)))}
    with pytest.raises(RuleRefusedError, match="more than 500 different questions") as refused:
        prepare(full.model_copy(update={"rules": more}), compiler=CelRuleCompiler())
    assert (refused.value.name, refused.value.path) == ("more", "/policy/rules/more/until")


def test_what_a_policy_of_hostile_questions_costs_is_bounded() -> None:
    figures = at_their_limit(busy_s=600)
    assert figures["limit_ms_per_frame"] < 10


PIECES = st.sampled_from(
    [
        *(
            "count()",
            'count("person", zone="hall")',
            'reading("motor/x")',
            'anomalous("motor")',
            'health("door")',
        ),
        *(
            "(",
            ")",
            "[",
            "]",
            ",",
            "?",
            ":",
            "!",
            "-",
            "+",
            "*",
            "/",
            "<",
            ">=",
            "==",
            "&&",
            "||",
            " in ",
            ".",
        ),
        *("1", "2.5", "'ok'", "true", "false", "startsWith", "contains", "count", "\n", "//", "=", "é"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=40).map(" ".join) | st.text(min_size=1, max_size=200))
def test_any_condition_serves_or_is_refused(condition: str) -> None:
    prepared, refused = prepare_what_can(policy(a=condition), compiler=CelRuleCompiler())
    assert len(prepared.book.rules) + len(refused) == 1
    for error in refused:
        assert error.at is None or 0 <= error.at <= len(condition)
