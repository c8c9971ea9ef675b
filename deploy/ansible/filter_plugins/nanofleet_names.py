"""Filters by which a misspelt variable is found: what the roles know, and what is nearly that."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

_NEARLY: Final = 0.9
"""By difflib's ratio; what an inventory names for itself is further from anything that is known."""


class FilterModule:
    """What Ansible looks for in a folder of filter plugins."""

    def filters(self) -> dict[str, Any]:
        """The filters by the names that templates use."""
        return {"variables_of": variables_of, "misspelt": misspelt}


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
