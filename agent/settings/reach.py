"""Whether one gets as far as a path: `Path.exists` and its like raise where a folder on the way is closed."""

from pathlib import Path


def why_out_of_reach(path: Path) -> str | None:
    """What keeps this process from looking at `path`, in the words of the system; None if only absent."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return error.strerror or str(error)
    return None
