"""`python -m tools.release`: options, progress on stderr, the folder (or --json) on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from tools.release.making import RELEASES, Wanted, make
from tools.release.programs import REPOSITORY, ReleaseError
from tools.release.targets import DEFAULT_TARGETS, Target, target_named

_DESCRIPTION: Final = """\
Make a release: a folder with one archive of wheels for each target, from which nodes install without any
network; with the hash of each file, a bill of materials and an audit. Exit status 1: something stopped it,
and no folder was made or changed.
"""


def main(arguments: list[str]) -> int:
    """Make the release that the arguments ask for. Returns the exit status."""
    options, wanted = _parse(arguments)
    try:
        made = make(wanted, tell=_tell)
    except (ReleaseError, OSError) as error:
        _tell(str(error))
        return 1
    for name, file in made["release"]["files"].items():
        _tell(f"{file['bytes'] / 1e6:8.1f} MB  {name}")
    _tell(", ".join(f"{step} {seconds} s" for step, seconds in made["seconds"].items()))
    print(json.dumps(made, indent=2) if options.json else made["folder"])
    return 0


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, Wanted]:
    parser = argparse.ArgumentParser(
        prog="python -m tools.release", description=_DESCRIPTION, allow_abbrev=False
    )
    defaults = ", ".join(target.name for target in DEFAULT_TARGETS)
    parser.add_argument(
        "--target",
        action="append",
        type=_target,
        metavar="NAME",
        help=f"cp311-x86_64 and the like, or native; may be repeated; without it {defaults}",
    )
    parser.add_argument(
        "--source", type=Path, default=REPOSITORY, metavar="DIR", help="another tree to build from"
    )
    parser.add_argument(
        "--out", type=Path, default=RELEASES, metavar="DIR", help="where the folder VERSION is made"
    )
    parser.add_argument(
        "--onnxruntime",
        choices=["cpu", "gpu"],
        default="cpu",
        help="gpu adds the build for GPUs (x86_64 only)",
    )
    parser.add_argument(
        "--advisories",
        default="pypi",
        metavar="pypi|osv|ADDRESS",
        help="whom to ask; an address of a service that answers as OSV's /v1/query does",
    )
    parser.add_argument(
        "--accept", action="append", default=[], metavar="ID", help="let pass this advisory; needs --because"
    )
    parser.add_argument(
        "--because", action="append", default=[], metavar="REASON", help="why, one for each --accept"
    )
    parser.add_argument(
        "--unaudited",
        action="store_true",
        help="go on where the advisories cannot be had; audit.json says so",
    )
    parser.add_argument("--json", action="store_true", help="what was made, for a program")
    options = parser.parse_args(arguments)
    if len(options.accept) != len(options.because) or not all(map(str.strip, options.because)):
        parser.error('each --accept ID needs its --because "REASON", in the same order')
    if options.advisories not in {"pypi", "osv"} and "://" not in options.advisories:
        parser.error(f"--advisories {options.advisories}: neither pypi nor osv nor an address")
    return options, Wanted(
        source=options.source.resolve(),
        out=options.out.resolve(),
        targets=tuple(dict.fromkeys(options.target or DEFAULT_TARGETS)),
        gpu=options.onnxruntime == "gpu",
        advisories=options.advisories,
        accepted=dict(zip(options.accept, options.because, strict=True)),
        unaudited=options.unaudited,
    )


def _target(name: str) -> Target:
    try:
        return target_named(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _tell(line: str) -> None:
    print(f"release: {line}", file=sys.stderr, flush=True)
