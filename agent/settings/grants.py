"""What Settings let a policy use by name: commands, and credentials for certain hosts."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from agent.contract.parts import Part
from agent.settings.hosts import HostRule
from agent.settings.paths import CredentialPath
from agent.settings.secret_files import read_password

Side = Annotated[int, Field(ge=16, le=8192)]


class PipeSettings(Part):
    """`[pipes.NAME]`: a command that writes raw frames, one after the other, to its standard output."""

    command: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(min_length=1, max_length=200, description="The command as a list of words; no shell reads it."),
    ]
    width_px: Annotated[Side, Field(description="Width of its frames, in pixels.")]
    height_px: Annotated[Side, Field(description="Height of its frames, in pixels.")]
    format: Annotated[
        Literal["bgr24", "rgb24", "i420", "nv12"],
        Field(description="Layout of its frames, without padding between rows."),
    ] = "bgr24"
    rate_hz: Annotated[
        float | None,
        Field(gt=0, le=240, description="Frames a second that it is known to write. Without: not known."),
    ] = None

    @model_validator(mode="after")
    def _halves_exist(self) -> Self:
        if self.format in {"i420", "nv12"} and (self.width_px % 2 or self.height_px % 2):
            raise ValueError(
                f"{self.format} halves both sides for colour, and {self.width_px}x{self.height_px} px "
                "has an odd one; even sides are wanted"
            )
        return self


class SecretSettings(Part):
    """`[secrets.NAME]`: credentials that a policy may use by this name, and the hosts they may go to."""

    username: Annotated[str, Field(min_length=1, description="User name.")]
    password_file: Annotated[
        CredentialPath,
        Field(
            description="A file with the password as its only line, closed to others. "
            "Looked for in $CREDENTIALS_DIRECTORY first."
        ),
    ]
    hosts: Annotated[
        tuple[HostRule, ...],
        Field(
            min_length=1,
            description="Where they may be sent: host names, addresses, `*.suffix`, networks (10.1.0.0/16).",
        ),
    ]

    def password(self) -> SecretStr:
        """The password as it stands in `password_file` now; a new one needs no restart.

        Raises:
            ConfigError: the file is missing, open to others or holds no password.
        """
        return read_password(self.password_file)
