"""What each operation can be asked with, by its name: the `args` of `B/command/{op}/{id}`."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.contract.parts import Name
from agent.domain.ids import NAME

_WHOLE: Final = 2**53 - 1
_STREAM: Final = rf"^(loss|result|(detections|telemetry|events|snapshots)/{NAME.pattern})$"

Source = Annotated[Name, Field(description="The source, by its name in the policy.")]
Number = Annotated[int, Field(ge=0, le=_WHOLE)]


class Args(BaseModel):
    """What all have in common: immutable; what a later version asks for besides is ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        serialize_by_alias=True,
        validate_by_name=False,
    )


class PingArgs(Args):
    """Nothing is needed."""


class PatchConfigArgs(Args):
    """A change of the policy in force, as a merge patch (RFC 7396)."""

    if_version: Annotated[
        Number | None,
        Field(description="Refused with E_CONFLICT unless this is the version in force."),
    ] = None
    version: Annotated[Number, Field(description="Of the policy that comes out; above the one in force.")]
    patch: Annotated[
        dict[str, Any],
        Field(description="What changes, from `policy` on; null takes a key away."),
    ]


class SnapshotArgs(Args):
    """A picture of a camera, as small as wished."""

    source: Source
    quality: Annotated[int, Field(ge=10, le=95, description="JPEG quality, at most.")] = 85
    longest_side_px: Annotated[
        int, Field(ge=64, le=8192, description="Larger pictures are made smaller, in pixels.")
    ] = 1280


class RestartSourceArgs(Args):
    """A source to be opened anew."""

    source: Source


class ReplayArgs(Args):
    """Messages to be sent again, both ends included."""

    stream: Annotated[
        str, Field(pattern=_STREAM, description="As its topic says, below the node's base: detections/door.")
    ]
    epoch: Annotated[str, Field(min_length=1, max_length=64, description="As the messages carry it.")]
    first: Annotated[Number, Field(alias="from", description="Sequence number of the first.")]
    last: Annotated[Number, Field(alias="to", description="Sequence number of the last.")]

    @model_validator(mode="after")
    def _is_a_range(self) -> "ReplayArgs":
        if self.last < self.first:
            raise ValueError(f"`from` is {self.first} and `to` is {self.last}: it ends before it begins")
        return self


class LogLevelArgs(Args):
    """Another level for the log, for a while."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="Events less grave are not written."),
    ]
    for_s: Annotated[
        int, Field(ge=1, le=86_400, description="Seconds, after which the level of Settings holds again.")
    ] = 600


class DiagnoseArgs(Args):
    """Nothing is needed."""


class ExplainArgs(Args):
    """Why a camera tells what it tells."""

    source: Source


class WhatIfArgs(Args):
    """A change of the policy, to be tried on what was seen lately."""

    patch: Annotated[
        dict[str, Any],
        Field(description="What would change, from `policy` on (RFC 7396); null takes a key away."),
    ]
    minutes: Annotated[float, Field(gt=0, le=10, description="How far back it is tried.")] = 10.0


ARGS: Final[Mapping[str, type[Args]]] = {
    "ping": PingArgs,
    "patch-config": PatchConfigArgs,
    "snapshot": SnapshotArgs,
    "restart-source": RestartSourceArgs,
    "replay": ReplayArgs,
    "log-level": LogLevelArgs,
    "diagnose": DiagnoseArgs,
    "explain": ExplainArgs,
    "what-if": WhatIfArgs,
}
"""Every operation of the contract."""
