"""What was found in one frame, as its message says it."""

from agent.contract import payloads
from agent.domain.stamp import Stamp
from agent.pipeline.results import FrameResult


def frame_message(
    result: FrameResult,
    *,
    head: payloads.StreamHead,
    objects: tuple[payloads.Object, ...],
    config_version: int,
    now: Stamp,
) -> payloads.Detections:
    """`head` is of the moment of capture, `objects` what is told of the detections; `now` ends `total`."""
    model, timing = result.model, result.timing
    return payloads.Detections(
        **head,
        source=result.source,
        model=payloads.ModelRef(
            name=model.name,
            version=model.version,
            sha256=model.sha256,
            graph=model.graph,
            provider=model.provider_used,
            precision=model.precision,
        ),
        lane=result.lane,
        config_version=config_version,
        frame=payloads.FrameRef(width=result.width_px, height=result.height_px, number=result.number),
        objects=objects,
        latency_ms=payloads.LatencyMs(
            capture_to_inference=_ms(timing.preprocessed_ns - result.captured.monotonic_ns),
            inference=_ms(timing.inferred_ns - timing.preprocessed_ns),
            total=_ms(now.monotonic_ns - result.captured.monotonic_ns),
        ),
    )


def _ms(duration_ns: int) -> float:
    return round(duration_ns / 1e6, 3)
