"""What a run would refuse of a policy's models, as far as that is known without loading one."""

from collections.abc import Iterator
from pathlib import Path

from agent.adapters.models import examine_package, is_package
from agent.contract.policy import ModelPolicy, Policy
from agent.contract.problems import Problem
from agent.domain.errors import Code, ConfigError, RefusedError
from agent.settings import Settings, resolve_media


def used_models(policy: Policy) -> dict[str, ModelPolicy]:
    """Those that an enabled source is served by, or lets look over its shoulder."""
    used = {source.model for source in policy.sources.values() if source.enabled}
    used |= {shadow.model for shadow in policy.shadows.values()}
    return {name: stanza for name, stanza in policy.models.items() if name in used}


def problems_of_models(policy: Policy, settings: Settings, *, file: Path) -> Iterator[Problem]:
    """Packages that are none, files of another hash, providers that are asked for strictly and not there.

    Not of models that are shadows only. Blocks: what has a hash in the policy is read.
    """
    for name, stanza in used_models(policy).items():
        if name not in policy.only_shadows:
            for key, message, code in _refusals(stanza, settings):
                place = ("policy", "models", name, key)
                yield Problem(message=message, path=place, file=str(file), code=code)


def doubts_of_models(policy: Policy, settings: Settings) -> Iterator[str]:
    """Shadows that would be left out, and models that another provider would serve than the policy names."""
    for name, stanza in used_models(policy).items():
        for key, message, code in _refusals(stanza, settings) if name in policy.only_shadows else ():
            yield f"policy.models.{name}.{key}: {message} [{code}]; nothing looks over a shoulder with it"
        if not stanza.strict_provider and (why := why_not_here(stanza.provider)):
            yield f"model {name} would run on another provider than {stanza.provider}: {why}"


def why_not_here(provider: str) -> str | None:
    """Why this ONNX Runtime cannot offer a provider; None if it was built with it."""
    if provider == "cpu":
        return None
    # Takes a while, and only who asks for another provider need wait for it.
    from agent.adapters.onnx.session import why_not_built_in

    try:
        return why_not_built_in(provider)
    except ConfigError as error:
        return error.message


def _refusals(stanza: ModelPolicy, settings: Settings) -> Iterator[tuple[str, str, Code]]:
    """Which key of the stanza would be refused, why, and as what."""
    try:
        _look_at(resolve_media(settings, stanza.file), stanza)
    except RefusedError as error:
        yield ("sha256" if error.code == Code.HASH else "file"), error.message, error.code
    if stanza.strict_provider and (why := why_not_here(stanza.provider)):
        yield "provider", why, Code.PROVIDER


def _look_at(path: Path, stanza: ModelPolicy) -> None:
    """Raises: RefusedError (it would not be loaded)."""
    if not path.exists():
        raise RefusedError(f"there is no file, or model package, at {path}", code=Code.FILE)
    if is_package(path):
        examine_package(path, sha256=stanza.sha256)
    elif stanza.sha256 is not None:
        from agent.adapters.onnx.session import sha256_of

        found = sha256_of(path)
        if found != stanza.sha256:
            raise RefusedError(
                f"{path.name} has the SHA-256 {found}, not {stanza.sha256} as asked for: it is another file",
                code=Code.HASH,
            )
