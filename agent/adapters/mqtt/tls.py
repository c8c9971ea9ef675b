"""What went wrong in a TLS handshake: from OpenSSL's words to a clear sentence."""

import ssl
from collections.abc import Mapping
from typing import Any, Final

from agent.adapters.mqtt.credentials import TlsFiles

# Source: OpenSSL, include/openssl/x509_vfy.h.in, X509_V_ERR_*.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_ISSUER: Final = frozenset({18, 19, 20, 21})
_WRONG_HOST: Final = frozenset({62, 64})
_NOT_TLS: Final = frozenset(
    {"wrong version number", "unexpected message", "record layer failure", "packet length too long"}
)


def explain(
    error: ssl.SSLError, *, host: str, files: TlsFiles, peer: Mapping[str, Any] | None, now: str
) -> str:
    """One sentence about a failed handshake.

    `peer` is the broker's certificate as `getpeercert` tells it, where it could be looked at; `now` is this
    node's time, for a wrong clock makes a good certificate look expired.
    """
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _explain_other(error, files)
    peer = peer or {}
    trusted = str(files.ca) if files.ca else "the system's trusted authorities"
    if error.verify_code == _EXPIRED:
        when = f" since {peer['notAfter']}" if "notAfter" in peer else ""
        return f"the certificate of {host} is expired{when} (this node's clock says {now})"
    if error.verify_code == _NOT_YET_VALID:
        when = f" before {peer['notBefore']}" if "notBefore" in peer else " yet"
        return f"the certificate of {host} is not valid{when} (this node's clock says {now})"
    if error.verify_code in _WRONG_HOST:
        names = ", ".join(name for _kind, name in peer.get("subjectAltName", ())) or "other names"
        return f"host name mismatch: the certificate of {host} is for {names}"
    if error.verify_code in _UNKNOWN_ISSUER:
        return f"wrong CA: the certificate of {host} was not issued by one in {trusted}"
    return f"the certificate of {host} was not accepted: {error.verify_message}"


def _explain_other(error: ssl.SSLError, files: TlsFiles) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "alert" in reason:
        said = reason.partition("alert ")[2] or reason
        if files.certificate is None:
            return f"the broker ended the handshake ({said}); it may want a client certificate"
        return f"the broker did not accept our certificate {files.certificate} ({said})"
    if "eof" in reason:
        return "what answered there hung up during the TLS handshake; it may speak plain text on this port"
    if reason in _NOT_TLS:
        return f"what answered there does not speak TLS ({reason})"
    return f"the TLS handshake failed: {reason}"
