"""What a file says of itself, short enough for a sentence: what decides how it is decoded comes first."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent.adapters.onnx.literals import literal

_DECISIVE: Final = ("task", "head", "names", "end2end", "kpt_shape", "imgsz", "stride")
_SHOWN: Final = 12
_LONGEST: Final = 48
_NAMES: Final = 3


def claims(metadata: Mapping[str, str]) -> str:
    """The metadata as `key=value, …`, long values cut, and how many keys are left out.

    >>> claims({"stride": "32", "names": "{0: 'a', 1: 'b', 2: 'c', 3: 'd'}", "task": "detect"})
    'task=detect, names=4 (a, b, c, …), stride=32'
    """
    first = [key for key in _DECISIVE if key in metadata]
    keys = first + sorted(metadata.keys() - set(first))
    parts = [f"{_cut(key)}={_value(metadata, key)}" for key in keys[:_SHOWN]]
    if len(keys) > _SHOWN:
        parts.append(f"and {len(keys) - _SHOWN} more")
    return ", ".join(parts) or "none"


def _value(metadata: Mapping[str, str], key: str) -> str:
    if key == "names":
        try:
            return _names(literal(metadata, key))
        except ValueError:
            pass
    return _cut(" ".join(metadata[key].split()))


def _names(names: Any) -> str:
    listed: Sequence[Any] = list(names.values()) if isinstance(names, dict) else names
    if not isinstance(listed, list | tuple):
        raise ValueError("no names")
    shown = [_cut(str(name)) for name in listed[:_NAMES]] + ["…"] * (len(listed) > _NAMES)
    return f"{len(listed)} ({', '.join(shown)})"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
