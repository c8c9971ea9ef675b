"""The bill of materials: every package of every archive, with licence and what it depends on."""

from __future__ import annotations

import json
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from tools.release.programs import TOOLS, ReleaseError, run
from tools.release.wheels import Wheel

_TIMEOUT_S: Final = 120


def write_bill(
    wheels: Iterable[Wheel],
    *,
    project: Path,
    path: Path,
    created_s: int,
    program: Path = TOOLS / "cyclonedx-py",
) -> int:
    """Write a CycloneDX document of the wheels, valid by its schema. Returns how many packages it names.

    `project` is the pyproject.toml of what the bill is about. The tool reads environments, and of
    those only what packages say of themselves: so one is made of these texts alone, whatever processor
    the wheels are for.

    Raises:
        ReleaseError: The tool fails, its document is not valid, or a package is not in it.
    """
    found = {(wheel.name, wheel.version): wheel for wheel in wheels}
    with tempfile.TemporaryDirectory() as name:
        environment = Path(name) / "environment"
        venv.create(environment, with_pip=False, symlinks=True)
        packages = next(environment.glob("lib/python3.*/site-packages"))
        for wheel in found.values():
            _unpack_texts(wheel.path, packages)
        command: list[str | Path] = [
            *(program, "environment", "--pyproject", project, "--output-reproducible", "--validate"),
            *("--output-format", "JSON", "--output-file", path, environment / "bin" / "python"),
        ]
        times = {"SOURCE_DATE_EPOCH": str(created_s)}
        run(command, what="cyclonedx-py", timeout_s=_TIMEOUT_S, extra_environment=times)
    document = json.loads(path.read_text(encoding="utf-8"))
    components = [document["metadata"]["component"], *document["components"]]
    billed = {(canonicalize_name(one["name"]), one.get("version")) for one in components}
    lacking = sorted(f"{name} {version}" for name, version in found if (name, version) not in billed)
    if lacking:
        raise ReleaseError(f"the bill of materials lacks {', '.join(lacking)}")
    return len(found)


def _unpack_texts(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(
            folder, [name for name in archive.namelist() if name.partition("/")[0].endswith(".dist-info")]
        )
