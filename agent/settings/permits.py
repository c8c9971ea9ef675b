"""What Settings permit a policy: hosts, secrets, pipes, and files below `media_root`."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from agent.contract.policy import Policy
from agent.contract.problems import KeyPath, Problem
from agent.contract.sources import FileCamera, ImagesCamera, NetworkCamera, PipeCamera
from agent.contract.words import nearest
from agent.domain.errors import Code, RefusedError
from agent.settings.hosts import is_covered
from agent.settings.media import resolve_media
from agent.settings.model import Settings
from agent.settings.reach import why_out_of_reach


def breaches(policy: Policy, settings: Settings, *, look_at_files: bool = True) -> Iterator[Problem]:
    """Everything in `policy` that this node does not permit, as E_AUTH; paths are seen from the policy.

    With `look_at_files` also models whose file is not there, as E_FILE. A clip or a folder of pictures
    may be missing: its source waits for it; and a shadow's model: its camera goes on without.
    """
    needed = policy.models.keys() - policy.only_shadows if look_at_files else set()
    for name, model in policy.models.items():
        yield from _file(("models", name, "file"), model.file, settings, must_exist=name in needed)
    for name, source in policy.sources.items():
        place = ("sources", name)
        match source:
            case FileCamera() | ImagesCamera():
                yield from _file((*place, "path"), source.path, settings, must_exist=False)
            case NetworkCamera():
                yield from _address(place, source, settings)
            case PipeCamera():
                yield from _defined((*place, "pipe"), source.pipe, settings.pipes, "pipes")


def _file(path: KeyPath, relative: str, settings: Settings, *, must_exist: bool) -> Iterator[Problem]:
    try:
        file = resolve_media(settings, relative)
    except RefusedError as error:
        yield Problem(message=error.message, path=path, code=error.code)
        return
    if not must_exist:
        return
    if why := why_out_of_reach(file):
        yield Problem(message=f"{file} cannot be read: {why}", path=path, code=Code.FILE)
    elif not file.is_file() and not (file / "model.yaml").is_file():
        yield Problem(
            message=f"there is no file, or model package, {relative!r} below media_root "
            f"({settings.media_root})",
            path=path,
            code=Code.FILE,
        )


def _address(place: KeyPath, camera: NetworkCamera, settings: Settings) -> Iterator[Problem]:
    host = urlsplit(camera.url).hostname or ""
    if not is_covered(host, settings.allowed_hosts):
        yield Problem(
            message=f"host {host!r} is not among Settings' allowed_hosts",
            path=(*place, "url"),
            hint=f"allowed: {', '.join(settings.allowed_hosts) or 'none'}",
            code=Code.AUTH,
        )
    if camera.secret is None:
        return
    yield from _defined((*place, "secret"), camera.secret, settings.secrets, "secrets")
    secret = settings.secrets.get(camera.secret)
    if secret is not None and not is_covered(host, secret.hosts):
        yield Problem(
            message=f"secret {camera.secret!r} may not be sent to host {host!r}",
            path=(*place, "secret"),
            hint=f"its hosts in Settings: {', '.join(secret.hosts)}",
            code=Code.AUTH,
        )


def _defined(path: KeyPath, name: str, table: Mapping[str, object], section: str) -> Iterator[Problem]:
    if name in table:
        return
    close = nearest(name, tuple(table))
    yield Problem(
        message=f"Settings have no [{section}.{name}]",
        path=path,
        hint=f"did you mean {close!r}?" if close else f"defined there: {', '.join(table) or 'none'}",
        code=Code.AUTH,
    )
