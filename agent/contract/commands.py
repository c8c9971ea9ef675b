"""`B/command/{op}/{id}`: what a node is asked to do. Read from the broker, so believed in nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.contract.command_args import ARGS
from agent.contract.documents import Document
from agent.contract.explain import explain
from agent.contract.json_text import read_json
from agent.contract.parts import V1, Name, Time
from agent.contract.problems import FaultyDocumentError, Problem
from agent.contract.schema_walk import Schema
from agent.contract.topics import CommandTopic
from agent.contract.words import nearest
from agent.domain.errors import Code
from agent.domain.ids import COMMAND_ID


class Envelope(BaseModel):
    """What every command carries beside its arguments; what a later version adds is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, hide_input_in_errors=True)

    v: Annotated[V1, Field(description="Version of the contract.")]
    op: Annotated[Name, Field(description="The operation, as in the topic.")]
    id: Annotated[
        str,
        Field(
            pattern=f"^{COMMAND_ID.pattern}$",
            description="Chosen by the issuer, as in the topic: letters, digits and '-', at most 64. Each "
            "command needs one of its own: a second with the same id gets the first one's result.",
        ),
    ]
    args: Annotated[dict[str, Any], Field(description="What the operation needs.")] = Field(
        default_factory=dict
    )
    issued_at: Annotated[Time | None, Field(description="When it was written, with zone.")] = None
    expires_at: Annotated[
        Time | None,
        Field(description="From when on it is refused, with zone; not judged while the clock is unsynced."),
    ] = None
    issuer: Annotated[str, Field(min_length=1, max_length=200, description="Who asks.")] = "unnamed"


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is well-formed. `args` are complete, by the contract's names; times since 1970."""

    op: str
    id: str
    args: Mapping[str, Any]
    issuer: str
    expires_at_s: float | None

    def is_expired(self, now_s: float) -> bool:
        """Whether it comes too late, by a wall clock that is right.

        >>> Command("ping", "1", {}, "me", 10.0).is_expired(10.0)
        True
        """
        return self.expires_at_s is not None and now_s >= self.expires_at_s


def read_command(payload: bytes, topic: CommandTopic) -> Command:
    """The command that came on `topic`.

    Raises:
        FaultyDocumentError: it is none, with everything that is wrong with it.
    """
    document = read_json(payload)
    if document.problems:
        raise FaultyDocumentError(document.problems)
    envelope = _envelope(document)
    faults = [
        Problem(message=f"the topic says {said!r}, and this {told!r}", path=(name,))
        for name, said, told in (("op", topic.op, envelope.op), ("id", topic.id, envelope.id))
        if said != told
    ]
    if faults:
        raise FaultyDocumentError(faults)
    return Command(
        op=envelope.op,
        id=envelope.id,
        args=_args(envelope, document),
        issuer=envelope.issuer,
        expires_at_s=(
            None if envelope.expires_at is None else datetime.fromisoformat(envelope.expires_at).timestamp()
        ),
    )


def _envelope(document: Document) -> Envelope:
    try:
        return Envelope.model_validate_json(json.dumps(document.root.plain()), strict=True)
    except ValidationError as error:
        problems = explain(error, schema=_schema(Envelope), line_of=document.line_of, file=None)
        raise FaultyDocumentError([_coded(problem) for problem in problems]) from error


def _args(envelope: Envelope, document: Document) -> Mapping[str, Any]:
    model = ARGS.get(envelope.op)
    if model is None:
        raise unknown_op(envelope.op, known=tuple(ARGS))
    try:
        return model.model_validate_json(json.dumps(envelope.args), strict=True).model_dump(by_alias=True)
    except ValidationError as error:
        told = explain(
            error, schema=_schema(model), line_of=lambda path: document.line_of(("args", *path)), file=None
        )
        raise FaultyDocumentError([problem.below("args") for problem in told]) from error


@cache
def _schema(model: type[BaseModel]) -> Schema:
    """Made once: it takes 20 ms, and a faulty command may come every 50."""
    return model.model_json_schema(by_alias=True)


def unknown_op(op: str, *, known: tuple[str, ...]) -> FaultyDocumentError:
    """What to say where nobody knows what `op` is."""
    close = nearest(op, known)
    hint = f"did you mean {close!r}?" if close else f"known: {', '.join(sorted(known))}"
    problem = Problem(
        message=f"there is no operation {op!r} here", path=("op",), hint=hint, code=Code.UNKNOWN_OP
    )
    return FaultyDocumentError([problem])


def _coded(problem: Problem) -> Problem:
    """Another version of the contract is not merely a wrong value."""
    is_version = problem.path == ("v",) and problem.code is Code.SCHEMA
    return replace(problem, code=Code.VERSION) if is_version else problem
