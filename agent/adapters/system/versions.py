"""What this agent runs on: the versions that a report of a fault has to name."""

import platform
import sqlite3
import ssl
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_PACKAGES: Final = (
    *("numpy", "opencv-python-headless", "paho-mqtt", "pydantic", "structlog"),
    *("common-expression-language", "joserfc", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
)


def versions() -> dict[str, str]:
    """By name; packages that are not installed are left out. Reads files: for a thread of its own."""
    found = {
        "python": platform.python_version(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
