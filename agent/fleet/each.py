"""`wait-for --each`: what is wanted of each node for itself, and how it goes before what is wanted of all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from agent.contract.words import nearest
from agent.domain.errors import Code, RefusedError
from agent.fleet.conditions import Before, Wanted
from agent.fleet.node_names import NodeName, read_node


class Own(BaseModel):
    """What is wanted of one node; what is left out is as the options say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    agent: Annotated[str, Field(min_length=1, description="The version that has to run.")] | None = None
    above_session: Annotated[int, Field(ge=-1, description="Its session has to be greater.")] | None = None
    policy_at_least: Annotated[int, Field(ge=0, description="In force, or a later one.")] | None = None
    max_temperature: Annotated[float, Field(allow_inf_nan=False, description="°C.")] | None = None
    max_error_rate: Annotated[float, Field(ge=0, le=1, description="A share.")] | None = None
    sources: Annotated[list[str], Field(description="Only these have to be heard.")] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_null(cls, value: object) -> object:
        """It could mean that nothing is wanted, or that the options decide."""
        if value is None:
            raise PydanticCustomError("null", "should be left out where the options decide")
        return value

    def over(self, options: Wanted, node: NodeName) -> Wanted:
        """What is wanted of `node`: this, and `options` where this says nothing."""
        wanted = options
        if self.agent is not None:
            wanted = replace(wanted, agent=self.agent)
        if self.above_session is not None:
            before = (options.newer_than or {}).get(str(node), Before())
            mine = {str(node): replace(before, session=self.above_session)}
            wanted = replace(wanted, newer_than=mine)
        if self.policy_at_least is not None:
            wanted = replace(wanted, policy_version=None, policy_at_least=self.policy_at_least)
        if self.max_temperature is not None:
            wanted = replace(wanted, max_temperature_c=self.max_temperature)
        if self.max_error_rate is not None:
            health = options.health or "degraded"
            wanted = replace(wanted, max_error_rate=self.max_error_rate, health=health)
        if self.sources is not None:
            wanted = replace(wanted, fresh_detection=True, sources=frozenset(self.sources))
        return wanted


def read_own(text: bytes) -> dict[NodeName, Own]:
    """What is wanted of each node, from a JSON object by `SITE/NODE`.

    Raises:
        RefusedError: it is not JSON, or says what cannot be meant; with the place.
    """
    try:
        own = _ALL.validate_json(text)
        json.loads(text, object_pairs_hook=_once)
        return {read_node(name): one for name, one in own.items()}
    except ValidationError as error:
        first, *more = error.errors(include_url=False)
        others = f" (and {len(more)} more)" if more else ""
        code = Code.JSON if first["type"] == "json_invalid" else Code.SCHEMA
        raise RefusedError(_sentence(first) + others, code=code) from error
    except ValueError as error:
        raise RefusedError(str(error), code=Code.SCHEMA) from error


_ALL = TypeAdapter(dict[str, Own])


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise ValueError(f"{key!r} is there twice")
        seen[key] = value
    return seen


def _sentence(error: ErrorDetails) -> str:
    *outer, last = [str(part) for part in error["loc"]] or [""]
    match error["type"]:
        case "json_invalid":
            return f"it is not JSON: {error['ctx']['error']}"
        case "extra_forbidden":
            known = sorted(Own.model_fields)
            close = nearest(last, known)
            hint = f"did you mean {close!r}?" if close else f"there are {', '.join(known)}"
            return f"{': '.join(outer)}: {last!r} is no condition; {hint}"
        case "dict_type" | "model_type":
            place = ": ".join(filter(None, (*outer, last)))
            return f"{place}: an object is wanted" if place else "an object by SITE/NODE is wanted"
        case "list_type":
            return f"{': '.join((*outer, last))}: a list of names is wanted"
        case _:
            wanted = error["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("Value ")
            return f"{': '.join((*outer, last))}: it {wanted}, and is {json.dumps(error['input'])[:80]}"
