"""Telling from frame to frame which object is which: ByteTrack."""

from agent.vision.tracking.bytetrack import UNTRACKED, ByteTracker, TrackingRules
from agent.vision.tracking.stillness import Stillness

__all__ = ["UNTRACKED", "ByteTracker", "Stillness", "TrackingRules"]
