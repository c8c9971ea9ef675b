"""What is wanted of each node for itself, and the options behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.domain.errors import RefusedError
from agent.fleet.conditions import Before, Wanted
from agent.fleet.each import Own, read_own
from agent.fleet.gate import Gate
from agent.fleet.node_names import NodeName
from tests.fleet.simulated import detections, payloads

NODE = NodeName("plant", "nano-1")
OTHER = NodeName("plant", "nano-2")
WELL = frozenset({"door", "motor"})
OPTIONS = Wanted(
    newer_than={str(NODE): Before(5, WELL), str(OTHER): Before(9, WELL)},
    agent="0.1.0",
    policy_version=3,
    health="ok",
    max_error_rate=0.5,
    max_temperature_c=90,
)


def own(**keys: Any) -> Own:
    return read_own(json.dumps({str(NODE): keys}).encode())[NODE]


def test_what_the_file_does_not_say_is_as_the_options_say() -> None:
    assert own().over(OPTIONS, NODE) == OPTIONS


def test_what_the_file_says_goes_before_the_options() -> None:
    mine = own(
        agent="0.2.0",
        above_session=17,
        policy_at_least=42,
        max_temperature=85,
        max_error_rate=0,
        sources=["door"],
    )
    assert mine.over(OPTIONS, NODE) == Wanted(
        newer_than={str(NODE): Before(17, WELL)},
        agent="0.2.0",
        policy_at_least=42,
        health="ok",
        fresh_detection=True,
        sources=frozenset({"door"}),
        max_error_rate=0.0,
        max_temperature_c=85.0,
    )


def test_the_worst_health_follows_the_error_rate_as_it_does_with_the_options() -> None:
    assert own(max_error_rate=0.1).over(Wanted(), NODE).health == "degraded"
    assert own(max_temperature=80.5).over(Wanted(), NODE).health is None


@pytest.mark.parametrize(("sources", "met"), [(["motor", "gone"], True), (["door"], False), ([], True)])
def test_only_the_sources_of_the_file_have_to_be_heard(sources: list[str], met: bool) -> None:
    wanted = own(sources=sources).over(Wanted(newer_than={str(NODE): Before(0, WELL)}), NODE)
    gate = Gate(wanted={NODE: wanted}, began_s=0.0)
    for path, content in payloads().items():
        gate.take(NODE, path, json.dumps(content).encode(), {}, now_s=0.0)
    gate.take(NODE, "telemetry/motor", json.dumps(detections("motor")).encode(), {}, now_s=0.0)
    assert gate.verdicts(0.0)[NODE].met is met


def test_each_node_is_held_to_its_own() -> None:
    wanted = {NODE: own(above_session=1).over(Wanted(), NODE), OTHER: Wanted(agent="0.3.0")}
    gate = Gate(wanted=wanted, began_s=0.0)
    for node in wanted:
        for path, content in payloads(session=2).items():
            gate.take(node, path, json.dumps(content).encode(), {}, now_s=0.0)
    verdicts = gate.verdicts(0.0)
    assert [verdicts[node].met for node in (NODE, OTHER)] == [True, False]
    assert [list(verdicts[node].conditions) for node in (NODE, OTHER)] == [
        ["online", "session"],
        ["online", "agent"],
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is not JSON: EOF while parsing a value at line 1 column 0"),
        ('{"plant/nano-1": }', "it is not JSON: expected value at line 1 column 18"),
        ("[1]", "an object by SITE/NODE is wanted"),
        ('{"plant/nano-1": 3}', "plant/nano-1: an object is wanted"),
        ('{"plant/*": {}}', "'plant/*' is all nodes of a site; here each is named: SITE/NODE"),
        ('{"plant/nano-1": {}, "plant/nano-1": {}}', "'plant/nano-1' is there twice"),
        (
            '{"plant/nano-1": {"above_sesion": 1}}',
            "plant/nano-1: 'above_sesion' is no condition; did you mean 'above_session'?",
        ),
        (
            '{"plant/nano-1": {"x": 1}}',
            "plant/nano-1: 'x' is no condition; there are above_session, agent, max_error_rate, max_temp",
        ),
        (
            '{"plant/nano-1": {"above_session": "17"}}',
            'plant/nano-1: above_session: it should be a valid integer, and is "17"',
        ),
        (
            '{"plant/nano-1": {"above_session": true, "agent": 2}}',
            "plant/nano-1: agent: it should be a valid string, and is 2 (and 1 more)",
        ),
        (
            '{"plant/nano-1": {"agent": null}}',
            "plant/nano-1: agent: it should be left out where the options decide, and is null",
        ),
        (
            '{"plant/nano-1": {"max_error_rate": 2}}',
            "plant/nano-1: max_error_rate: it should be less than or equal to 1, and is 2",
        ),
        (
            '{"plant/nano-1": {"sources": "door"}}',
            "plant/nano-1: sources: a list of names is wanted",
        ),
        (
            '{"plant/nano-1": {"sources": ["door", 3]}}',
            "plant/nano-1: sources: 1: it should be a valid string, and is 3",
        ),
        ('{"plant/nano-1": {"sources": null}}', "sources: it should be left out where the options decide"),
        ('{"plant/nano-1": {"agent": ""}}', 'agent: it should have at least 1 character, and is ""'),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(text: str, says: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_own(text.encode())
    assert says in caught.value.message


@pytest.mark.parametrize("text", [b"\xff", b"[" * 10_000, b'{"plant/nano-1": {"max_temperature": NaN}}'])
def test_no_text_breaks_the_reader(text: bytes) -> None:
    with pytest.raises(RefusedError):
        read_own(text)
