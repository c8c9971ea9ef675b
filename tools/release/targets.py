"""For which interpreters and processors a release holds wheels."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from packaging.tags import Tag, compatible_tags, cpython_tags

GLIBC: Final = 28
"""Wheels may ask for glibc 2.28: Debian 10, Ubuntu 20.04, JetPack 5, and newer."""
_OLDEST_GLIBC: Final = {"x86_64": 5, "aarch64": 17}
_OLD_NAMES: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_MINORS: Final = range(11, 15)
_NAME: Final = re.compile(r"cp3(\d+)-(x86_64|aarch64)")


@dataclass(frozen=True)
class Target:
    """CPython 3.`minor` on Linux with glibc, on one kind of processor."""

    minor: int
    machine: str

    def __post_init__(self) -> None:
        if self.minor not in _MINORS or self.machine not in _OLDEST_GLIBC:
            raise ValueError(f"{self.name} is no target; they are cp311 to cp314, with -x86_64 or -aarch64")

    @property
    def name(self) -> str:
        """As in `wheelhouse-NAME.tar`."""
        return f"cp3{self.minor}-{self.machine}"

    @property
    def python(self) -> str:
        """Version of the language."""
        return f"3.{self.minor}"

    @property
    def platform(self) -> str:
        """The newest platform tag whose wheels run there."""
        return f"manylinux_2_{GLIBC}_{self.machine}"

    @cached_property
    def platforms(self) -> tuple[str, ...]:
        """Every platform tag whose wheels run there, the newest first."""
        return tuple(self._platforms())

    @cached_property
    def tags(self) -> frozenset[Tag]:
        """Every tag whose wheels run there."""
        version = (3, self.minor)
        interpreter = f"cp3{self.minor}"
        return frozenset(
            [
                *cpython_tags(version, abis=[interpreter], platforms=self.platforms),
                *compatible_tags(version, interpreter=interpreter, platforms=self.platforms),
            ]
        )

    @property
    def markers(self) -> dict[str, str]:
        """What the conditions of a lock file are held against. Of a Python's releases, the first."""
        return {
            "extra": "",
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def _platforms(self) -> Iterator[str]:
        for glibc in range(GLIBC, _OLDEST_GLIBC[self.machine] - 1, -1):
            yield f"manylinux_2_{glibc}_{self.machine}"
            if glibc in _OLD_NAMES:
                yield f"{_OLD_NAMES[glibc]}_{self.machine}"


DEFAULT_TARGETS: Final = tuple(
    Target(minor, machine) for minor in (11, 12) for machine in ("x86_64", "aarch64")
)


def native() -> Target:
    """This machine's own. Raises ValueError where it is none."""
    if sys.platform != "linux":
        raise ValueError(f"native: this is {sys.platform}, and nodes run Linux; name the targets")
    return Target(sys.version_info.minor, platform.machine())


def target_named(name: str) -> Target:
    """The target of that name, or `native`. Raises ValueError for any other."""
    if name == "native":
        return native()
    if found := _NAME.fullmatch(name):
        return Target(int(found[1]), found[2])
    raise ValueError(f"{name!r} is no target; write native, or the like of cp311-aarch64")
