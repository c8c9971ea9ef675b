r"""Reading YAML so that each value knows its line, without the traps of YAML 1.1.

Plain scalars mean what YAML 1.2's core schema says: `no` and `2026-11-23` are text, and a number is a
number only if it looks like one. Tags are refused; anchors may be used within the limits of the contract.
"""

import re
from typing import Final

import yaml

from agent.contract.documents import Document, Scalar, decode
from agent.contract.tree import Tree

# Source: YAML 1.2.2, section 10.3.2, core schema, tag resolution.
_CONSTANTS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,400}")
_BASED: Final = re.compile(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_NUMBER: Final = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def read_yaml(body: bytes, *, file: str | None = None) -> Document:
    """The document that `body` holds.

    Raises:
        FaultyDocumentError: it is not YAML, holds several documents, or passes a limit of the contract.
    """
    text = decode(body, file)
    tree = Tree(file)
    try:
        # Parsing alone makes no objects; what a tag asks for is never made.
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            _grow(tree, event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise tree.fault(_explain(error), mark.line + 1 if mark else None) from error
    except yaml.YAMLError as error:
        raise tree.fault(f"this is not YAML: {error}", None) from error
    return tree.finish()


def _grow(tree: Tree, event: yaml.Event) -> None:
    line = event.start_mark.line + 1 if event.start_mark else 1
    match event:
        case yaml.CollectionStartEvent(tag=str(tag)) | yaml.ScalarEvent(tag=str(tag)):
            raise tree.fault(f"tags such as {tag} mean nothing here", line)
        case yaml.ScalarEvent(value="<<", implicit=(True, _)) if tree.awaits_key:
            raise tree.fault("merge keys (<<) are not of YAML 1.2; write the keys out", line)
        case yaml.MappingStartEvent():
            tree.begin({}, line, event.anchor)
        case yaml.SequenceStartEvent():
            tree.begin([], line, event.anchor)
        case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
            tree.end()
        case yaml.ScalarEvent():
            tree.scalar(_resolve(event.value) if event.implicit[0] else event.value, line, event.anchor)
        case yaml.AliasEvent(anchor=str(name)):
            tree.repeat(name, line)
        case yaml.DocumentStartEvent() if tree.is_complete:
            raise tree.fault("a second document begins here; one is wanted", line)


def _resolve(text: str) -> Scalar:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _NUMBER.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _explain(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    said = " ".join(part for part in (error.context, error.problem) if part)
    if "'\\t'" in said:
        said = "a tab stands where spaces belong; indent with spaces"
    return f"this is not YAML: {said}" + (f" (column {mark.column + 1})" if mark else "")
