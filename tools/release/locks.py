"""Lock files: what is pinned, under which condition, with which hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tools.release.programs import ReleaseError
from tools.release.targets import Target

_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of one package, and the SHA-256 of every file that may be it."""

    name: str
    version: str
    hashes: frozenset[str]

    def as_requirement(self) -> str:
        """A line of a requirements file."""
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(self.hashes))
        return f"{self.name}=={self.version}{hashes}\n"


@dataclass(frozen=True, slots=True)
class Sets:
    """What a wheelhouse's requirements files name; `gpu` is empty where none was asked for or exists."""

    base: tuple[Pin, ...]
    cpu: tuple[Pin, ...]
    gpu: tuple[Pin, ...] = ()

    @property
    def all(self) -> tuple[Pin, ...]:
        return (*self.base, *self.cpu, *self.gpu)


def read_lock(path: Path, *, target: Target) -> dict[str, Pin]:
    """The pins of a lock file that hold for a target, by name.

    Raises:
        ReleaseError: There is no such file, or a line of it pins nothing or has no hash.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReleaseError(f"{path}: {error.strerror} (make lock makes it)") from error
    pins: dict[str, Pin] = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = line.partition(" #")[0].strip()
        if not words or words.startswith("#"):
            continue
        try:
            requirement = Requirement(words.partition(" --hash=")[0])
        except InvalidRequirement as error:
            raise ReleaseError(f"{path}: {words[:60]!r} is no requirement") from error
        hashes = frozenset(_HASH.findall(words))
        versions = [one.version for one in requirement.specifier if one.operator == "=="]
        if len(versions) != 1 or not hashes:
            raise ReleaseError(f"{path}: {requirement.name} is not pinned to one version with a hash")
        if requirement.marker is None or requirement.marker.evaluate(target.markers):
            name = canonicalize_name(requirement.name)
            pins[name] = Pin(name, versions[0], hashes)
    return pins


def read_sets(requirements: Path, *, target: Target, gpu: bool) -> Sets:
    """What a node of a target needs, from the locks of a source tree.

    Signing belongs to the base: whether a node trusts a key is a matter of its settings, not of its release.
    """
    cpu = read_lock(requirements / "run-cpu.txt", target=target)
    signed = read_lock(requirements / "run-signed.txt", target=target)
    base = {name: pin for name, pin in cpu.items() if name != "onnxruntime"} | signed
    return Sets(
        base=_in_order(base.values()),
        cpu=_in_order(pin for name, pin in cpu.items() if name not in base),
        gpu=_in_order(
            pin
            for name, pin in (read_lock(requirements / "run-gpu.txt", target=target) if gpu else {}).items()
            if name not in base
        ),
    )


def _in_order(pins: Iterable[Pin]) -> tuple[Pin, ...]:
    return tuple(sorted(pins, key=lambda pin: pin.name))
