"""What the policy document is written with: its base class, and kinds of value that occur in many places."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agent.contract.places import check_device, check_name, check_relative_path, check_time, check_url
from agent.domain.ids import NAME

Name = Annotated[str, AfterValidator(check_name), Field(json_schema_extra={"pattern": f"^{NAME.pattern}$"})]


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("1 is wanted here, not true or false")  # to Python, true is 1
    return value


V1 = Annotated[Literal[1], BeforeValidator(_no_truth)]

Unit = Annotated[float, Field(ge=0.0, le=1.0)]

SLOWEST_HZ: Final = 0.001
"""Of rates: once in a quarter of an hour. Far slower ones have a period that no clock counts."""

Time = Annotated[str, AfterValidator(check_time), Field(json_schema_extra={"format": "date-time"})]
"""A moment with its zone, RFC 3339."""

MediaPath = Annotated[str, AfterValidator(check_relative_path), Field(json_schema_extra={"format": "path"})]
"""A path below Settings' `media_root`, relative, that does not climb out of it."""

StreamUrl = Annotated[str, AfterValidator(check_url), Field(json_schema_extra={"format": "uri"})]
"""An address without credentials; its host must be among Settings' `allowed_hosts`."""

Device = Annotated[str, AfterValidator(check_device)]
"""A video device by its name below /dev, e.g. ``video0`` or ``v4l/by-id/usb-…``."""


class Part(BaseModel):
    """What every part of the document shares: immutable, no unknown keys, finite numbers.

    What was given is kept out of pydantic's own messages: an address may hold a password.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)
