"""Settings of the outbox: how much may wait for how long, and how the disk under it is treated."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from agent.contract.parts import Part

Percent = Annotated[int, Field(ge=1, le=100)]
Age = Annotated[int, Field(ge=60)]


class OutboxPercent(Part):
    """`[outbox.max_percent]`: how much of `max_bytes` each kind of message may take at most."""

    events: Annotated[Percent, Field(description="Events.")] = 100
    result: Annotated[Percent, Field(description="Results of commands.")] = 100
    snapshots: Annotated[Percent, Field(description="Snapshots.")] = 25
    telemetry: Annotated[Percent, Field(description="Readings and scores of sensors.")] = 25
    detections: Annotated[
        Percent | None,
        Field(description="What cameras saw. Without: all that `reserve_percent` leaves."),
    ] = None


class OutboxAges(Part):
    """`[outbox.max_ages_s]`: seconds after which each kind is dropped; without, `max_age_s` alone counts."""

    events: Annotated[Age | None, Field(description="Events.")] = None
    result: Annotated[Age | None, Field(description="Results of commands.")] = None
    snapshots: Annotated[Age | None, Field(description="Snapshots.")] = None
    telemetry: Annotated[Age | None, Field(description="Readings and scores of sensors.")] = None
    detections: Annotated[Age | None, Field(description="What cameras saw.")] = None


class OutboxSettings(Part):
    """`[outbox]`: messages that wait on disk for the broker."""

    max_bytes: Annotated[
        int,
        Field(
            ge=1_048_576,
            description="Most bytes of messages that wait. Beyond it the oldest of the lowest priority are "
            "dropped, and declared lost.",
        ),
    ] = 536_870_912
    reserve_percent: Annotated[
        int,
        Field(
            ge=0,
            le=90,
            description="How much of `max_bytes` is kept for events, results and declared losses: nothing "
            "else may use it.",
        ),
    ] = 20
    max_percent: Annotated[
        OutboxPercent, Field(description="How much of `max_bytes` each kind of message may take, in percent.")
    ] = OutboxPercent()
    max_age_s: Annotated[
        int,
        Field(ge=60, description="Seconds after which a waiting message is dropped, and declared lost."),
    ] = 2_592_000
    max_ages_s: Annotated[
        OutboxAges,
        Field(description="Seconds after which one kind of message is dropped, where it should go sooner."),
    ] = OutboxAges()
    commit_interval_ms: Annotated[
        int,
        Field(
            ge=0,
            le=1_000,
            description="Messages that follow on each other faster than this are written together. More "
            "spares a flash card, and delays detections, telemetry and snapshots by as much at most; events "
            "and results never by more than 100.",
        ),
    ] = 250
    card_endurance_tb: Annotated[
        float,
        Field(
            gt=0,
            description="Terabytes that may be written to the disk in its life, for the projection of that "
            "life. Take it from the data sheet; the default is a guess for a 32 GB SD card.",
        ),
    ] = 10.0

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        left = 100 - self.reserve_percent
        share = self.max_percent
        for name in ("snapshots", "telemetry", "detections"):
            if (wanted := getattr(share, name)) is not None and wanted > left:
                raise ValueError(
                    f"max_percent.{name} is {wanted}, and reserve_percent keeps {self.reserve_percent} for "
                    f"events: at most {left} is wanted"
                )
        if share.snapshots + share.telemetry >= left:
            raise ValueError(
                f"max_percent.snapshots and .telemetry are {share.snapshots + share.telemetry} together, and "
                f"reserve_percent leaves {left}: nothing would be sure for detections; less is wanted"
            )
        if share.events < self.reserve_percent:
            raise ValueError(
                f"max_percent.events is {share.events}, less than the {self.reserve_percent} that "
                "reserve_percent keeps for them; raise it, or keep less"
            )
        for name, age_s in self.max_ages_s:
            if age_s is not None and age_s > self.max_age_s:
                raise ValueError(
                    f"max_ages_s.{name} is {age_s}, longer than max_age_s lets anything wait: at most "
                    f"{self.max_age_s} is wanted"
                )
        return self
