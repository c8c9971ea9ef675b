"""Settings: who this node is, which broker it talks to, and what a policy may use of this machine.

Fixed for the life of the process, and owned by the administrator of the node.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from agent.contract.parts import Name, Part
from agent.settings.broker import BrokerSettings
from agent.settings.control import ControlSettings
from agent.settings.grants import PipeSettings, SecretSettings
from agent.settings.hosts import HostRule
from agent.settings.outbox import OutboxSettings
from agent.settings.paths import SettingsPath


@dataclass(frozen=True, slots=True)
class LoopbackPort:
    """A TCP port on an address of this machine that nobody else reaches."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A socket in the file system."""

    path: Path


def _parse_listen(text: str) -> LoopbackPort | UnixSocket | None:
    if text == "off":
        return None
    if text.startswith("/"):
        return UnixSocket(Path(text))
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{text[:80]!r} is no place to listen; 127.0.0.1:9464, /run/… or off is wanted")
    bare = host.removeprefix("[").removesuffix("]")
    try:
        loopback = bare == "localhost" or ipaddress.ip_address(bare).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(
            f"{text[:80]!r} would be open to the network, without any authentication; "
            "127.0.0.1:PORT, [::1]:PORT or a Unix socket is wanted"
        )
    return LoopbackPort(bare, int(port))


def _check_listen(text: str) -> str:
    _parse_listen(text)
    return text


class HttpSettings(Part):
    """`[http]`: health and metrics for whoever looks after this machine."""

    listen: Annotated[
        str,
        AfterValidator(_check_listen),
        Field(
            description="Where /healthz, /readyz and /metrics are served: a loopback address with its port, "
            "the absolute path of a Unix socket, or off."
        ),
    ] = "127.0.0.1:9464"

    @property
    def place(self) -> LoopbackPort | UnixSocket | None:
        """`listen`, taken apart; None is off."""
        return _parse_listen(self.listen)


class LogSettings(Part):
    """`[log]`: what the agent says of itself."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="Events less grave are not written."),
    ] = "info"


class Settings(Part):
    """All of them. `load_settings` makes one from the file, the environment and secret files."""

    site: Annotated[Name, Field(description="The site, as it stands in every topic.")]
    node: Annotated[
        Name,
        Field(description="This node, unique on its broker: the CN of its certificate and its client id."),
    ]
    state_dir: Annotated[
        SettingsPath,
        Field(description="Folder for what has to survive a restart; the outbox is in it."),
    ] = Path("/var/lib/nanofleet")
    policy_file: Annotated[
        SettingsPath,
        Field(description="The first policy, YAML, or JSON if its name ends with .json."),
    ] = Path("/etc/nanofleet/policy.yaml")
    media_root: Annotated[
        SettingsPath,
        Field(description="Folder of models, clips and pictures; a policy can name nothing outside of it."),
    ] = Path("/var/lib/nanofleet/media")
    allowed_hosts: Annotated[
        tuple[HostRule, ...],
        Field(
            description="Hosts that cameras of a policy may be fetched from: names, addresses, `*.suffix` "
            "or networks (10.1.0.0/16; for hosts that are written as addresses)."
        ),
    ] = ()
    broker: Annotated[BrokerSettings, Field(description="The MQTT 5 broker.")]
    outbox: Annotated[OutboxSettings, Field(description="Messages that wait for it.")] = OutboxSettings()
    pipes: Annotated[
        dict[Name, PipeSettings],
        Field(description="Commands that `pipe` cameras may run, by name."),
    ] = Field(default_factory=dict)
    secrets: Annotated[
        dict[Name, SecretSettings],
        Field(description="Credentials that a policy may use, by name."),
    ] = Field(default_factory=dict)
    control: Annotated[ControlSettings, Field(description="Whose policies and commands are taken.")] = (
        ControlSettings()
    )
    http: Annotated[HttpSettings, Field(description="Health and metrics.")] = HttpSettings()
    log: Annotated[LogSettings, Field(description="What the agent says of itself.")] = LogSettings()

    @property
    def outbox_file(self) -> Path:
        return self.state_dir / "outbox.sqlite3"

    @property
    def packages_dir(self) -> Path:
        """Where model packages are laid before they are used, each below its hash."""
        return self.state_dir / "packages"

    def known_passwords(self) -> list[str]:
        """Every password that these settings can name, for the log to hide. Reads their files: blocking.

        Raises:
            ConfigError: a file is missing, open to others or holds no password.
        """
        found = [self.broker.password(), *(secret.password() for secret in self.secrets.values())]
        return [password.get_secret_value() for password in found if password is not None]
