"""Settings of one node: loaded, merged, validated."""

from agent.settings.loading import InvalidConfigError, load_policy, load_settings
from agent.settings.media import resolve_media
from agent.settings.model import LoopbackPort, Settings, UnixSocket

__all__ = [
    "InvalidConfigError",
    "LoopbackPort",
    "Settings",
    "UnixSocket",
    "load_policy",
    "load_settings",
    "resolve_media",
]
