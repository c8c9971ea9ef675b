"""Send a node hostile policies, commands and acks for a while, and hold it to what it promises.

usage: python -m tools.fuzz_control (--cases N | --seconds S) [--seed N] [--json FILE]

Exit status 1: a promise was broken, and the document that did it lies beside; 0: none was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import OKPKey
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agent.adapters import heap
from agent.adapters.system.memory import peak_memory_mb
from agent.settings import Settings, load_settings
from tools.control_fuzzing.fuzzing import BrokenPromiseError, Fuzzer, Tally, keep_payload
from tools.control_fuzzing.node import ControlledNode
from tools.control_fuzzing.seeds import NODE, SITE

MOST_GROWTH_MB: Final = 20.0
_WARM_UP: Final = 2_000
"""Cases after which whatever is loaded once has been; ten of them have 10 MB."""

_SETTINGS: Final = """\
site = "{site}"
node = "{node}"
state_dir = "{folder}"
media_root = "{folder}/media"
allowed_hosts = ["10.1.20.7"]
[broker]
host = "broker.example"
"""


async def fuzz(*, cases: int | None, seconds: float | None, seed: int, folder: Path) -> dict[str, Any]:
    """Figures of a run, and `broken`: what the node did that it must not.

    Ends after so many cases or seconds, or with the first promise that is broken.
    """
    heap.limit_heaps()  # as the agent does
    key, public_key = key_pair()
    node = ControlledNode(settings=node_settings(folder), public_key=public_key)
    fuzzer = Fuzzer(node=node, random=random.Random(seed), key=key)
    began_s = time.monotonic()
    warm_mb, broken = peak_memory_mb(), None
    ends_s = None if seconds is None else began_s + seconds
    async with node.running() as tasks:
        with _progress() as progress:
            bar = progress.add_task("hostile documents", total=cases)
            while (cases is None or fuzzer.tally.cases < cases) and not _is_over(ends_s):
                try:
                    await fuzzer.one()
                except BrokenPromiseError as error:
                    broken = f"case {fuzzer.tally.cases - 1}: {error}; {keep_payload(Path.cwd(), error)}"
                    break
                if any(task.done() for task in tasks):
                    broken = f"case {fuzzer.tally.cases - 1} ended {next(t for t in tasks if t.done())}"
                    break
                if fuzzer.tally.cases == _WARM_UP:
                    warm_mb = peak_memory_mb()
                progress.update(bar, completed=fuzzer.tally.cases)
    grown_mb = peak_memory_mb() - warm_mb if fuzzer.tally.cases > _WARM_UP else None
    if broken is None and grown_mb is not None and grown_mb > MOST_GROWTH_MB:
        broken = f"the process grew by {grown_mb:.1f} MB; {MOST_GROWTH_MB:g} are allowed"
    return {
        **_figures(fuzzer.tally, time.monotonic() - began_s),
        "seed": seed,
        "grown_mb": grown_mb,
        "broken": broken,
    }


def main() -> int:
    """Run, print, and say whether all promises were kept."""
    arguments = _arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="fuzz-control-") as folder:
        figures = asyncio.run(
            fuzz(
                cases=arguments.cases,
                seconds=arguments.seconds,
                seed=arguments.seed,
                folder=Path(folder),
            )
        )
    print(json.dumps(figures, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["broken"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_control", description=__doc__.splitlines()[0])
    how_long = parser.add_mutually_exclusive_group(required=True)
    how_long.add_argument("--cases", type=int)
    how_long.add_argument("--seconds", type=float)
    parser.add_argument(
        "--seed", type=int, default=random.randrange(1_000_000), help="for the same cases again"
    )
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    return parser.parse_args()


def node_settings(folder: Path) -> Settings:
    """A node in that folder, with a model of that name and one camera's host allowed."""
    (folder / "media").mkdir()
    (folder / "media/parts.onnx").write_bytes(b"never loaded")
    file = folder / "agent.toml"
    file.write_text(_SETTINGS.format(site=SITE, node=NODE, folder=folder))
    return load_settings(file, environ={})


def key_pair() -> tuple[OKPKey, bytes]:
    """A key that signs, and what a node has to trust it by."""
    key = OKPKey.generate_key("Ed25519")
    return key, key.public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _is_over(ends_s: float | None) -> bool:
    return ends_s is not None and time.monotonic() >= ends_s


def _figures(tally: Tally, took_s: float) -> dict[str, Any]:
    return {
        "cases": tally.cases,
        "seconds": round(took_s, 1),
        "cases_per_s": round(tally.cases / took_s, 1),
        "slowest_ms": round(tally.slowest_s * 1e3, 1),
        "slowest": tally.slowest,
        "outcomes": dict(tally.outcomes.most_common()),
    }


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


if __name__ == "__main__":
    sys.exit(main())
