"""The interpreter without the command that comes with it."""

import importlib
import sys
from types import ModuleType
from typing import Final

_COMMAND: Final = "cel.cli"


def load() -> ModuleType:
    """The package `cel`, whose import would load a command line with rich and prompt_toolkit.

    5 MB at the peak instead of 29. While it is imported, an empty module stands in for the command.
    """
    if "cel" in sys.modules:
        return sys.modules["cel"]
    sys.modules[_COMMAND] = ModuleType(_COMMAND)
    try:
        return importlib.import_module("cel")
    finally:
        del sys.modules[_COMMAND]
