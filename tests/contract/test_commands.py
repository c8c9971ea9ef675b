"""Commands as they come from a broker: read, or refused with a code and a place."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.contract.command_args import ARGS
from agent.contract.commands import Command, read_command
from agent.contract.problems import FaultyDocumentError
from agent.contract.topics import CommandTopic, Topics
from agent.domain.errors import Code

TOPIC = CommandTopic("replay", "a-1")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ping": {},
    "patch-config": {"version": 7, "patch": {"sources": {"door": None}}},
    "snapshot": {"source": "door"},
    "restart-source": {"source": "door"},
    "replay": {"stream": "detections/door", "epoch": "01JC", "from": 1, "to": 5},
    "log-level": {"level": "debug"},
    "diagnose": {},
    "explain": {"source": "door"},
    "what-if": {"patch": {}},
}


def envelope(**more: Any) -> dict[str, Any]:
    return {"v": 1, "op": "replay", "id": "a-1", "args": ARGUMENTS["replay"], **more}


def read(content: object, topic: CommandTopic = TOPIC) -> Command:
    return read_command(json.dumps(content).encode(), topic)


@pytest.mark.parametrize("op", ARGS)
def test_every_operation_is_read(op: str) -> None:
    command = read(
        {"v": 1, "op": op, "id": "x", "args": ARGUMENTS[op], "issuer": "ops", "later": 1},
        CommandTopic(op, "x"),
    )
    assert (command.op, command.id, command.issuer) == (op, "x", "ops")
    assert command.args.items() >= ARGUMENTS[op].items()


def test_what_is_left_out_is_as_documented() -> None:
    command = read({"v": 1, "op": "ping", "id": "x"}, CommandTopic("ping", "x"))
    assert command == Command("ping", "x", {}, "unnamed", None)
    assert not command.is_expired(1e12)


def test_its_time_is_judged_to_the_second() -> None:
    command = read(envelope(expires_at="2026-11-23T17:57:01+01:00"))
    assert command.expires_at_s == 1_795_453_021
    assert not command.is_expired(1_795_453_020.9)
    assert command.is_expired(1_795_453_021)


@pytest.mark.parametrize(
    ("content", "code", "path"),
    [
        ([], Code.SCHEMA, ""),
        (envelope(v=2), Code.VERSION, "/v"),
        (envelope(v="1"), Code.VERSION, "/v"),
        (envelope(op="ping"), Code.SCHEMA, "/op"),
        (envelope(id="a-2"), Code.SCHEMA, "/id"),
        (envelope(id="a" * 65), Code.SCHEMA, "/id"),
        (envelope(id="a\n"), Code.SCHEMA, "/id"),
        (envelope(issuer=""), Code.SCHEMA, "/issuer"),
        (envelope(expires_at="tomorrow"), Code.SCHEMA, "/expires_at"),
        (envelope(expires_at="2026-11-23T16:57:01"), Code.SCHEMA, "/expires_at"),
        (envelope(args=[]), Code.SCHEMA, "/args"),
        (envelope(args={}), Code.SCHEMA, "/args/epoch"),
        (envelope(args={**ARGUMENTS["replay"], "to": 0}), Code.SCHEMA, "/args"),
        (envelope(args={**ARGUMENTS["replay"], "from": -1}), Code.SCHEMA, "/args/from"),
        (envelope(args={**ARGUMENTS["replay"], "from": "1"}), Code.SCHEMA, "/args/from"),
        (
            envelope(args={**ARGUMENTS["replay"], "to": 2**53 - 1, "stream": "state"}),
            Code.SCHEMA,
            "/args/stream",
        ),
        (envelope(args={**ARGUMENTS["replay"], "stream": "detections/../x"}), Code.SCHEMA, "/args/stream"),
        (envelope(args={**ARGUMENTS["replay"], "first": 1}), None, None),
    ],
)
def test_what_is_wrong_is_told_with_its_place(content: object, code: Code | None, path: str | None) -> None:
    if code is None:
        assert "first" not in read(content).args
        return
    with pytest.raises(FaultyDocumentError) as refused:
        read(content)
    assert (refused.value.code, refused.value.path) == (code, path)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", Code.JSON),
        (b"\xff", Code.JSON),
        (b'{"v":1,"v":1}', Code.JSON),
        (b'{"v":NaN}', Code.JSON),
        (b'{"v":1e999}', Code.JSON),
        (b'{"v":' + b"9" * 5_000 + b"}", Code.JSON),
        (b'{"v":"\\ud800"}', Code.JSON),
        (b"[" * 65_000, Code.DEPTH),
        (b'{"a":' * 17 + b"1" + b"}" * 17, Code.DEPTH),
        (b" " * 65_537, Code.SIZE),
        (b"[" + b",".join([b"1"] * 30_000) + b"]", Code.SIZE),
    ],
)
def test_text_beyond_the_limits_is_refused(payload: bytes, code: Code) -> None:
    with pytest.raises(FaultyDocumentError) as refused:
        read_command(payload, TOPIC)
    assert refused.value.code == code


def test_an_unknown_operation_is_told_with_what_was_probably_meant() -> None:
    with pytest.raises(FaultyDocumentError) as refused:
        read({"v": 1, "op": "snapshots", "id": "a"}, CommandTopic("snapshots", "a"))
    assert refused.value.code == Code.UNKNOWN_OP
    assert "did you mean 'snapshot'?" in str(refused.value)


# The first text that Hypothesis makes takes seconds where its tables are not made yet.
SLOWLY = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(["v", "op", "id", "args", "issued_at", "expires_at", "issuer", "more"])


@SLOWLY
@given(changes=st.dictionaries(keys, json_values, max_size=4), op=st.sampled_from(list(ARGS)))
def test_any_values_are_read_or_refused_with_a_code(changes: dict[str, Any], op: str) -> None:
    content = {"v": 1, "op": op, "id": "a", "args": ARGUMENTS[op], **changes}
    _read_or_refuse(json.dumps(content).encode(), CommandTopic(op, "a"))


@SLOWLY
@given(
    args=st.dictionaries(
        st.sampled_from([*{key for each in ARGUMENTS.values() for key in each}]), json_values
    ),
    op=st.sampled_from(list(ARGS)),
)
def test_any_arguments_are_read_or_refused_with_a_code(args: dict[str, Any], op: str) -> None:
    _read_or_refuse(json.dumps({"v": 1, "op": op, "id": "a", "args": args}).encode(), CommandTopic(op, "a"))


@given(year=st.integers(1, 9999), zone=st.sampled_from(["Z", "+23:59", "-23:59"]))
def test_any_time_with_a_zone_is_a_time(year: int, zone: str) -> None:
    for day in ("01-01T00:00:00", "12-31T23:59:59"):
        assert read(envelope(expires_at=f"{year:04}-{day}{zone}")).expires_at_s is not None


def test_bytes_that_were_changed_are_read_or_refused_with_a_code() -> None:
    random = Random(20261123)
    whole = json.dumps(envelope(issued_at="2026-11-23T16:57:01Z", expires_at="2026-11-23T16:58:01Z")).encode()
    for _ in range(3_000):
        payload = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            place = random.randrange(len(payload))
            match random.randrange(3):
                case 0:
                    payload[place] = random.randrange(256)
                case 1:
                    del payload[place]
                case _:
                    payload[place:place] = random.choice(
                        [b"{", b"[", b'"', b"\\", b"\xf0", b"1e9", b"null", b","]
                    )
        _read_or_refuse(bytes(payload), TOPIC)


def _read_or_refuse(payload: bytes, topic: CommandTopic) -> None:
    try:
        command = read_command(payload, topic)
    except FaultyDocumentError as error:
        refused = error
    else:
        assert (command.op, command.id) == (topic.op, topic.id)
        json.dumps(command.args, allow_nan=False)
        return
    assert refused.code in Code
    assert refused.problems[0].message


TOPICS = Topics("plant", "n1")


@SLOWLY
@given(op=st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,31}\Z"), command_id=st.from_regex(r"\A[A-Za-z0-9-]{1,64}\Z"))
def test_a_command_s_topic_is_taken_apart(op: str, command_id: str) -> None:
    assert TOPICS.command(TOPICS.below(f"command/{op}/{command_id}")) == CommandTopic(op, command_id)


@SLOWLY
@given(text=st.text(max_size=40))
def test_any_other_topic_is_none(text: str) -> None:
    found = TOPICS.command(TOPICS.below(f"command/{text}"))
    assert found is None or f"{found.op}/{found.id}" == text
    assert TOPICS.command(text) is None
    assert TOPICS.command(f"edge/v1/plant/other/command/ping/{text}") is None
