"""The nanofleet edge agent: from cameras and sensors, through one inference worker, to a broker."""

from typing import Final

__version__: Final = "0.1.0"
__released__: Final = "2026-11-24T00:00:00Z"
"""No clock that is right says an earlier time. Set with each release, never to a time to come."""
