"""A child process that does not outlive the one that started it, however that ends."""

import ctypes
import os
import signal
from collections.abc import Mapping
from typing import Final

_PARENT: Final = "AGENT_PARENT_PID"

_PR_SET_PDEATHSIG: Final = 1
"""Source: prctl(2)."""


def tied(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child that calls `end_with_parent`; the thread that starts it waits for it.

    The kernel takes the end of that thread for the end of the parent.
    """
    return {**environment, _PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """To be called by the child first of all. Does nothing in a process that was started by hand.

    A parent may be killed, or leave without a word; nobody would be left to hold its child to a time limit.
    """
    parent = os.environ.pop(_PARENT, None)
    if parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before this was asked for
        os.kill(os.getpid(), signal.SIGKILL)
