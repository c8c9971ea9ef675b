"""Cameras: one module a kind of frame source."""
