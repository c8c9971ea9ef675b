"""What a trial of two policies tells: counts side by side, what was left out, and what may mislead."""

from collections.abc import Mapping, Sequence
from typing import Final

from agent.contract.differences import differences
from agent.contract.policy import Policy
from agent.contract.problems import KeyPath, Problem
from agent.contract.reported import as_written
from agent.contract.sources import CameraPart
from agent.domain.stamp import Stamp, rfc3339
from agent.pipeline.replaying import Camera, Replay, Side

MOST_BEGINS: Final = 20
"""Of a rule's events so many are told of with their time, the first ones; fewer where rules are many."""

_MOST_BEGINS_OF_ALL: Final = 400
_MOST_CLASSES: Final = 32
_MOST_IGNORED: Final = 50

_JUDGED_OF_SOURCE: Final = frozenset({"thresholds", "zones", "lines", "tracking"})
_NOT_JUDGED_OF_RULE: Final = frozenset({"rates"})


def report(
    replay: Replay, *, policies: tuple[Policy, Policy], thinned: Sequence[str], since: Stamp
) -> Mapping[str, object]:
    """As JSON knows it. `replay` has the sides of the two `policies`; it was to begin with `since`.

    `thinned`: sensors of whose readings not all are known.
    """
    before, after = replay.sides
    not_judged = ignored(*policies)
    names = sorted(before.cameras.keys() | after.cameras.keys())
    rules = sorted(before.events.keys() | after.events.keys())
    most = min(MOST_BEGINS, max(1, _MOST_BEGINS_OF_ALL // max(1, len(rules))))
    return {
        "from": rfc3339(replay.began.wall_ns),
        "to": rfc3339(replay.until.wall_ns),
        "cameras": {
            name: _camera(before.cameras.get(name, Camera()), after.cameras.get(name, Camera()))
            for name in names
        },
        "rules": {
            name: {"before": _events(before, name, most), "after": _events(after, name, most)}
            for name in rules
        },
        "ignored": not_judged[:_MOST_IGNORED],
        "notes": [*_notes(replay, thinned, since), *_note_on_ignored(len(not_judged) - _MOST_IGNORED)],
    }


def ignored(before: Policy, after: Policy) -> list[str]:
    """Pointers to what a patch changes and no trial can judge: it would need other frames."""
    paths = differences(as_written(before), as_written(after))
    return [
        Problem(message="", path=path).pointer
        for path in paths
        if not _wants_no_other_frames(path) and not _only_takes_away(path, before, after)
    ]


def _wants_no_other_frames(path: KeyPath) -> bool:
    match path:
        case ("sources", _, str(part), *_):
            return part in _JUDGED_OF_SOURCE
        case ("models", _, "thresholds", *_):
            return True
        case ("rules", _, str(part), *_):
            return part not in _NOT_JUDGED_OF_RULE
        case ("rules", *_):
            return True
        case _:
            return False


def _only_takes_away(path: KeyPath, before: Policy, after: Policy) -> bool:
    """Whether it does without a camera, or without a model: what was seen suffices for that."""
    match path:
        case ("sources",):
            return not after.sources
        case ("sources", str(name)):
            return name not in after.sources
        case ("sources", str(name), "enabled" | "model"):
            return _looks(before, name) and not _looks(after, name)
        case ("models", str(name)):
            return name not in after.models
        case _:
            return False


def _looks(policy: Policy, camera: str) -> bool:
    """Whether anything is looked for in its frames."""
    stanza = policy.sources.get(camera)
    return isinstance(stanza, CameraPart) and stanza.enabled and stanza.model is not None


def _camera(before: Camera, after: Camera) -> dict[str, object]:
    frequent = [name for name, _ in (before.objects + after.objects).most_common(_MOST_CLASSES)]
    return {
        "frames": max(before.frames, after.frames),
        "frames_with_objects": {"before": before.with_objects, "after": after.with_objects},
        "objects": {
            name: {"before": before.objects[name], "after": after.objects[name]} for name in sorted(frequent)
        },
    }


def _events(side: Side, rule: str, most: int) -> dict[str, object] | None:
    """None where there is no such rule."""
    begins = side.events.get(rule)
    if begins is None:
        return None
    return {
        "events": len(begins),
        "began": [rfc3339(change.began.wall_ns) for change in begins[:most]],
    }


def _notes(replay: Replay, thinned: Sequence[str], since: Stamp) -> list[str]:
    """What a reader has to know to believe no more than is true."""
    before, after = replay.sides
    notes = []
    if not replay.done:
        notes.append("Nothing was seen in this time, so there is nothing to judge by.")
    if replay.began.monotonic_ns > since.monotonic_ns:
        judged_s, whole_s = (
            (replay.until.monotonic_ns - each.monotonic_ns) / 1e9 for each in (replay.began, since)
        )
        notes.append(
            f"Only the last {judged_s:.0f} of {whole_s:.0f} s were judged: the node had no time for more."
        )
    for name, camera in sorted(after.cameras.items()):
        was = before.cameras.get(name, Camera())
        if camera.dim > was.dim:
            notes.append(
                f"{name}: in {camera.dim} of {camera.frames} frames the weakest candidates that would count "
                "now were not kept: there may be more objects than told."
            )
    missing = sorted(after.stance.thresholds.keys() - after.cameras.keys())
    notes += [f"{name}: no frame of it was seen in this time." for name in missing]
    if thinned:
        notes.append(
            f"Of the readings of {', '.join(thinned)} only some were kept, 20 a second of each value."
        )
    return notes


def _note_on_ignored(more: int) -> list[str]:
    return [f"{more} more changes are ignored than are named."] if more > 0 else []
