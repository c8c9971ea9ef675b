"""Running the tools that a release is made with, and what stops one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
TOOLS: Final = REPOSITORY / ".venv-release" / "bin"
"""`make venv-release` makes it."""


class ReleaseError(Exception):
    """What stops a release, in one sentence for a person."""


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    timeout_s: float,
    folder: Path | None = None,
    extra_environment: Mapping[str, str] | None = None,
    accepted: Sequence[int] = (0,),
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Raises:
        ReleaseError: It is not there, ended with another status than those accepted, or took too long;
            named by `what` and the last thing it said.
    """
    environment = {**os.environ, **(extra_environment or {})}
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise ReleaseError(f"{what}: {error.filename} is not there (make venv-release)") from error
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(f"{what}: gave up after {timeout_s:g} s") from error
    if done.returncode not in accepted:
        raise ReleaseError(f"{what}: {last_words(done)}")
    return done


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program said, of its errors if it said any."""
    said = [line.strip() for text in (done.stdout, done.stderr) for line in text.splitlines() if line.strip()]
    errors = [line for line in said if line.startswith(("ERROR", "error"))]
    return (errors or said or [f"exit status {done.returncode}"])[-1]
