"""Reading YAML: what plain words mean, which lines values stand in, and what is refused before it costs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.documents import MAX_BYTES
from agent.contract.json_text import read_json
from agent.contract.problems import FaultyDocumentError
from agent.contract.yaml_text import read_yaml
from agent.domain.errors import Code

WRITABLE = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=12)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    WRITABLE,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WRITABLE, inner, max_size=4),
    max_leaves=20,
)

LAUGHS = b"a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 9)) for level in range(1, 9)
)


def plain(text: str) -> object:
    return read_yaml(text.encode()).root.plain()


def refusal(body: bytes) -> FaultyDocumentError:
    with pytest.raises(FaultyDocumentError) as caught:
        read_yaml(body, file="policy.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("12", 12),
        ("-0x1F", "-0x1F"),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2026-11-23", "2026-11-23"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("'12'", "12"),
        ('"true"', "true"),
        ("<<", "<<"),
    ],
)
def test_plain_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    read = plain(f"key: {text}")
    assert read == {"key": value}
    assert type(read["key"]) is type(value)


def test_keys_are_text_as_written() -> None:
    assert plain("on: 1\n2: 1\nnull: 1\ntrue: 1\n") == {"on": 1, "2": 1, "null": 1, "true": 1}


def test_anchor_repeats_a_value_and_keeps_its_own_line() -> None:
    document = read_yaml(b"first: &same\n  deep: 1\nsecond: *same\n")
    assert document.root.plain() == {"first": {"deep": 1}, "second": {"deep": 1}}
    assert document.line_of(("second",)) == 3
    assert document.line_of(("second", "deep")) == 2


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("sources",), 2),
        (("sources", "door"), 3),
        (("sources", "door", "url"), 4),
        (("sources", "door", "absent", "deeper"), 3),
        (("sources", "door", "zones", 1), 9),
        (("sources", "door", "zones", 7), 7),
        (("sources", "door", "zones", 0, "x"), 8),
        (("sources", "gate"), 10),
    ],
)
def test_line_of_finds_the_key_or_the_nearest_that_is_there(path: tuple[str | int, ...], line: int) -> None:
    text = (
        b"# a policy\nsources:\n  door:\n    url: rtsp://a/b\n    text: |\n      zones: not a key\n"
        b"    zones:\n    - x: 1\n    - {x: 2}\n  gate: {}\n"
    )
    assert read_yaml(text).line_of(path) == line


@pytest.mark.parametrize(
    ("body", "line", "code", "words"),
    [
        (b"", 1, Code.JSON, "nothing in it"),
        (b"# only a comment\n", 1, Code.JSON, "nothing in it"),
        (b"a: [1, 2\nb: 3\n", 2, Code.JSON, "expected ',' or ']'"),
        (b"a:\n\tb: 1\n", 2, Code.JSON, "indent with spaces"),
        (b"a: 1\nb: .nan\n", 2, Code.JSON, "finite"),
        (b"a: -.INF\n", 1, Code.JSON, "finite"),
        (b"a: 1e999\n", 1, Code.JSON, "finite"),
        (b"a: 9007199254740992\n", 1, Code.JSON, "within"),
        (b"a: " + b"9" * 5000, 1, Code.JSON, "finite"),
        (b"a: 1\nb: !!python/object/apply:os.system [id]\n", 2, Code.JSON, "tags"),
        (b"a: !mine 1\n", 1, Code.JSON, "tags"),
        (b"a: 1\n? [x]\n: 2\n", 2, Code.JSON, "key has to be"),
        (b"a: &x {b: 1}\nc:\n  <<: *x\n", 3, Code.JSON, "merge keys"),
        (b"a: &x [*x]\n", 1, Code.JSON, "refers to nothing"),
        (b"a: 1\n---\nb: 1\n", 2, Code.JSON, "second document"),
        (b"a: 1\nb: \xff\n", 2, Code.JSON, "UTF-8"),
        (b'a: "\\ud800"\n', 1, Code.JSON, "surrogate"),
        (b"a: b\x01\n", None, Code.JSON, "not YAML"),
        (b"\n" * 3 + b"[" * 17 + b"]" * 17, 4, Code.DEPTH, "16 levels"),
        (b"[" * 60_000, 1, Code.DEPTH, "16 levels"),
        (LAUGHS, 5, Code.SIZE, "20000 values"),
        (b"a" * (MAX_BYTES + 1), None, Code.SIZE, "65536"),
    ],
)
def test_unreadable_yaml_is_refused_in_its_line(
    body: bytes, line: int | None, code: Code, words: str
) -> None:
    error = refusal(body)
    assert (error.problems[0].line, error.code) == (line, code)
    assert words in error.message


def test_repeated_nesting_counts_where_it_is_repeated() -> None:
    deep = b"[" * 10 + b"]" * 10
    error = refusal(b"a: &x " + deep + b"\nb: [[[[[[*x]]]]]]\n")
    assert (error.code, error.problems[0].line) == (Code.DEPTH, 2)


def test_every_second_key_is_told_with_both_lines() -> None:
    document = read_yaml(b"a: 1\nb:\n  - {c: 1, c: 2}\na: 3\n", file="policy.yaml")
    assert [(each.dotted, each.line) for each in document.problems] == [("b[0].c", 3), ("a", 4)]
    assert "first in line 1" in document.problems[1].message


@given(VALUES)
def test_json_read_as_yaml_means_the_same(value: object) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    assert read_yaml(body).root.plain() == read_json(body).root.plain()
