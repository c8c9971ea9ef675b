"""Whether a broker's certificates are valid, for a node that does not know what time it is."""

import ssl
from typing import Any, Final

from agent.adapters.mqtt.causes import no_connection
from agent.adapters.mqtt.credentials import Validity, validity_of
from agent.domain.stamp import utc_text

_HINT: Final = "this node's clock is not set; it goes by the latest time it has known"


def check_dates(secured: ssl.SSLSocket, *, floor_s: float, host: str) -> None:
    """Judge the verified chain, from the broker's certificate to the authority, by a time that is not past.

    It is now `floor_s` or later (seconds since 1970). So a certificate that ended before has ended for
    certain; one that begins later tells that time has gone on, for nobody issues certificates of the future.
    There has to be one moment, not before the floor, at which all of them are valid.

    Raises:
        TransientError: there is none.
    """
    now_s = floor_s
    chain = [validity_of(certificate) for certificate in verified_chain(secured)]
    for each in chain:
        now_s = max(now_s, each.not_before_s)
    for place, each in enumerate(chain):
        if each.not_after_s < now_s:
            raise no_connection("tls", _sentence(host, place, each, now_s))


def verified_chain(secured: ssl.SSLSocket) -> list[dict[str, Any]]:
    """Each certificate as `getpeercert` tells one, the broker's own first."""
    # SSLSocket has a method of its own from Python 3.13 on, which gives DER; the object below it has had this
    # since 3.10. A canary test holds it.
    return [certificate.get_info() for certificate in secured._sslobj.get_verified_chain()]  # type: ignore[attr-defined] # noqa: SLF001


def _sentence(host: str, place: int, validity: Validity, now_s: float) -> str:
    whose = f"the certificate of {host}" if place == 0 else f"an authority in the chain of {host}"
    return f"{whose} is expired since {utc_text(validity.not_after_s)} ({_HINT}, {utc_text(now_s)})"
