"""The certificates in use, which are kept until others have proved themselves."""

import threading
from dataclasses import dataclass

import structlog

from agent.adapters.mqtt.credentials import Credentials, TlsFiles, fingerprint, read_credentials
from agent.domain.errors import Code, ConfigError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why what the files held, by its digest, was not taken."""

    digest: bytes
    why: str


class Keyring:
    """Made from files that can be used; whatever becomes of them, there are always `current` ones.

    Used from the event loop, network threads and whoever watches the files. `fingerprint`, `renewed` and
    `newest` read files: not on the event loop.

    Raises:
        ConfigError: the files cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._current = read_credentials(files)
        self._failure: Failure | None = None

    @property
    def current(self) -> Credentials:
        """The last ones that worked; at first, the ones of the start."""
        return self._current

    @property
    def failure(self) -> Failure | None:
        """Of the last that were to take their place, and could not."""
        return self._failure

    def fingerprint(self) -> bytes:
        """What the files hold now; `current.digest`, while they hold what is in use."""
        return fingerprint(self._files)

    def renewed(self) -> Credentials:
        """What the files hold now.

        Raises:
            ConfigError: it cannot be used, or it is for somebody else than the current ones.
        """
        found, name = read_credentials(self._files), self._current.name
        if found.name != name:
            # It would be let in under that name, and might push another node out.
            message = f"the certificate {self._files.certificate} is for {found.name!r}, not for {name!r}"
            raise ConfigError(message, code=Code.TLS, path="tls")
        return found

    def newest(self) -> Credentials:
        """What the files hold now, if it can be used; else the current ones."""
        try:
            found = self.renewed()
        except ConfigError:
            return self._current  # whoever watches the files tells what is wrong with them
        return self._current if found.digest == self._current.digest else found

    def adopt(self, credentials: Credentials) -> None:
        """They work."""
        with self._lock:
            is_new = credentials.digest != self._current.digest
            self._current = credentials
            self._failure = None
        if is_new:
            files = [str(file) for file in self._files.all]
            log.info("link.certificate_renewed", files=files, name=credentials.name)

    def reject(self, digest: bytes, why: str) -> None:
        """What the files held then does not work."""
        with self._lock:
            is_new = self._failure is None or self._failure.digest != digest
            self._failure = Failure(digest, why)
        if is_new:
            log.warning("link.certificate_rejected", why=why, kept=self._current.name)
