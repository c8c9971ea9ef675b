"""Reading JSON: the same values as the standard library's reader, with lines, under the contract's limits."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.documents import MAX_BYTES
from agent.contract.json_text import read_json
from agent.contract.problems import FaultyDocumentError
from agent.domain.errors import Code

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def refusal(body: bytes) -> FaultyDocumentError:
    with pytest.raises(FaultyDocumentError) as caught:
        read_json(body)
    return caught.value


def paths(value: object) -> Iterator[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (key,)
        yield from ((key, *rest) for rest in paths(inner))


@given(VALUES, st.booleans())
def test_read_json_equals_the_standard_reader(value: object, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=2).encode("utf-8", "surrogatepass")
    assert read_json(body).root.plain() == json.loads(body)


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1), st.dictionaries(st.text("ghi", min_size=1), st.integers(0, 9))
    )
)
def test_line_of_is_the_line_with_the_key(value: dict[str, dict[str, int]]) -> None:
    text = json.dumps(value, indent=1)
    document = read_json(text.encode())
    for path in paths(value):
        line = text.splitlines()[document.line_of(path) - 1]
        assert line.strip().startswith(json.dumps(path[-1]) + ":")


@pytest.mark.parametrize(
    ("body", "line", "code"),
    [
        (b"", 1, Code.JSON),
        (b'{"a": 1,}', 1, Code.JSON),
        (b'{\n"a": 1\n"b": 2}', 3, Code.JSON),
        (b"[1]]", 1, Code.JSON),
        (b"{'a': 1}", 1, Code.JSON),
        (b'{"a": NaN}', None, Code.JSON),
        (b'{"a": -Infinity}', None, Code.JSON),
        (b'{\n"a": 1e999}', 2, Code.JSON),
        (b"9007199254740992", 1, Code.JSON),
        (b"9" * 5000, None, Code.JSON),
        (b'"\\udc00"', 1, Code.JSON),
        (b'{"\\ud800": 1}', 1, Code.JSON),
        (b'"\xff"', 1, Code.JSON),
        (b"a: yaml", 1, Code.JSON),
        (b"\n" + b"[" * 17 + b"]" * 17, 2, Code.DEPTH),
        (b"[" * 60_000, 1, Code.DEPTH),
        (b'{"a":' * 10_000, 1, Code.DEPTH),
        (b" " * (MAX_BYTES + 1), None, Code.SIZE),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, line: int | None, code: Code) -> None:
    error = refusal(body)
    assert (error.problems[0].line, error.code) == (line, code)


def test_depth_of_sixteen_and_size_of_64_kib_pass() -> None:
    body = b"[" * 16 + b"]" * 16
    assert read_json(body + b" " * (MAX_BYTES - len(body))).root.depth == 16


def test_brackets_in_text_nest_nothing() -> None:
    assert read_json(b'{"a": "[[[[[[[[[[[[[[[[[[[[", "b\\"{": 1}').root.plain() == {"a": "[" * 20, 'b"{': 1}


def test_second_key_is_told_and_the_first_one_kept() -> None:
    document = read_json(b'{"a": 1,\n "b": {"c": 1,\n "c": 2}}')
    assert document.root.plain() == {"a": 1, "b": {"c": 1}}
    assert [(each.pointer, each.line, each.code) for each in document.problems] == [("/b/c", 3, Code.JSON)]
