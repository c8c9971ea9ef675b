"""Values that the kernel shows as files, below a `root` that is / but in tests. Absent ones are no error."""

from pathlib import Path


def text(path: Path) -> str:
    """What a file says, in one line; empty where it is not to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""  # a sensor that sleeps, or vanished since it was listed


def number(path: Path) -> float | None:
    """The number that a file holds; None where it holds none."""
    try:
        return float(text(path))
    except ValueError:
        return None
