"""What is allowed and yet probably not meant: for whoever checks a node's configuration, and for the log."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from agent.contract.policy import Policy
from agent.contract.sources import CameraPart, FileCamera, ImagesCamera, NetworkCamera
from agent.domain.errors import RefusedError
from agent.settings.media import resolve_media
from agent.settings.model import Settings


def advice_on_settings(settings: Settings) -> Iterator[str]:
    """Sentences about Settings alone."""
    if settings.broker.allow_insecure:
        yield (
            "broker.allow_insecure: everything goes to the broker in plain text; whoever is on the way "
            "can read and forge it"
        )
    if settings.control.keys and not settings.control.require_signed:
        yield "control.require_signed is false: a policy or command without any signature is taken as well"
    if not settings.allowed_hosts:
        yield "allowed_hosts is empty: a policy can use no network camera"


def advice_on_policy(policy: Policy, settings: Settings, *, look_at_files: bool = True) -> Iterator[str]:
    """Sentences about a valid policy. With `look_at_files` it looks for what is named there: blocking."""
    enabled = {name: source for name, source in policy.sources.items() if source.enabled}
    if not enabled:
        yield "policy.sources: none is enabled, the node watches nothing"
    used = {source.model for source in enabled.values()} | {each.model for each in policy.shadows.values()}
    for name in policy.models.keys() - used:
        yield f"policy.models.{name}: no enabled source uses it"
    for name, source in enabled.items():
        where = f"policy.sources.{name}"
        match source:
            case FileCamera() | ImagesCamera() if look_at_files and not _is_there(source.path, settings):
                yield f"{where}.path: {source.path} is not below media_root yet; the source waits for it"
            case NetworkCamera(secret=str()) if urlsplit(source.url).scheme == "http":
                yield f"{where}.secret: over http its password can be read on the way"
        if isinstance(source, CameraPart) and source.model is None:
            yield f"{where}: it has no model, nothing is inferred"
        if isinstance(source, CameraPart) and source.tracking is not None:
            keep_s, period_s = source.tracking.keep_s, source.period_s or 0.0
            if period_s > keep_s:
                yield (
                    f"{where}.tracking.keep_s: a frame comes every {period_s:g} s, and tracks are kept "
                    f"{keep_s:g} s; who is missed in one frame has another number in the next"
                )


def _is_there(relative: str, settings: Settings) -> bool:
    try:
        return resolve_media(settings, relative).exists()
    except (RefusedError, OSError):
        return False
