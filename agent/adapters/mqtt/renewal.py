"""Watches the certificate files: tries what is new in them, and warns before what is in use expires."""

from typing import Final

from agent.adapters.mqtt.credentials import Credentials
from agent.adapters.mqtt.dial import Broker, Floor
from agent.adapters.mqtt.expiry import left_s, life_left, warning
from agent.adapters.mqtt.keyring import Keyring
from agent.adapters.mqtt.trial import try_credentials
from agent.domain.errors import ConfigError, TransientError
from agent.ports import CertificateCheck, Clock

_TRY_AGAIN_S: Final = 600.0
"""After which files that were not accepted are tried again: what the broker trusts may have changed."""

_UNDECIDED_AGAIN_S: Final = 30.0
"""The same after a trial that got no answer at all."""

_OUT_OF_REACH: Final = frozenset({"dns", "tcp", "timeout"})


class CertificateWatch:
    """Fulfils `ports.Certificates`."""

    def __init__(
        self, *, keyring: Keyring, broker: Broker, clock: Clock, floor: Floor, timeout_s: float
    ) -> None:
        self._keyring = keyring
        self._broker = broker
        self._clock = clock
        self._floor = floor
        self._timeout_s = timeout_s
        self._seen = keyring.current.digest
        self._not_before_ns = 0
        self._tried: bytes | None = None

    def check(self, *, connected: bool) -> CertificateCheck:
        before = self._keyring.current
        self._look(connected=connected)
        current = self._keyring.current
        now_s = self._clock.now().wall_ns / 1e9
        return CertificateCheck(
            trouble=self._trouble(current, now_s),
            expires_s=left_s(current, now_s=now_s),
            life_left=life_left(current, now_s=now_s),
            is_renewed=current is not before and connected,
        )

    def _look(self, *, connected: bool) -> None:
        """Try what is new in the files, once they have held it twice: a pair is written one by one."""
        seen, self._seen = self._seen, self._keyring.fingerprint()
        if self._seen != seen or self._seen == self._keyring.current.digest:
            return
        now_ns = self._clock.now().monotonic_ns
        if self._seen == self._tried and now_ns < self._not_before_ns:
            return
        try:
            found = self._keyring.renewed()
        except ConfigError as error:
            self._keyring.reject(self._seen, error.message)
            return
        if connected:  # without a session, each attempt to connect begins with what the files hold
            self._try(found, now_ns)

    def _try(self, found: Credentials, now_ns: int) -> None:
        again_s = _TRY_AGAIN_S
        try:
            try_credentials(self._broker, found, floor=self._floor, timeout_s=self._timeout_s)
        except TransientError as error:
            if error.path in _OUT_OF_REACH:
                again_s = _UNDECIDED_AGAIN_S
            else:
                self._keyring.reject(found.digest, error.message)
        else:
            self._keyring.adopt(found)
        self._tried = found.digest
        self._not_before_ns = now_ns + int(again_s * 1e9)

    def _trouble(self, current: Credentials, now_s: float) -> str | None:
        failure = self._keyring.failure
        if failure is not None and failure.digest == self._seen:
            return f"the new certificate files are not used, the ones before still are: {failure.why}"
        return warning(current, now_s=now_s) if self._clock.synced() else None
