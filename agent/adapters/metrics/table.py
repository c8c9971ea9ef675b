"""Every metric of the agent. A name that is used but not declared here is a programming error.

Labels take few values: sources, rules and models as the policy names them, and words from closed lists.
"""

from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "nanofleet_"

Kind = Literal["count", "gauge", "observe"]
"""By the method of `ports.Metrics` that feeds it."""

STAGE_BUCKETS_S: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
END_TO_END_BUCKETS_S: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(60.0, 600.0, 3600.0, 86400.0),  # what waited for the network
)


@dataclass(frozen=True, slots=True)
class Metric:
    """`buckets` are upper bounds in seconds, of what is observed."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


TABLE: Final = (
    Metric(
        "stage_seconds",
        "observe",
        "Time of a frame or window in each stage between capture and PUBACK.",
        ("stage",),
        STAGE_BUCKETS_S,
    ),
    Metric("frames_inferred_total", "count", "Frames that went through a model.", ("source",)),
    Metric("objects_total", "count", "Objects that were detected.", ("source",)),
    Metric("source_restarts_total", "count", "Times a source failed, by code.", ("source", "code")),
    Metric("source_hangs_total", "count", "Times a source's thread hung and was abandoned.", ("source",)),
    Metric("healthy", "gauge", "1 where a source or stage is ok, else 0.", ("who",)),
)
