"""Rules as a policy states them: when something becomes an event."""

from datetime import time
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from agent.contract.conditions import check_condition
from agent.contract.parts import SLOWEST_HZ, Name, Part
from agent.domain.rules.schedule import Schedule

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_CLOCK: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]"

Severity = Literal["info", "warning", "critical"]


def check_time_zone(name: str) -> str:
    """`name`, if it is in the IANA time zone database.

    Raises:
        ValueError: it is not.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; a name like Europe/Berlin is wanted") from error
    return name


ClockTime = Annotated[str, Field(pattern=f"^{_CLOCK}$")]


class Hours(Part):
    """The hours of the week in which a rule is in force."""

    days: Annotated[
        tuple[Day, ...],
        Field(min_length=1, max_length=7, description="Days on which these hours begin."),
    ] = DAYS
    begin: Annotated[
        ClockTime,
        Field(alias="from", description="Local time from which it is in force, HH:MM."),
    ]
    end: Annotated[
        ClockTime,
        Field(
            alias="to",
            description="Local time up to which it is, HH:MM; where it is not after `from`, of the next day.",
        ),
    ]
    time_zone: Annotated[
        str,
        AfterValidator(check_time_zone),
        Field(min_length=1, max_length=64, description="IANA name, e.g. Europe/Berlin."),
    ] = "UTC"

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Under the keys of the document, so that what is written out can be read again."""
        written = {"begin": "from", "end": "to"}
        plain: dict[str, Any] = handler(self)
        return {written.get(key, key): value for key, value in plain.items()}

    def schedule(self) -> Schedule:
        """The same, to be asked whether it is open."""
        return Schedule(
            days=frozenset(DAYS.index(day) for day in self.days),
            begin=time.fromisoformat(self.begin),
            end=time.fromisoformat(self.end),
            zone=ZoneInfo(self.time_zone),
        )


_Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Rule(Part):
    """What makes an event."""

    when: Annotated[
        str,
        AfterValidator(check_condition),
        Field(min_length=1, max_length=2000, description="The condition, in CEL: docs/rules.md."),
    ]
    for_s: Annotated[
        _Seconds,
        Field(description="It has to hold so many seconds before the event begins."),
    ] = 0.0
    until: Annotated[
        Annotated[str, AfterValidator(check_condition), Field(min_length=1, max_length=2000)] | None,
        Field(description="The condition that ends the event. Without: as soon as `when` does not hold."),
    ] = None
    end_for_s: Annotated[
        _Seconds,
        Field(description="What ends the event has to hold so many seconds before it does."),
    ] = 0.0
    cool_down_s: Annotated[
        _Seconds,
        Field(description="Seconds after an event in which none begins."),
    ] = 0.0
    schedule: Annotated[
        Hours | None,
        Field(description="The hours in which the rule is in force. Without: always."),
    ] = None
    severity: Annotated[Severity, Field(description="How grave it is.")] = "info"
    message: Annotated[str, Field(max_length=500, description="A sentence for a person.")] = ""
    update_every_s: Annotated[
        float | None,
        Field(ge=1, le=86_400, description="Tell of the event so often while it is on. Without: never."),
    ] = None
    alarm: Annotated[bool, Field(description="Keep a retained alarm while the event is on.")] = False
    snapshot: Annotated[
        tuple[Name, ...],
        Field(description="Names of the cameras whose picture goes with the event."),
    ] = ()
    rates: Annotated[
        dict[Name, Annotated[float, Field(ge=SLOWEST_HZ, le=240)]],
        Field(description="Most frames a second by camera while the event is on, in place of its own `fps`."),
    ] = Field(default_factory=dict)
