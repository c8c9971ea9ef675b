"""Whatever comes in is read, or refused as such: nothing else escapes from the readers."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from agent.contract.documents import Document
from agent.contract.json_text import read_json
from agent.contract.policy import PolicyDocument
from agent.contract.policy_text import parse_policy, valid_parts
from agent.contract.problems import FaultyDocumentError
from agent.contract.yaml_text import read_yaml

PUNCTUATED = st.text(st.sampled_from("{}[]:,-?&*!|>'\"#%@`~ \n\tab01.\\uD8\x00\x85\ufeff"), max_size=60)
STANZA_KEYS = [
    "kind",
    "file",
    "zones",
    "polygon",
    "thresholds",
    "classes",
    "shape",
    "snapshot",
    "model",
    "url",
]
KEYS = st.sampled_from([*STANZA_KEYS, "version", "when", "lanes", "expiry_s", "m", "z"])
LEAVES = st.sampled_from(
    [None, True, 0, 1, -1, 1.5, 2**53 - 1, "", "file", "rtsp", "m", "rtsp://h/", "off", "é"]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)
STANZAS = st.dictionaries(
    st.sampled_from(["m", "z", "Ä"]), VALUES | st.dictionaries(KEYS, VALUES), max_size=2
)
SECTIONS = st.dictionaries(st.sampled_from(["models", "sources", "rules", "publish", "power", "m"]), STANZAS)
POLICIES = st.fixed_dictionaries({"version": LEAVES, "policy": SECTIONS})


@given(st.binary(max_size=80) | PUNCTUATED.map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"{a: 1, a}")
@example(b"- - -\n- ? : \n")
@example(b"%YAML 2.0\n---\na")
@example(b"\xef\xbb\xbf")
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (read_yaml, read_json):
        with suppress(FaultyDocumentError):
            assert isinstance(read(body), Document)


@given(st.dictionaries(st.sampled_from(["v", "version", "policy", "m"]), VALUES, max_size=4) | POLICIES)
@example({"version": 1, "policy": {"sources": {"m": {"kind": []}}}})
def test_any_document_is_a_policy_or_has_problems_in_it(value: dict[str, object]) -> None:
    text = json.dumps(value, indent=1)
    document = read_json(text.encode(), file="policy.json")
    valid_parts(document)
    try:
        assert isinstance(parse_policy(document), PolicyDocument)
    except FaultyDocumentError as error:
        for problem in error.problems:
            assert problem.message
            assert problem.line is not None
            assert 1 <= problem.line <= text.count("\n") + 1
