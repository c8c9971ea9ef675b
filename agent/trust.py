"""Whose control this node takes: from Settings to what verifies it."""

from agent.adapters.signing import JwsVerifier, TrustedKey
from agent.ports import Clock
from agent.settings import Settings


def control_verifier(settings: Settings, *, clock: Clock) -> JwsVerifier:
    """What opens policies and commands that come over MQTT. Reads key files: blocking.

    Raises:
        ConfigError: a key file cannot be used, or joserfc is needed and not installed.
    """
    control = settings.control
    return JwsVerifier(
        site=settings.site,
        node=settings.node,
        keys=[
            TrustedKey(
                name=name,
                public_key=key.public_key(),
                kinds=frozenset(key.roles),
                issuers=frozenset(key.issuers or (name,)),
                ends_s=key.ends_s,
            )
            for name, key in control.keys.items()
        ],
        require_signed=control.require_signed,
        max_age_s={"policy": control.max_policy_age_s, "command": control.max_command_age_s},
        clock=clock,
    )
