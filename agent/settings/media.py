"""What a policy calls by a path is below `media_root`, also when links are followed."""

from pathlib import Path

from agent.domain.errors import Code, RefusedError
from agent.settings.model import Settings


def resolve_media(settings: Settings, relative: str) -> Path:
    """The file or folder that a policy means by `relative`, absolute and free of links. It may be absent.

    Raises:
        RefusedError: it is outside of `media_root` (E_AUTH), or its links go in a circle (E_FILE).
    """
    try:
        root = settings.media_root.resolve()
        path = (root / relative).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise RefusedError(f"{relative!r} cannot be resolved: {error}", code=Code.FILE) from error
    if not path.is_relative_to(root):
        raise RefusedError(
            f"{relative!r} leads out of media_root ({root}), to {path}; put the file itself below media_root",
            code=Code.AUTH,
        )
    return path
