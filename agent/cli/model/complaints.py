"""How every `nanofleet model` command ends when something is wrong: one sentence on stderr, no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from agent.domain.errors import ConfigError, NanofleetError


@contextmanager
def told(command: str) -> Iterator[None]:
    """Set the log up and turn our errors into a sentence and an exit code: 1, or 78 for a provider's lack."""
    from agent.adapters.logs.configure import configure_logging
    from agent.adapters.logs.scrub import Scrubber

    # Standard output belongs to the results.
    logging = configure_logging(stream=sys.stderr, scrubber=Scrubber(), level="warning")
    try:
        yield
    except NanofleetError as error:
        complain(command, error.message)
        raise typer.Exit(os.EX_CONFIG if isinstance(error, ConfigError) else 1) from error
    finally:
        logging.close()


def complain(command: str, message: str) -> None:
    """One sentence on stderr, under the command's name."""
    print(f"nanofleet model {command}: {message}", file=sys.stderr)
