"""Where a frame's time went, stage by stage, from capture to the broker's acknowledgement."""

from dataclasses import dataclass

STAGES = (
    "capture",
    "queue",
    "preprocess",
    "inference",
    "postprocess",
    "outbox",
    "publish",
    "ack",
)
"""In order. capture: what decoding costs its thread, without waiting; queue: waiting in the mailbox;
outbox: handed over until committed; publish: committed until written to the broker; ack: written until its
PUBACK."""


@dataclass(frozen=True, slots=True)
class InferenceTiming:
    """Monotonic nanoseconds at the borders of the worker's stages for one frame or window."""

    taken_ns: int
    preprocessed_ns: int
    inferred_ns: int
    finished_ns: int
