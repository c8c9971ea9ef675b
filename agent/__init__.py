"""The nanofleet edge agent: from cameras and sensors, through one inference worker, to a broker."""

from typing import Final

__version__: Final = "0.1.0"
