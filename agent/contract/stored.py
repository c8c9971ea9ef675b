"""`B/ack/{stream…}`: how far a consumer has stored a stream. Read from the broker, so believed in nothing."""

import json
from functools import cache
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.contract.explain import explain
from agent.contract.json_text import read_json
from agent.contract.problems import FaultyDocumentError, Problem
from agent.contract.schema_walk import Schema
from agent.domain.errors import Code

_MOST_BYTES: Final = 256
"""Acks are read on the event loop, as many as come: none may cost more than a third of a millisecond."""


class Ack(BaseModel):
    """The consumer has every message of the stream up to `seq`; what was declared lost counts as had."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    epoch: Annotated[
        str, Field(min_length=1, max_length=64, description="As the messages carry it; another is ignored.")
    ]
    seq: Annotated[
        int,
        Field(
            ge=0,
            le=2**53 - 1,
            description="The highest number up to which nothing is missing.",
        ),
    ]


def read_ack(payload: bytes) -> Ack:
    """What a consumer says.

    Raises:
        FaultyDocumentError: it says nothing of the kind; with its code, and a sentence for a person.
    """
    if len(payload) > _MOST_BYTES:
        problem = Problem(
            message=f"it has {len(payload)} bytes; at most {_MOST_BYTES} are allowed", code=Code.SIZE
        )
        raise FaultyDocumentError([problem])
    document = read_json(payload)
    if document.problems:
        raise FaultyDocumentError(document.problems)
    try:
        return Ack.model_validate_json(json.dumps(document.root.plain()), strict=True)
    except ValidationError as error:
        problems = explain(error, schema=_schema(), line_of=document.line_of, file=None)
        raise FaultyDocumentError(problems) from error


@cache
def _schema() -> Schema:
    return Ack.model_json_schema()
