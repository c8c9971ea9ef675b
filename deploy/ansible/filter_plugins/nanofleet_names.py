"""Filters that find a mistaken variable: one that is nearly known, or a word where a list is wanted."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

_NEARLY: Final = 0.9
"""By difflib's ratio; what an inventory names for itself is further from anything that is known."""


class FilterModule:
    """What Ansible looks for in a folder of filter plugins."""

    def filters(self) -> dict[str, Any]:
        """The filters by the names that templates use."""
        return {
            "variables_of": variables_of,
            "misspelt": misspelt,
            "structured_in": structured_in,
            "worded": worded,
        }


def variables_of(roles: str) -> list[str]:
    """The variables that the argument_specs of all roles in a folder of the controller tell of."""
    specs = [yaml.safe_load(file.read_bytes()) for file in Path(roles).glob("*/meta/argument_specs.yml")]
    entries = [entry for spec in specs for entry in spec["argument_specs"].values()]
    return sorted({name for entry in entries for name in entry.get("options") or {}})


def misspelt(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those that are unknown and nearly a known one, each with what was meant.

    >>> misspelt(["nanofleet_site", "nanofleet_onxruntime", "nanofleet_of_mine"], ["nanofleet_site",
    ...          "nanofleet_onnxruntime"])
    ['nanofleet_onxruntime is no variable; did you mean nanofleet_onnxruntime?']
    """
    there = sorted(known)
    near = {
        name: difflib.get_close_matches(name, there, n=1, cutoff=_NEARLY)
        for name in sorted(set(names) - set(there))
    }
    return [f"{name} is no variable; did you mean {meant[0]}?" for name, meant in near.items() if meant]


def structured_in(role: str) -> dict[str, str]:
    """By name, which variables of a role (its folder on the controller) are a `list` or a `dict`."""
    spec = yaml.safe_load(Path(role, "meta/argument_specs.yml").read_bytes())
    options = [entry.get("options") or {} for entry in spec["argument_specs"].values()]
    return {
        name: option["type"]
        for entry in options
        for name, option in entry.items()
        if option["type"] in {"list", "dict"}
    }


def worded(values: Mapping[str, object], types: Mapping[str, str]) -> list[str]:
    """Those that are a string and should be a list or a dict, each with how to say it.

    Ansible validates such a string as what could be made of it, and hands it on as it is: `in` then looks for
    a part of a word, and a loop goes over its letters.

    >>> print(*worded({"some": "nano-3,nano-4", "others": []}, {"some": "list", "others": "list"}))
    some is a list, and was given as a string: -e '{"some": ["nano-3", "nano-4"]}'
    """
    return [
        f"{name} is a {types[name]}, and was given as a string: "
        f"-e '{{\"{name}\": {_as_json(value, types[name])}}}'"
        for name, value in sorted(values.items())
        if isinstance(value, str)
    ]


def _as_json(text: str, kind: str) -> str:
    # What a dict says may be secret.
    if kind == "dict":
        return "{…}"
    if text.lstrip().startswith("["):
        return text
    return json.dumps([part.strip() for part in text.split(",") if part.strip()])
