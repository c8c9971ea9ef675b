"""Where every thread is at this moment, without what it holds: variables may be secrets, or pictures."""

import sys
import threading
import traceback
from pathlib import PurePath
from typing import Final

_MOST_FRAMES: Final = 15
_PARTS: Final = 3


def thread_stacks() -> dict[str, list[str]]:
    """By the name of each thread, ``file:line function`` from the outermost call to the innermost one.

    Any thread may ask, and finds itself among them.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks: dict[str, list[str]] = {}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 as faulthandler, but into a message
        name = names.get(ident, f"thread-{ident}")
        frames = traceback.StackSummary.extract(
            traceback.walk_stack(frame), limit=_MOST_FRAMES, lookup_lines=False
        )
        told = [f"{_short(each.filename)}:{each.lineno} {each.name}" for each in reversed(frames)]
        stacks[f"{name}#{ident}" if name in stacks else name] = told
    return stacks


def _short(file: str) -> str:
    """The end of a path, which tells a module from all others.

    >>> _short("/opt/nanofleet/lib/agent/pipeline/capture.py")
    'agent/pipeline/capture.py'
    """
    return "/".join(PurePath(file).parts[-_PARTS:])
