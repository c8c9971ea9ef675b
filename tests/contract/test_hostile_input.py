"""What is sent to do harm, against everything that reads: each is refused with its code, and costs little."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.commands import read_command
from agent.contract.documents import MAX_BYTES
from agent.contract.json_text import read_json
from agent.contract.policy_text import parse_policy
from agent.contract.problems import MOST_PROBLEMS, FaultyDocumentError
from agent.contract.signed import read_header
from agent.contract.stored import read_ack
from agent.contract.topics import CommandTopic
from agent.domain.errors import Code, NanofleetError, RefusedError

PING: Final = CommandTopic("ping", "a")

Read = Callable[[bytes], object]

READERS: Final[dict[str, Read]] = {
    "policy": lambda payload: parse_policy(read_json(payload)),
    "command": lambda payload: read_command(payload, PING),
    "ack": read_ack,
}


def filled(head: str, unit: str, tail: str = "") -> bytes:
    """As many of `unit` as the limit allows."""
    return (head + unit * ((MAX_BYTES - len(head) - len(tail)) // len(unit)) + tail).encode()


def policy(**sections: Any) -> bytes:
    document = {"v": 1, "version": 1, "policy": sections}
    return json.dumps(document, separators=(",", ":")).encode()


def command(args: Any, op: str = "ping", **more: Any) -> bytes:
    return json.dumps({"v": 1, "op": op, "id": "a", "args": args, **more}).encode()


def camera(**keys: Any) -> bytes:
    return policy(sources={"door": {"kind": "rtsp", "url": "rtsp://10.0.0.1/", **keys}})


NO_DOCUMENT: Final[dict[str, tuple[bytes, Code]]] = {
    "ten megabytes": (b" " * (10 << 20), Code.SIZE),
    "one byte too many": (b" " * (MAX_BYTES + 1), Code.SIZE),
    "lists in lists": (b"[" * 17 + b"]" * 17, Code.DEPTH),
    "lists in lists without an end": (b"[" * MAX_BYTES, Code.DEPTH),
    "mappings in mappings": (b'{"a":' * 17 + b"1" + b"}" * 17, Code.DEPTH),
    "depth behind a text that does not close": (b'"' + b"[" * 60_000, Code.JSON),
    "more values than are sensible": (filled("[", "0,", "0]"), Code.SIZE),
    "NaN": (b'{"v": NaN}', Code.JSON),
    "Infinity": (b'{"v": -Infinity}', Code.JSON),
    "a number beyond all": (b'{"v": 1e999}', Code.JSON),
    "a whole number that others read otherwise": (b'{"v": 9007199254740993}', Code.JSON),
    "a number of a thousand digits": (b'{"v": ' + b"9" * 1_000 + b"}", Code.JSON),
    "a number as long as the document": (b"9" * MAX_BYTES, Code.JSON),
    "not UTF-8": (b'{"v": "\xff"}', Code.JSON),
    "half a surrogate pair": (b'{"v": "\\ud800"}', Code.JSON),
    "half a surrogate pair, as bytes": (b'{"v": "\xed\xa0\x80"}', Code.JSON),
    "UTF-16": ('{"v": 1}'.encode("utf-16"), Code.JSON),
    "binary": (bytes(range(256)), Code.JSON),
    "nothing but space": (b" \n ", Code.JSON),
    "half a document": (b'{"v": 1, "policy": {', Code.JSON),
    "two documents": (b'{"v": 1}{"v": 1}', Code.JSON),
    "quotes that close nothing": (filled("[", '\\"'), Code.JSON),
}
"""No reader takes these, whatever it reads."""

SMALLER: Final = {"ack": 256}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", NO_DOCUMENT)
def test_what_is_no_document_is_refused_by_every_reader(reader: str, what: str) -> None:
    payload, code = NO_DOCUMENT[what]
    with pytest.raises(FaultyDocumentError) as caught:
        READERS[reader](payload)
    too_large_here = len(payload) > SMALLER.get(reader, MAX_BYTES)
    assert caught.value.code == (Code.SIZE if too_large_here else code)


WRONG: Final[dict[str, tuple[str, bytes, Code, str]]] = {
    "a list as a policy": ("policy", b"[]", Code.SCHEMA, ""),
    "a policy of a later version": ("policy", b'{"v": 2, "version": 1, "policy": {}}', Code.VERSION, "/v"),
    "a version in quotes": ("policy", b'{"v": "1", "version": 1, "policy": {}}', Code.VERSION, "/v"),
    "true as a version": ("policy", b'{"v": true, "version": 1, "policy": {}}', Code.VERSION, "/v"),
    "a fraction as a version": ("policy", b'{"v": 1, "version": 1.5, "policy": {}}', Code.SCHEMA, "/version"),
    "a version below zero": ("policy", b'{"v": 1, "version": -1, "policy": {}}', Code.SCHEMA, "/version"),
    "a key twice": ("policy", b'{"v": 1, "v": 1, "version": 1, "policy": {}}', Code.JSON, "/v"),
    "a key twice, written otherwise": (
        *("policy", b'{"v": 1, "\\u0076": 1, "version": 1, "policy": {}}'),
        *(Code.JSON, "/v"),
    ),
    "a key that is not known": ("policy", policy(sourcez={}), Code.SCHEMA, "/policy/sourcez"),
    "a list in the place of sources": ("policy", policy(sources=[]), Code.SCHEMA, "/policy/sources"),
    "a path that climbs": (
        *("policy", policy(models={"m": {"file": "../../etc/passwd"}})),
        *(Code.SCHEMA, "/policy/models/m/file"),
    ),
    "a path from the root": (
        *("policy", policy(models={"m": {"file": "/etc/passwd"}})),
        *(Code.SCHEMA, "/policy/models/m/file"),
    ),
    "a path with NUL": (
        "policy",
        policy(models={"m": {"file": "a\0b"}}),
        Code.SCHEMA,
        "/policy/models/m/file",
    ),
    "a scheme of no camera": (
        "policy",
        camera(url="file:///etc/passwd"),
        Code.SCHEMA,
        "/policy/sources/door/url",
    ),
    "a scheme that FFmpeg knows": (
        "policy",
        camera(url="concat:a|b"),
        Code.SCHEMA,
        "/policy/sources/door/url",
    ),
    "a password in an address": (
        *("policy", camera(url="rtsp://me:secret@10.0.0.1/")),
        *(Code.SCHEMA, "/policy/sources/door/url"),
    ),
    "a device that is none": (
        *("policy", policy(sources={"door": {"kind": "v4l2", "device": "../sda"}})),
        *(Code.SCHEMA, "/policy/sources/door/device"),
    ),
    "a rate beyond all": ("policy", camera(fps=1e308), Code.SCHEMA, "/policy/sources/door/fps"),
    "a rate of nothing": ("policy", camera(fps=0), Code.SCHEMA, "/policy/sources/door/fps"),
    "a condition that is too long": (
        *("policy", policy(rules={"r": {"when": "true" + " " * 2_000}})),
        *(Code.SCHEMA, "/policy/rules/r/when"),
    ),
    "a time zone that climbs": (
        "policy",
        policy(
            rules={
                "r": {
                    "when": "1 > 0",
                    "schedule": {"from": "08:00", "to": "09:00", "time_zone": "../../etc/passwd"},
                }
            }
        ),
        Code.SCHEMA,
        "/policy/rules/r/schedule/time_zone",
    ),
    "a command of a later version": ("command", command({}, v=2), Code.VERSION, "/v"),
    "a command for another topic": ("command", command({}, id="b"), Code.SCHEMA, "/id"),
    "an operation that nobody knows": ("command", command({}, op="rm-rf"), Code.SCHEMA, "/op"),
    "a list as arguments": ("command", command([]), Code.SCHEMA, "/args"),
    "a time of the wrong form": ("command", command({}, expires_at="tomorrow"), Code.SCHEMA, "/expires_at"),
    "an issuer as long as the document": (
        "command",
        command({}, issuer="x" * 60_000),
        Code.SCHEMA,
        "/issuer",
    ),
    "an ack below zero": ("ack", b'{"epoch": "a", "seq": -1}', Code.SCHEMA, "/seq"),
    "an ack in quotes": ("ack", b'{"epoch": "a", "seq": "1"}', Code.SCHEMA, "/seq"),
    "an ack of no epoch": ("ack", b'{"epoch": "", "seq": 1}', Code.SCHEMA, "/epoch"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_means_nothing_is_refused_with_its_code_and_its_place(what: str) -> None:
    reader, payload, code, path = WRONG[what]
    with pytest.raises(FaultyDocumentError) as caught:
        READERS[reader](payload)
    assert (caught.value.code, caught.value.path) == (code, path)


COSTLY: Final[dict[str, bytes]] = {
    "quotes that close nothing": filled("[", '\\"'),
    "quotes and quotes": filled("[", '"a'),
    "a key twice, thousands of times": filled("{", '"a":0,', '"a":0}'),
    "the same below a key as long as half of it": filled('{"' + "k" * 30_000 + '":{', '"a":0,', '"a":0}}'),
    "a key as long as the document": policy(**{"k" * 60_000: 1}),
    "thousands of keys that are not known": policy(**{f"k{number}": 0 for number in range(6_000)}),
    "thousands of sources that are none": policy(sources={f"s{number}": 0 for number in range(5_000)}),
    "a thousand models and as many that are missing": policy(
        models={f"m{number}": {"file": "a"} for number in range(1_000)},
        sources={f"s{number}": {"kind": "synthetic", "model": "none"} for number in range(800)},
    ),
    "conditions of quotes": policy(rules={f"r{number}": {"when": "'" * 1_999} for number in range(30)}),
    "conditions of triple quotes": policy(
        rules={f"r{number}": {"when": "'''a" * 499} for number in range(30)}
    ),
    "zones of many corners": policy(
        sources={
            "door": {
                "kind": "synthetic",
                "zones": {f"z{number}": {"polygon": [[0, 0], [1, 1]] * 32} for number in range(90)},
            }
        }
    ),
}


@pytest.mark.parametrize("what", COSTLY)
def test_what_is_made_to_cost_costs_little_and_is_told_briefly(what: str) -> None:
    """Work is counted in calls of Python functions, which no busy machine makes more of."""
    assert len(COSTLY[what]) <= MAX_BYTES
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    tracemalloc.start()
    sys.setprofile(count)
    try:
        with pytest.raises(FaultyDocumentError) as caught:
            READERS["policy"](COSTLY[what])
    finally:
        sys.setprofile(None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    error = caught.value
    assert calls < 600_000
    assert peak < 20 << 20
    assert len(error.message) < 20_000
    assert len(error.path) < 1_000
    assert len(error.problems) <= MOST_PROBLEMS


@pytest.mark.timeout(10)
def test_quotes_that_close_nothing_are_read_once() -> None:
    """Each of the 32,000 looked for its end: 13 s. A regular expression's work is none that Python counts."""
    for unit in ('\\"', '"\\', '"\\"', "\\", '"\\\n'):
        with pytest.raises(FaultyDocumentError):
            read_json(filled("[", unit))


