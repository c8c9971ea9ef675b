"""Conditions as they are written, and what becomes of them: CEL over plain values, or a refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.contract.policy import Policy
from agent.contract.rules import Hours
from agent.contract.translation import MOST_CALLS, MOST_DEPTH, MOST_MARKS, translate
from agent.contract.vocabulary import CameraWords, Vocabulary, silence_of, vocabulary_of
from agent.domain.ids import SourceName
from agent.domain.rules.features import (
    AgeOf,
    Count,
    Crossed,
    Dwell,
    Feature,
    HealthOf,
    IsAnomalous,
    LastReading,
    LastScore,
)
from agent.domain.rules.prepared import FaultyConditionError

DOOR, YARD, MOTOR = SourceName("door"), SourceName("yard"), SourceName("motor")


WORDS = Vocabulary(
    cameras={
        DOOR: CameraWords(
            zones=frozenset({"hall", "step"}),
            excluding=frozenset({"screen"}),
            lines=frozenset({"sill"}),
            is_tracked=True,
        ),
        YARD: CameraWords(
            zones=frozenset({"hall"}),
            excluding=frozenset(),
            lines=frozenset(),
            is_tracked=False,
        ),
    },
    sensors=frozenset({MOTOR}),
)


@pytest.mark.parametrize(
    ("condition", "feature"),
    [
        ("count() > 1", Count((DOOR, YARD))),
        ("count('person') > 1", Count((DOOR, YARD), "person")),
        ('count(class="person", source="yard") > 1', Count((YARD,), "person")),
        ('count("person", zone="hall") > 1', Count((DOOR, YARD), "person", "hall")),
        ('count(zone="step", min_confidence=0.75) > 1', Count((DOOR,), None, "step", 0.75)),
        ('count("dog", source="door", moving=false) > 1', Count((DOOR,), "dog", moving=False)),
        ('dwell("person", zone="step") > 1', Dwell((DOOR,), "step", "person")),
        ('crossed("sill") > 0', Crossed((DOOR,), "sill")),
        (
            'crossed("sill", class="dog", direction="forward", within_s=60) > 0',
            Crossed((DOOR,), "sill", "dog", "forward", 60_000_000_000),
        ),
        ('reading("motor/bearing temperature") > 80', LastReading(MOTOR, "bearing temperature")),
        ('score("motor") > 0.5', LastScore(MOTOR)),
        ('anomalous("motor")', IsAnomalous(MOTOR)),
        ('health("door") != "ok"', HealthOf(DOOR)),
        ('age("motor") > 1', AgeOf(MOTOR)),
    ],
)
def test_a_call_becomes_a_question(condition: str, feature: Feature) -> None:
    translation = translate(condition, WORDS)
    assert translation.features == {"v0": feature}
    assert translation.text.startswith("v0")
    assert condition.startswith(translation.calls["v0"])


def test_equal_questions_are_asked_once_and_numbers_become_floating() -> None:
    translation = translate("count() > 3 && count( ) / 2 < 1e3 // as many\n || true", WORDS)
    assert translation.text == "v0 > 3.0 && v0 / 2.0 < 1000.0 || true"
    assert translation.calls == {"v0": "count()"}


@pytest.mark.parametrize(
    ("condition", "words", "at"),
    [
        ("size(objects) > 3", "'size' is nothing that can be asked", 0),
        ("cuont() > 3", "did you mean count?", 0),
        ("count > 3", "count is a question", 0),
        ("true && [1, 2].exists(x, x > 1)", "'exists' goes through a list", 15),
        ("count().map(x, x)", "'map' goes through a list", 8),
        ("'a'.matches('b')", "'.matches' is not known", 4),
        ("count(zone='hal') > 1", "did you mean 'hall'?", 11),
        ("count(zone='screen') > 1", "leaves out what stands in it", 11),
        ("count(zone='step', source='yard') > 1", "there is no zone 'step'", 11),
        ("count(source='motor') > 1", "there is no camera 'motor'", 13),
        ("count(colour='red') > 1", "count takes no colour", 13),
        ("count('dog', 'person') > 1", "takes one value without a name", 13),
        ("count('dog', class='dog') > 1", "is told the class twice", 19),
        ("count(5) > 1", "class of count is a text, not 5.0", 6),
        ("count(min_confidence='x') > 1", "min_confidence of count is a number", 21),
        ("count(min_confidence=7) > 1", "min_confidence is a fraction from 0 to 1, and nothing is ever 7", 0),
        ("count(count()) > 1", "takes only fixed values", 6),
        ("count('a' 'b') > 1", "a comma or ) is wanted", 9),
        ("count('a\\n') > 1", "takes only fixed values", 6),
        ("count(", "the condition ends too early", 6),
        ("dwell('person') > 1", "dwell wants to know the zone", 0),
        ("dwell(zone='hall') > 1", "the camera yard has no `tracking`", 0),
        ("count(source='yard', moving=true) > 1", "the camera yard has no `tracking`", 0),
        ("crossed('gate') > 1", "there is no line 'gate'; there is sill", 8),
        ("crossed('sill', direction='in') > 1", "there is no direction 'in'", 26),
        ("crossed('sill', within_s=0) > 1", "within_s is above 0", 0),
        ("reading('door/x') > 1", "there is no sensor 'door'", 8),
        ("reading('motor') > 1", "lacks the name", 0),
        ("score('door') > 1", "there is no sensor 'door'", 6),
        ("age('gate') > 1", "there is no source 'gate'", 4),
        ("age('door') = 1", "two are wanted to compare", 12),
        ("count() % 2 == 0", "'%' at character 9", 8),
        ("{'a': 1}", "a condition has no use for it", 0),
        ("1u > 0", "a plain decimal number is wanted", 0),
        ("0x1F > 0", "a plain decimal number is wanted", 0),
        ("1e999 > 0", "too large", 0),
        ("(" * (MOST_DEPTH + 1) + "true" + ")" * (MOST_DEPTH + 1), "brackets in one another", MOST_DEPTH),
        ("!" * (MOST_MARKS + 1) + "true", "operators and brackets", MOST_MARKS),
        ("true ? true : " * 9 + "true", "choices with ?", 117),
        (
            " && ".join(f"age('door') > 0 || crossed('sill', within_s={n}) > 0" for n in range(1, 40)),
            f"asks at most {MOST_CALLS} things",
            None,
        ),
    ],
)
def test_what_a_rule_may_not_do_is_refused_with_its_place(condition: str, words: str, at: int | None) -> None:
    with pytest.raises(FaultyConditionError) as refused:
        translate(condition, WORDS)
    assert words in refused.value.message
    if at is not None:
        assert refused.value.at == at


def test_a_place_is_found_again_in_what_was_written() -> None:
    condition = "count('person')   >\n  count('dog')"
    translation = translate(condition, WORDS)
    assert translation.text == "v0 > v1"
    assert [condition[translation.place(at) :][:5] for at in (0, 3, 5)] == ["count", ">\n  c", "count"]


PIECES = st.sampled_from(
    [
        *("count", "dwell", "crossed", "reading", "health", "(", ")", "[", "]", "{", "}", ",", ".", "?", ":"),
        *("'person'", '"hall"', "zone", "source", "=", "==", "&&", "||", "!", "-", "+", "1", "2.5", "1e9"),
        *("true", "in", "map", "x", "'", '"""', "//", "\n", "é", "\\", "v0", "\x00", "=~", "#"),
    ]
)


