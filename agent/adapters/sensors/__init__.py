"""Sensors: one module a kind of reading source."""
