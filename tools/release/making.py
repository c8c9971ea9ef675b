"""The order in which a release is made; nothing is left in its folder unless all went well."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.release import advisories, bill, building, trial
from tools.release.advisories import Audit
from tools.release.description import describe, write_document
from tools.release.fetching import fetch
from tools.release.locks import Pin, Sets, read_lock, read_sets
from tools.release.programs import REPOSITORY, ReleaseError
from tools.release.targets import DEFAULT_TARGETS, Target, native
from tools.release.wheelhouse import Wheelhouse

RELEASES: Final = REPOSITORY / "dist" / "release"

NO_GPU_WHEEL: Final = (
    "{targets}: without a build for GPUs. The one that PyPI has of onnxruntime-gpu for aarch64 is for servers"
    " (their CUDA, glibc 2.34) and runs on no Jetson: build one for its JetPack, and give it to the role as"
    " nanofleet_onnxruntime (docs/jetson.md)"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for."""

    source: Path = REPOSITORY
    out: Path = RELEASES
    targets: tuple[Target, ...] = DEFAULT_TARGETS
    gpu: bool = False
    advisories: str = "pypi"
    accepted: Mapping[str, str] = field(default_factory=dict)
    unaudited: bool = False
    work: Path = REPOSITORY / "build"
    """Keeps wheels for the next release, and what the last audit said, whatever came of it."""
    tools_lock: Path = REPOSITORY / "requirements" / "release.txt"
    """Pins the pip that goes into the archives."""


def make(wanted: Wanted, *, tell: Callable[[str], None]) -> dict[str, Any]:
    """Make a release. Returns its folder, its description, the audit, and how long each step took.

    Raises:
        ReleaseError: It was stopped, or a step failed.
    """
    steps = _Steps()
    pip = read_lock(wanted.tools_lock, target=wanted.targets[0])["pip"]
    sets = {target: _sets_of(target, wanted=wanted) for target in wanted.targets}
    _tell_of_gpus(wanted, tell=tell)
    with steps.timed("audit"):
        audit = _audit({pin for one in sets.values() for pin in (pip, *one.all)}, wanted=wanted, tell=tell)
    wanted.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.out, prefix=".making-") as name:
        built, folder = Path(name) / "built", Path(name) / "release"
        built.mkdir()
        folder.mkdir()
        with steps.timed("build"):
            project = building.build(wanted.source, folder=built)
        with steps.timed("fetch"):
            wheelhouses = [
                _wheelhouse(target, sets=one, pip=pip, kept=wanted.work / "wheels", tell=tell)
                for target, one in sets.items()
            ]
        created_s = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
        with steps.timed("bill"):
            wheels = [project, *(wheel for one in wheelhouses for wheel in one.wheels)]
            pyproject = wanted.source / "pyproject.toml"
            bill.write_bill(wheels, project=pyproject, path=folder / "sbom.cdx.json", created_s=created_s)
        with steps.timed("pack"):
            archives = {one.target: one.write(folder) for one in wheelhouses}
            own = Path(shutil.copy(project.path, folder))
        with steps.timed("try"):
            _try_out(archives, wheel=own, version=project.version, tell=tell)
        write_document(folder / "audit.json", audit.as_document())
        with steps.timed("hash"):
            release = describe(
                folder,
                project=project,
                commit=building.commit_of(wanted.source),
                created_s=created_s,
                wheelhouses=wheelhouses,
            )
        write_document(folder / "release.json", release)
        final = wanted.out / project.version
        _put(folder, final, aside=Path(name) / "before")
    return {"folder": str(final), "release": release, "audit": audit.as_document(), "seconds": steps.seconds}


class _Steps:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began_s, 1)


def _has_gpu_wheel(target: Target) -> bool:
    return target.machine == "x86_64"


def _sets_of(target: Target, *, wanted: Wanted) -> Sets:
    gpu = wanted.gpu and _has_gpu_wheel(target)
    return read_sets(wanted.source / "requirements", target=target, gpu=gpu)


def _tell_of_gpus(wanted: Wanted, *, tell: Callable[[str], None]) -> None:
    if not wanted.gpu:
        return
    without = [target.name for target in wanted.targets if not _has_gpu_wheel(target)]
    if len(without) == len(wanted.targets):
        raise ReleaseError(NO_GPU_WHEEL.format(targets=", ".join(without)))
    if without:
        tell(NO_GPU_WHEEL.format(targets=", ".join(without)))


def _audit(pins: set[Pin], *, wanted: Wanted, tell: Callable[[str], None]) -> Audit:
    tell(f"asking {wanted.advisories} for advisories on {len(pins)} packages")
    audit = advisories.audit(pins, source=wanted.advisories, accepted=wanted.accepted)
    kept = wanted.work / "release" / "audit.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_document(kept, audit.as_document())
    for finding in audit.findings:
        tell(f"{'stops' if finding.accepted_because is None else 'accepted'}: {finding}")
    for name in audit.unused:
        tell(f"--accept {name}: nothing of that name was found")
    if audit.result == "found":
        stopping = [one.id for one in audit.findings if one.accepted_because is None]
        raise ReleaseError(
            f"{len(stopping)} known vulnerabilities stop this release ({', '.join(stopping)}):"
            ' take fixed versions (make lock UPGRADE=1), or name each with --accept ID --because "REASON"'
        )
    if audit.result == "unknown":
        if not wanted.unaudited:
            raise ReleaseError(
                f"whether anything is known against it is unknown: {audit.reason}; "
                'make release ARGS="--unaudited" goes on, and nodes then want nanofleet_accept_unaudited'
            )
        tell(f"unaudited: {audit.reason}")
    return audit


def _wheelhouse(
    target: Target, *, sets: Sets, pip: Pin, kept: Path, tell: Callable[[str], None]
) -> Wheelhouse:
    wheels = fetch([pip, *sets.all], target=target, kept=kept, tell=tell)
    of = dict(zip([pip, *sets.all], wheels, strict=True))
    return Wheelhouse(
        target=target,
        pip=of[pip],
        base=[of[pin] for pin in sets.base],
        cpu=[of[pin] for pin in sets.cpu],
        gpu=[of[pin] for pin in sets.gpu],
    )


def _try_out(
    archives: Mapping[Target, Path], *, wheel: Path, version: str, tell: Callable[[str], None]
) -> None:
    try:
        own = native()
    except ValueError:
        own = None
    if own is not None and own in archives:
        trial.try_out(archives[own], wheel=wheel, version=version)
    else:
        tell("none of the archives is for this machine: none was tried")


def _put(folder: Path, final: Path, *, aside: Path) -> None:
    if final.exists():
        final.rename(aside)
    folder.rename(final)
    shutil.rmtree(aside, ignore_errors=True)
