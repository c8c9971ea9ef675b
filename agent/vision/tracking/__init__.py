"""Telling from frame to frame which object is which: ByteTrack."""

from agent.vision.tracking.bytetrack import ByteTracker, TrackingRules

__all__ = ["ByteTracker", "TrackingRules"]
