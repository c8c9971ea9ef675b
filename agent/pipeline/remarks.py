"""From counts to sentences: what took large shares of a camera's frames and candidates, and what to do."""

from collections.abc import Mapping, Sequence
from typing import Final

from agent.domain.fates import Fates
from agent.domain.thresholds import Thresholds
from agent.pipeline.mailbox import MailboxStatistics
from agent.pipeline.near_misses import ClassCounts
from agent.pipeline.tally import Counted

_LARGE: Final = 0.1
"""A share below this is not worth a sentence."""

_CAUSES: Final = {
    "replaced": "a newer one came before a lane was free; the node is slower than the camera: a lower `fps` "
    "or a smaller input would lose none",
    "stale": "they had waited longer than max_staleness_s for a lane",
    "paused": "the camera has no model",
    "degraded": "the node sheds load or heat: see its health",
    "unhealthy": "the model failed on them: see its health",
}


def remarks(
    *,
    counted: Counted,
    span: str,
    flow: MailboxStatistics | None,
    classes: Sequence[ClassCounts],
    thresholds: Thresholds,
    origins: Mapping[str, str],
) -> list[str]:
    """One sentence for each large share; what is wrong with frames comes first."""
    told = list(_of_frames(counted, span, flow))
    fates = counted.fates
    if counted.frames and not fates.candidates:
        told.append(
            f"Nothing in the {counted.frames} frames of the last {span} came near any threshold: look at a "
            "snapshot, and whether the model knows what you look for."
        )
    if fates.candidates:
        told += _of_classes(classes, origins)
        told += _of_fates(fates, thresholds, origins)
    return told


def _of_frames(counted: Counted, span: str, flow: MailboxStatistics | None) -> list[str]:
    told = []
    if not counted.frames:
        told.append(f"No frame went through a model in the last {span}: see the health of this source.")
    if flow is not None and flow.offered:
        for cause, count in sorted(flow.dropped.items()):
            if count / flow.offered >= _LARGE:
                told.append(f"{_percent(count, flow.offered)} of all frames were dropped: {_CAUSES[cause]}.")
    return told


def _of_classes(classes: Sequence[ClassCounts], origins: Mapping[str, str]) -> list[str]:
    told = []
    for one in classes:
        share = _percent(one.under, one.candidates)
        if one.under < _LARGE * one.candidates:
            continue
        where = origins.get(f"classes.{one.name}", origins["confidence"])
        if one.off:
            told.append(f"Class {one.name} is switched off ({_stated(where)}): {one.candidates} candidates.")
        else:
            told.append(
                f"{share} of the candidates of class {one.name} were under {one.limit:g} ({_stated(where)}); "
                f"the median of those was {one.median:.2f}."
            )
    return told


def _of_fates(fates: Fates, thresholds: Thresholds, origins: Mapping[str, str]) -> list[str]:
    sentences = {
        "too_small": f"had a side under {thresholds.min_side_px:g} px ({_stated(origins['min_side_px'])})",
        "suppressed": f"overlapped a stronger one of their class by more than {thresholds.iou:g} "
        f"({_stated(origins['iou'])}); some models give a dozen for each object, and that is as it should be",
        "surplus": f"came when their frame had {thresholds.max_objects} objects already "
        f"({_stated(origins['max_objects'])})",
        "excluded": "stood in a zone that leaves them out",
        "unconfirmed": "belonged to a track that was too young to be believed: see `tracking`",
    }
    return [
        f"{_percent(count, fates.candidates)} of the candidates {sentences[fate]}."
        for fate, count in fates._asdict().items()
        if fate in sentences and count / fates.candidates >= _LARGE
    ]


def _stated(where: str) -> str:
    return "the default" if where == "default" else f"stated for the {where}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"
