"""Who an operator is to the broker: the `[broker]` table of a file, as in a node's agent.toml."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from agent.adapters.mqtt import MqttLink
from agent.adapters.mqtt.credentials import TlsFiles, read_credentials
from agent.adapters.system.clock import SystemClock
from agent.contract.documents import MAX_BYTES
from agent.contract.explain import explain
from agent.contract.problems import FaultyDocumentError, Problem
from agent.contract.schemas import schema_of
from agent.domain.errors import Code, ConfigError
from agent.settings.broker import BrokerSettings
from agent.settings.loading import InvalidConfigError
from agent.settings.paths import Whereabouts
from agent.settings.toml_text import read_toml

_MOST_INBOUND_BYTES: Final = 16_777_216
"""As large as a policy lets a message be."""


@dataclass(frozen=True, slots=True)
class Client:
    """A way to the broker. `name` is what the broker knows this client by."""

    name: str
    broker: str
    link: MqttLink
    keepalive_s: int


def read_client(path: Path) -> Client:
    """The client that the settings in `path` describe. Blocking. Other tables than `[broker]` are ignored.

    The name is the CN of the certificate, which the broker takes for the client id whatever is said; without
    a certificate the user name, or one of this process's own.

    Raises:
        ConfigError: settings, certificate, key or password file cannot be used.
    """
    settings = read_broker(path)
    tls = None
    name = settings.username or f"nanofleet-fleet-{os.getpid()}"
    if settings.tls:
        tls = TlsFiles(ca=settings.ca_file, certificate=settings.cert_file, key=settings.key_file)
        name = read_credentials(tls).name or name
    link = MqttLink(
        host=settings.host,
        port=settings.port,
        client_id=name,
        clock=SystemClock(),
        tls=tls,
        insecure=settings.allow_insecure,
        username=settings.username,
        password_file=settings.password_file,
        dial_timeout_s=settings.connect_timeout_s,
        most_inbound_bytes=_MOST_INBOUND_BYTES,
    )
    return Client(name, f"{settings.host}:{settings.port}", link, settings.keepalive_s)


def read_broker(path: Path) -> BrokerSettings:
    """The `[broker]` table in `path`; relative paths in it are meant from the folder of the file.

    Raises:
        InvalidConfigError: with every problem of the table, and its line.
    """
    try:
        with path.open("rb") as file:
            document = read_toml(file.read(MAX_BYTES + 1), file=str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    except FaultyDocumentError as error:
        raise InvalidConfigError(error.problems) from error
    table: Any = document.data.get("broker")
    if not isinstance(table, dict):
        raise InvalidConfigError(
            [
                Problem(
                    message="there is no [broker] table, with host, ca_file, cert_file, key_file",
                    file=str(path),
                )
            ]
        )
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    whereabouts = Whereabouts(path.parent.absolute(), Path(credentials) if credentials else None)
    try:
        return BrokerSettings.model_validate(table, context=whereabouts)
    except ValidationError as error:
        problems = explain(
            error,
            schema=schema_of(BrokerSettings),
            line_of=lambda place: document.line_of(("broker", *place)),
            file=str(path),
        )
        raise InvalidConfigError([each.below("broker") for each in problems]) from error
