"""From the text of a policy document to the document, or to everything that is wrong with it."""

import json
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from agent.contract.documents import Document
from agent.contract.explain import explain
from agent.contract.json_text import read_json
from agent.contract.policy import Camera, ModelPolicy, Policy, PolicyDocument, Sensor, Source
from agent.contract.problems import MOST_PROBLEMS, FaultyDocumentError, KeyPath, Problem, in_order
from agent.contract.references import DanglingReference, dangling_references
from agent.contract.schema_walk import Schema
from agent.contract.schemas import schema_of
from agent.contract.words import named, nearest
from agent.contract.yaml_text import read_yaml
from agent.domain.errors import Code

T = TypeVar("T")

_MODEL: Final = TypeAdapter(ModelPolicy)
_SOURCE: Final[TypeAdapter[Camera | Sensor]] = TypeAdapter(Source)


def read_policy_text(body: bytes, *, file: str) -> Document:
    """The document as plain values that know their lines: JSON where the name of `file` says so, else YAML.

    Raises:
        FaultyDocumentError: it cannot be read, or passes a limit of the contract.
    """
    return read_json(body, file=file) if file.endswith(".json") else read_yaml(body, file=file)


def parse_policy(document: Document) -> PolicyDocument:
    """The policy document that `document` says.

    Types are taken strictly, as the published schema does: a number in quotes is no number.

    Raises:
        FaultyDocumentError: with every problem that could be found at once.
    """
    problems = list(document.problems)
    plain = document.root.plain()
    try:
        parsed = PolicyDocument.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        told = explain(error, schema=_schema(), line_of=document.line_of, file=document.file)
        problems += _with_references(told, plain, document)
    else:
        if not problems:
            return parsed
    raise FaultyDocumentError(in_order(map(_coded, problems)))


def valid_parts(document: Document) -> Policy:
    """Of a document that is not valid, the models and sources which are, each for itself.

    For telling more of what is wrong, never for running: what they refer to may be missing.
    """
    plain = document.root.plain()
    policy = plain.get("policy") if isinstance(plain, dict) else None
    return Policy.model_construct(
        models=_valid(policy, "models", _MODEL), sources=_valid(policy, "sources", _SOURCE)
    )


def _valid(policy: object, section: str, adapter: TypeAdapter[T]) -> dict[str, T]:
    stanzas = policy.get(section) if isinstance(policy, dict) else None
    valid: dict[str, T] = {}
    for name, stanza in stanzas.items() if isinstance(stanzas, dict) else ():
        try:
            valid[name] = adapter.validate_json(json.dumps(stanza), strict=True)
        except ValidationError:
            continue  # it is among the problems that are already known
    return valid


@cache
def _schema() -> Schema:
    return schema_of(PolicyDocument)


def _with_references(told: list[Problem], plain: object, document: Document) -> list[Problem]:
    """`told`, and the dangling references that the model does not look for while anything else is wrong."""
    known: set[KeyPath] = {each.path for each in told}
    policy = plain.get("policy") if isinstance(plain, dict) else None
    more = [_dangling(each, document) for each in islice(dangling_references(policy), MOST_PROBLEMS)]
    return told + [each for each in more if each.path not in known]


def _dangling(reference: DanglingReference, document: Document) -> Problem:
    path = ("policy", *reference.path)
    close = nearest(reference.name, reference.known)
    return Problem(
        message=reference.message,
        path=path,
        hint=f"did you mean {close!r}?" if close else f"defined: {named(reference.known) or 'nothing'}",
        line=document.line_of(path),
        file=document.file,
    )


def _coded(problem: Problem) -> Problem:
    """Another version of the contract is not merely a wrong value."""
    is_version = problem.path == ("v",) and problem.code is Code.SCHEMA
    return replace(problem, code=Code.VERSION) if is_version else problem