@given(st.lists(PIECES, max_size=40).map(" ".join) | st.text(max_size=60))
@example("count(zone=")
@example("count(-")
@example("'''")
def test_any_text_is_translated_or_refused(condition: str) -> None:
    place: int | None = 0
    try:
        translation = translate(condition, WORDS)
    except FaultyConditionError as error:
        place = error.at
    else:
        assert set(translation.features) == set(translation.calls)
    assert place is None or 0 <= place <= len(condition)


def test_the_vocabulary_is_that_of_the_policy() -> None:
    triangle = {"polygon": [[0, 0], [1, 0], [1, 1]]}
    policy = Policy.model_validate(
        {
            "models": {"m": {"file": "m.onnx"}},
            "sources": {
                "door": {
                    "kind": "synthetic",
                    "model": "m",
                    "fps": 0.01,
                    "zones": {"in": triangle, "out": {**triangle, "mode": "exclude"}},
                },
                "slides": {"kind": "images", "path": "slides", "every_s": 60},
                "board": {"kind": "system", "every_s": 5},
            },
        }
    )
    words = vocabulary_of(policy)
    assert words.sensors == {"board"}
    assert words.cameras[DOOR].zones == {"in"}
    assert words.cameras[DOOR].excluding == {"out"}
    assert not words.cameras[DOOR].is_tracked
    silence = silence_of(policy)
    assert [silence.after_ns(SourceName(name)) / 1e9 for name in ("door", "slides", "board", "other")] == [
        300,
        180,
        30,
        30,
    ]


def test_hours_read_back_as_they_were_written() -> None:
    hours = Hours.model_validate(
        {"from": "22:00", "to": "06:00", "time_zone": "Europe/Berlin", "days": ["fri"]}
    )
    written = hours.model_dump(mode="json")
    assert written == {"from": "22:00", "to": "06:00", "time_zone": "Europe/Berlin", "days": ["fri"]}
    assert Hours.model_validate(written) == hours
    assert Hours.model_validate_json(hours.model_dump_json()) == hours


@pytest.mark.parametrize(
    "wrong",
    [{"time_zone": "Europe/Berln"}, {"time_zone": "../x"}, {"to": "24:00"}, {"from": "7:00"}, {"days": []}],
)
def test_hours_that_no_clock_shows_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Hours.model_validate({"from": "08:00", "to": "18:00", **wrong})
