"""The archive of a target: the wheels of others, and requirements files that name each by its hash.

This project's own wheel lies beside it: where the locks stay as they are, so does the archive, byte by
byte, and a node that has it needs nothing but the new wheel.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.release.locks import Pin
from tools.release.targets import Target
from tools.release.wheels import Wheel

MODIFIED_S: Final = 1_580_601_600
"""The time of every file in an archive, so that the same wheels give the same bytes."""


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """What a node of a target needs beside the agent's own wheel.

    `pip` comes along as a wheel that runs from itself: a system's Python may have none.
    """

    target: Target
    pip: Wheel
    base: Sequence[Wheel]
    cpu: Sequence[Wheel]
    gpu: Sequence[Wheel] = ()

    @property
    def archive(self) -> str:
        """Name of its file."""
        return f"wheelhouse-{self.target.name}.tar"

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        return (self.pip, *self.base, *self.cpu, *self.gpu)

    @property
    def onnxruntime(self) -> list[str]:
        """Which of ONNX Runtime's builds it holds."""
        return ["cpu", "gpu"] if self.gpu else ["cpu"]

    def requirements(self) -> dict[str, str]:
        """The requirements files: name in the archive, and text."""
        sets = {"base": self.base, "cpu": self.cpu, "gpu": self.gpu}
        return {
            f"requirements/{name}.txt": _lines([wheel.pin for wheel in wheels])
            for name, wheels in sets.items()
            if wheels
        }

    def write(self, folder: Path) -> Path:
        """Write the archive: the same wheels give the same bytes. Not compressed, since wheels are."""
        path = folder / self.archive
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            directory = tarfile.TarInfo("requirements")
            directory.type, directory.mode, directory.mtime = tarfile.DIRTYPE, 0o755, MODIFIED_S
            members = {wheel.path.name: wheel.path for wheel in self.wheels}
            for name in sorted(members):
                with members[name].open("rb") as stream:
                    archive.addfile(_member(name, members[name].stat().st_size), stream)
            archive.addfile(directory)
            for name, text in sorted(self.requirements().items()):
                archive.addfile(_member(name, len(text.encode())), io.BytesIO(text.encode()))
        return path


def _lines(pins: list[Pin]) -> str:
    return "".join(pin.as_requirement() for pin in sorted(pins, key=lambda pin: pin.name))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, MODIFIED_S
    return member
