"""A foreign process that only computes: `python -m agent.workbench.bench.busy`, until its parent is gone."""

from __future__ import annotations

import os

_TURNS = 1_000_000


def main() -> None:
    """Take a core, and look now and then whether anybody still wants it."""
    parent = os.getppid()
    while os.getppid() == parent:
        for _ in range(_TURNS):
            pass


if __name__ == "__main__":
    main()
