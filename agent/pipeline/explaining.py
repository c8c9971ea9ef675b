"""The command `explain`: why a camera reports what it does, and not more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

from agent.contract.policy import Policy
from agent.contract.sources import CameraPart
from agent.contract.thresholds import Beneath, origins
from agent.domain.errors import Code, RefusedError
from agent.domain.fates import FLOOR, Fates
from agent.domain.ids import SourceName
from agent.domain.thresholds import Thresholds
from agent.pipeline.mailbox import MailboxStatistics
from agent.pipeline.near_misses import ClassCounts, by_class
from agent.pipeline.recollection import Recollection
from agent.pipeline.remarks import remarks
from agent.pipeline.supervise import in_thread
from agent.pipeline.tally import Counted, Tally
from agent.ports import Clock

_MINUTE_NS: Final = 60 * 10**9


class Explaining:
    """Counts the fates of every camera's candidates. On the loop.

    `flow` tells what was offered and what became of it, by source.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        beneath: Beneath,
        flow: Callable[[], Mapping[SourceName, MailboxStatistics]],
        recollection: Recollection,
        clock: Clock,
    ) -> None:
        self._policy = policy
        self._beneath = beneath
        self._flow = flow
        self._recollection = recollection
        self._clock = clock
        self._tallies: dict[SourceName, Tally] = {}

    def adopt(self, policy: Policy) -> None:
        """Explain by this policy from now on; of cameras that are no more nothing is kept."""
        self._policy = policy
        for gone in self._tallies.keys() - set(map(SourceName, policy.sources)):
            del self._tallies[gone]

    def note(self, source: SourceName, fates: Fates) -> None:
        """What became of the candidates of one frame."""
        tally = self._tallies.get(source)
        if tally is None:
            tally = self._tallies[source] = Tally()
        tally.add(fates, self._clock.now().monotonic_ns)

    async def __call__(self, args: Mapping[str, object]) -> Mapping[str, object]:
        """`args`: `source`, the name of a camera.

        Raises:
            RefusedError: there is no such camera.
        """
        source, stanza = self._camera(args.get("source"))
        now_ns = self._clock.now().monotonic_ns
        tally = self._tallies.get(source, Tally())
        minute, hour = tally.counted("minute", now_ns), tally.counted("hour", now_ns)
        beneath = self._beneath(stanza.model) if stanza.model else None
        thresholds = self._policy.thresholds_of(source, beneath)
        stated = origins(self._policy.threshold_layers(source, beneath))
        flow = self._flow().get(source)
        frames = self._recollection.frames(source, now_ns - _MINUTE_NS)
        classes = await in_thread("explain", lambda: by_class(frames, thresholds), yields=True)
        return {
            "source": source,
            "model": stanza.model,
            "frames": _frames(flow),
            "floor": FLOOR,
            "minute": _counts(minute),
            "hour": _counts(hour),
            "classes": {one.name: _class(one) for one in classes},
            "thresholds": _thresholds(thresholds, stated),
            "zones": {
                name: zone.model_dump(exclude={"polygon"}, exclude_none=True)
                for name, zone in stanza.zones.items()
            },
            "remarks": remarks(
                counted=minute if minute.frames else hour,
                span="minute" if minute.frames else "hour",
                flow=flow,
                classes=classes,
                thresholds=thresholds,
                origins=stated,
            ),
        }

    def _camera(self, name: object) -> tuple[SourceName, CameraPart]:
        stanza = self._policy.sources.get(name) if isinstance(name, str) else None
        if not isinstance(stanza, CameraPart):
            known = [each for each, part in self._policy.sources.items() if isinstance(part, CameraPart)]
            raise RefusedError(
                f"there is no camera of this name; there {_listed(known)}",
                code=Code.SCHEMA,
                path="/args/source",
            )
        return SourceName(str(name)), stanza


def _listed(names: Sequence[str]) -> str:
    return f"are {', '.join(names)}" if names else "is none at all"


def _frames(flow: MailboxStatistics | None) -> dict[str, object]:
    """Since the camera was added."""
    if flow is None:
        return {}
    return {"offered": flow.offered, "inferred": flow.taken, "dropped": dict(flow.dropped)}


def _counts(counted: Counted) -> dict[str, object]:
    fates = counted.fates
    return {"frames": counted.frames, "candidates": fates.candidates, "fates": fates._asdict()}


def _class(one: ClassCounts) -> dict[str, object]:
    return {key: value for key, value in asdict(one).items() if key not in {"name", "limit"}} | {
        "limit": "off" if one.off else one.limit
    }


def _thresholds(thresholds: Thresholds, stated: Mapping[str, str]) -> dict[str, object]:
    """Each value, and who states it."""
    values: dict[str, object] = {
        "confidence": thresholds.confidence,
        "iou": thresholds.iou,
        "max_objects": thresholds.max_objects,
        "min_side_px": thresholds.min_side_px,
    }
    values |= {
        f"classes.{name}": "off" if limit > 1 else limit for name, limit in thresholds.by_class.items()
    }
    return {key: {"value": value, "from": stated.get(key, "default")} for key, value in values.items()}
