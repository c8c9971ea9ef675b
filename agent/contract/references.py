"""What a policy's parts call one another by: every reference has to lead somewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SENSOR_KINDS: Final = ("system", "vibration")


@dataclass(frozen=True, slots=True)
class DanglingReference:
    """A name in a policy that leads nowhere. `path` is where it stands, seen from the policy."""

    path: tuple[str | int, ...]
    name: str
    what: str
    known: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"this policy has no {self.what} {self.name!r}"


def dangling_references(policy: object) -> Iterator[DanglingReference]:
    """Every dangling name in a policy as plain values, which need not be valid otherwise."""
    models, sources, rules = (_section(policy, name) for name in ("models", "sources", "rules"))
    for name, source in sources.items():
        named = _section(source).get("model"), _section(source, "shadow").get("model")
        for model, where in zip(named, (("model",), ("shadow", "model")), strict=True):
            if isinstance(model, str) and model not in models:
                yield DanglingReference(("sources", name, *where), model, "model", tuple(models))
    cameras = tuple(
        name for name, source in sources.items() if _section(source).get("kind") not in SENSOR_KINDS
    )
    for name, rule in rules.items():
        wanted = _section(rule).get("snapshot")
        if isinstance(wanted, Sequence) and not isinstance(wanted, str):
            for index, camera in enumerate(wanted):
                if isinstance(camera, str) and camera not in cameras:
                    path = ("rules", name, "snapshot", index)
                    yield DanglingReference(path, camera, "camera", cameras)
        for camera in _section(rule, "rates"):
            if camera not in cameras:
                yield DanglingReference(("rules", name, "rates", camera), camera, "camera", cameras)


def _section(value: object, name: str | None = None) -> Mapping[str, object]:
    """`value`, or what it holds under `name`, as a mapping: empty where it is none."""
    if name is not None:
        value = _section(value).get(name)
    return value if isinstance(value, Mapping) else {}
