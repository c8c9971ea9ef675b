"""The way to the broker: a fresh client for each connection."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.adapters.mqtt.causes import no_connection
from agent.adapters.mqtt.credentials import Credentials, TlsFiles
from agent.adapters.mqtt.dial import Broker, Floor
from agent.adapters.mqtt.keyring import Keyring
from agent.adapters.mqtt.network import Asked
from agent.adapters.mqtt.renewal import CertificateWatch
from agent.adapters.mqtt.session import MqttSession
from agent.domain.errors import Code, ConfigError, TransientError
from agent.ports import Clock, Publication

_MOST_HUNG_THREADS = 3
"""Name resolution cannot be interrupted: a thread in it is abandoned, but not without limit."""

_MAY_BE_THEIR_FAULT: Final = frozenset({"tls", "refused", "closed"})
"""Causes for which the certificates may be to blame."""


class MqttLink:
    """Fulfils `ports.Link` with paho, MQTT 5, clean start.

    `tls` None is plain text, which has to be asked for by `insecure=True`. `password_file` is read again for
    each connection. So are the certificates, but what worked before is kept, and tried where what is new on
    disk does not work. `floor` tells the time to judge the broker's certificates by, where the clock cannot.
    Made where files may be read, for the check of certificates and password blocks.

    Raises:
        ConfigError: a certificate, key or password file cannot be used, or plain text was not asked for.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        client_id: str,
        clock: Clock,
        tls: TlsFiles | None,
        floor: Floor = lambda: None,
        insecure: bool = False,
        username: str | None = None,
        password_file: Path | None = None,
        dial_timeout_s: float = 15.0,
        connack_timeout_s: float = 5.0,
        most_inbound_bytes: int = 262_144,
    ) -> None:
        if tls is None and not insecure:
            message = "the broker would be spoken to in plain text; give certificates, or allow it explicitly"
            raise ConfigError(message, code=Code.TLS, path="tls")
        self._keyring = Keyring(tls) if tls is not None else None
        self._floor = floor
        self._broker = Broker(host=host, port=port)
        self._client_id = client_id
        self._clock = clock
        self._username = username
        self._password_file = password_file
        self._dial_timeout_s = dial_timeout_s
        self._connack_timeout_s = connack_timeout_s
        self._most_inbound_bytes = most_inbound_bytes
        self._hung: list[MqttSession] = []
        self._read_password()

    def __repr__(self) -> str:
        return f"MqttLink({self._broker}, client_id={self._client_id!r})"

    async def connect(self, *, will: Publication | None, keepalive_s: int) -> MqttSession:
        if keepalive_s < 1:
            raise ValueError(f"without a keepalive a dead line is never noticed; {keepalive_s} s is none")
        self._hung = [session for session in self._hung if session.thread_alive]
        if len(self._hung) >= _MOST_HUNG_THREADS:
            raise no_connection(
                "timeout", f"{len(self._hung)} earlier attempts still hang, most likely in DNS"
            )
        session = self._session(will=will, keepalive_s=keepalive_s)
        try:
            await self._establish(session)
        except TransientError as error:
            shown, keyring = session.credentials, self._keyring
            if keyring is None or shown is None or shown is keyring.current:
                raise
            if error.path not in _MAY_BE_THEIR_FAULT:
                raise
            keyring.reject(shown.digest, error.message)
            session = self._session(will=will, keepalive_s=keepalive_s, kept=True)
            await self._establish(session)
        if self._keyring is not None and session.credentials is not None:
            self._keyring.adopt(session.credentials)
        return session

    def watch(self) -> CertificateWatch | None:
        """What looks after the certificates; None in plain text."""
        if self._keyring is None:
            return None
        return CertificateWatch(
            keyring=self._keyring,
            broker=self._broker,
            clock=self._clock,
            floor=self._floor,
            timeout_s=self._dial_timeout_s,
        )

    def _session(self, *, will: Publication | None, keepalive_s: int, kept: bool = False) -> MqttSession:
        """One to be established, with what the certificate files hold now or with what was `kept`."""
        keyring = self._keyring
        credentials: Callable[[], Credentials] | None = None
        if keyring is not None:
            credentials = (lambda: keyring.current) if kept else keyring.newest
        asked = Asked(
            broker=self._broker,
            credentials=credentials,
            floor=self._floor,
            client_id=self._client_id,
            username=self._username,
            read_password=self._read_password,
            will=will,
            keepalive_s=keepalive_s,
            timeout_s=self._dial_timeout_s,
            most_inbound_bytes=self._most_inbound_bytes,
        )
        return MqttSession(asked=asked, clock=self._clock)

    async def _establish(self, session: MqttSession) -> None:
        self._hung.append(session)
        await session.establish(timeout_s=self._dial_timeout_s + self._connack_timeout_s)
        self._hung.remove(session)

    def _read_password(self) -> str | None:
        path = self._password_file
        if path is None:
            return None
        try:
            return path.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "not UTF-8"
            message = f"the password file {path} cannot be read: {said}"
            raise ConfigError(message, code=Code.FILE, path="password_file") from error
