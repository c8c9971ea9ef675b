"""Settings of one node: loaded, merged, validated."""

from agent.settings.media import resolve_media
from agent.settings.model import LoopbackPort, Settings, UnixSocket

__all__ = ["LoopbackPort", "Settings", "UnixSocket", "resolve_media"]
