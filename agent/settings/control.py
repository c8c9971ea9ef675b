"""Settings of signed control: whose policies and commands this node takes."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agent.contract.parts import Name, Part, Time
from agent.settings.paths import SettingsPath
from agent.settings.public_keys import read_public_key

Role = Literal["policy", "command"]


class ControlKeySettings(Part):
    """`[control.keys.NAME]`: a key whose signature this node takes; NAME is the `kid` in what it signs."""

    public_key_file: Annotated[
        SettingsPath,
        Field(description="Its public half, Ed25519, PEM or JWK. A private key is refused."),
    ]
    roles: Annotated[
        tuple[Role, ...],
        Field(
            min_length=1,
            description="What it may sign: policies, commands, or both. `patch-config` takes both.",
        ),
    ]
    issuers: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
        Field(description="In whose names it may sign, as a document's `issuer` says. Without: NAME alone."),
    ] = ()
    not_after: Annotated[
        Time | None,
        Field(description="From when it is not trusted any more, with zone. Without: until it is removed."),
    ] = None

    @property
    def ends_s(self) -> float | None:
        """`not_after` in seconds since 1970."""
        return None if self.not_after is None else datetime.fromisoformat(self.not_after).timestamp()

    def public_key(self) -> bytes:
        """The 32 bytes of the key. Blocking.

        Raises:
            ConfigError: the file is missing or holds no Ed25519 public key.
        """
        return read_public_key(self.public_key_file)


class ControlSettings(Part):
    """`[control]`: whether policies and commands that come over MQTT have to be signed, and by whom."""

    require_signed: Annotated[
        bool,
        Field(
            description="true: what is not signed by one of `keys` is refused. false: what is not signed is "
            "taken as well, and the broker's access control is all that guards it; a signature has to hold."
        ),
    ] = False
    max_policy_age_s: Annotated[
        int,
        Field(
            ge=60,
            le=31_536_000,
            description="Seconds from its `issued_at` on that a signed policy is taken, whatever it says "
            "itself. The policy in force stays in force.",
        ),
    ] = 2_592_000
    max_command_age_s: Annotated[
        int,
        Field(
            ge=10,
            le=43_200,
            description="The same for a signed command; less than the day for which ids of commands are "
            "kept.",
        ),
    ] = 600
    keys: Annotated[
        dict[Name, ControlKeySettings],
        Field(description="Keys whose signature this node takes, by name."),
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.require_signed and not self.keys:
            raise ValueError(
                "require_signed = true without any [control.keys.NAME] would refuse every policy and "
                "command; name the keys, or leave it false"
            )
        return self