def test_a_path_that_is_too_long_leads_to_the_place_above() -> None:
    with pytest.raises(FaultyDocumentError) as caught:
        READERS["policy"](policy(sources={"k" * 60_000: {"kind": "synthetic"}}))
    assert caught.value.path == "/policy/sources"


@pytest.mark.parametrize(
    "jws",
    [
        *(b"e", b"e.e.e", b"e" * (1 << 20), b"eyJ.." + b"A" * 86, b"e" * 9_000 + b".e." + b"A" * 86),
        *(b"e." * 40_000, b"eyJhbGciOiJub25lIn0.e30." + b"A" * 86, b"eA.e30." + b"A" * 86),
        b"e1t7Ww." + b"e30." + b"A" * 86,
    ],
)
def test_what_is_meant_as_signed_and_is_not_is_refused(jws: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        read_header(jws)
    assert caught.value.code in {Code.SIGNATURE, Code.SIZE}


def refusal(read: Read, payload: bytes) -> NanofleetError | None:
    """What is raised beyond that fails the test."""
    try:
        read(payload)
    except NanofleetError as error:
        return error
    return None


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["rtsp", "synthetic", "kind", "count('person') > 0", "..", "\0"])
)
keys = st.text(max_size=5) | st.sampled_from(
    ["v", "version", "policy", "sources", "kind", "op", "id", "args"]
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=25,
)


@settings(deadline=None, max_examples=150)
@given(payload=st.binary(max_size=400) | documents.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_read_or_refused_with_a_code(payload: bytes) -> None:
    for read in READERS.values():
        error = refusal(read, payload)
        assert error is None or (error.code in set(Code) and error.message)


@settings(deadline=None, max_examples=100)
@given(
    changes=st.dictionaries(keys, documents, max_size=3),
    sections=st.dictionaries(keys, documents, max_size=3),
)
def test_a_policy_that_is_nearly_one_is_read_or_refused_with_a_place(
    changes: dict[str, Any], sections: dict[str, Any]
) -> None:
    document = {"v": 1, "version": 1, "policy": sections, **changes}
    error = refusal(READERS["policy"], json.dumps(document).encode())
    assert error is None or error.path == "" or error.path.startswith("/")
