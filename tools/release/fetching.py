"""The locked wheels of a target: from the folder where an earlier release left them, else by pip."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tools.release.locks import Pin
from tools.release.programs import TOOLS, ReleaseError, run
from tools.release.targets import Target
from tools.release.wheels import Wheel, read_wheel

_TIMEOUT_S: Final = 1800


def fetch(
    pins: Iterable[Pin], *, target: Target, kept: Path, pip: Path = TOOLS / "pip", tell: Callable[[str], None]
) -> list[Wheel]:
    """One wheel for each pin, each with a hash of the lock and a tag that the target runs.

    `kept` holds a folder for each target: else which of two fitting wheels is taken would depend on what was
    fetched before.

    Raises:
        ReleaseError: A package has no wheel for the target, or cannot be had.
    """
    folder = kept / target.name
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(pins)
    there = _there(wanted, target=target, folder=folder)
    missing = [pin for pin in wanted if pin not in there]
    if missing:
        tell(f"{target.name}: fetching {len(missing)} of {len(wanted)} wheels")
        _download(missing, target=target, folder=folder, pip=pip)
        there = _there(wanted, target=target, folder=folder)
    lost = [pin.name for pin in wanted if pin not in there]
    if lost:
        raise ReleaseError(f"{target.name}: no wheel that fits came of {', '.join(lost)}")
    return [there[pin] for pin in wanted]


def _there(pins: list[Pin], *, target: Target, folder: Path) -> dict[Pin, Wheel]:
    wanted = {(pin.name, pin.version): pin for pin in pins}
    found: dict[Pin, Wheel] = {}
    for path in sorted(folder.glob("*.whl")):
        wheel = read_wheel(path)
        pin = wanted.get((wheel.name, wheel.version))
        if pin is not None and wheel.tags & target.tags and wheel.sha256 in pin.hashes:
            found[pin] = wheel
    return found


def _download(pins: list[Pin], *, target: Target, folder: Path, pip: Path) -> None:
    # Into a folder of its own first: what is broken off half-way must not be taken for a wheel.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as name:
        fetched = Path(name)
        lock = fetched / "requirements.txt"
        lock.write_text("".join(pin.as_requirement() for pin in pins), encoding="utf-8")
        command: list[str | Path] = [
            *(
                pip,
                "download",
                "--quiet",
                "--no-input",
                "--disable-pip-version-check",
                "--progress-bar",
                "off",
            ),
            *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
            *("--implementation", "cp", "--python-version", target.python),
            *(word for platform in target.platforms for word in ("--platform", platform)),
            *("--dest", fetched, "--requirement", lock),
        ]
        run(command, what=f"{target.name}", timeout_s=_TIMEOUT_S)
        for path in fetched.glob("*.whl"):
            path.replace(folder / path.name)
