"""Settings of the connection to the broker."""

from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from agent.contract.parts import Part
from agent.settings.paths import CredentialPath, SettingsPath
from agent.settings.secret_files import read_password


class BrokerSettings(Part):
    """`[broker]`: the MQTT 5 broker, reached over TLS 1.2 or newer."""

    host: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^[^\s/@]+$",
            description="Host name or address. The broker's certificate has to carry it.",
        ),
    ]
    port: Annotated[int, Field(ge=1, le=65_535, description="TCP port.")] = 8883
    ca_file: Annotated[
        SettingsPath | None,
        Field(description="Whom to trust, PEM. Without: the certificate authorities of this machine."),
    ] = None
    cert_file: Annotated[
        SettingsPath | None,
        Field(description="This node's certificate with its chain, PEM. Its CN is the node's name."),
    ] = None
    key_file: Annotated[
        CredentialPath | None,
        Field(
            description="The key of `cert_file`, PEM, without a passphrase, closed to others. "
            "Looked for in $CREDENTIALS_DIRECTORY first."
        ),
    ] = None
    username: Annotated[
        str | None,
        Field(
            min_length=1, description="MQTT user name, where the broker does not take it from `cert_file`."
        ),
    ] = None
    password_file: Annotated[
        CredentialPath | None,
        Field(
            description="A file with the password as its only line, closed to others. "
            "Looked for in $CREDENTIALS_DIRECTORY first."
        ),
    ] = None
    keepalive_s: Annotated[
        int,
        Field(ge=5, le=3600, description="Longest silence, in seconds, after which the node pings."),
    ] = 20
    connect_timeout_s: Annotated[
        float,
        Field(gt=0, le=120, description="Longest wait for a connection with all handshakes, in seconds."),
    ] = 10.0
    allow_insecure: Annotated[
        bool,
        Field(
            description="true: plain text, without TLS. Whoever is on the way can read and forge everything: "
            "for a test bench only."
        ),
    ] = False

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        given = [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name) is not None]
        if self.allow_insecure and given:
            raise ValueError(
                f"allow_insecure = true is plain text, and {' and '.join(given)} would mean nothing; "
                "leave out one or the other"
            )
        if (self.cert_file is None) != (self.key_file is None):
            missing = "cert_file" if self.cert_file is None else "key_file"
            raise ValueError(
                f"{missing} is missing: a certificate and its key are given together, or neither of them"
            )
        if self.password_file is not None and self.username is None:
            raise ValueError("username is missing: MQTT takes no password without a user name")
        return self

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return not self.allow_insecure

    def password(self) -> SecretStr | None:
        """The password as it stands in `password_file` now; a new one needs no restart.

        Raises:
            ConfigError: the file is missing, open to others or holds no password.
        """
        return None if self.password_file is None else read_password(self.password_file)
