"""Certificates: from files to a context that verifies, and from OpenSSL's words to a clear sentence."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.domain.errors import Code, ConfigError

_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_ISSUER: Final = frozenset({18, 19, 20, 21})
_WRONG_HOST: Final = frozenset({62, 64})
_NOT_TLS: Final = frozenset(
    {"wrong version number", "unexpected message", "record layer failure", "packet length too long"}
)
# Source: OpenSSL, include/openssl/x509_vfy.h.in, X509_V_ERR_* and X509_V_FLAG_NO_CHECK_TIME.
_NO_CHECK_TIME: Final = 0x200000


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files: whom we trust (None: the authorities the system trusts), and who we are."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """A context that verifies certificate and host name, TLS 1.2 or newer. Reads the files: blocking.

    Raises:
        ConfigError: a file is missing, unreadable or not what it should be; the sentence names it.
    """
    if (files.certificate is None) != (files.key is None):
        raise _wrong("a client certificate and its key go together: give both files, or neither")
    if files.ca is not None:
        _check_pem(files.ca, b"-----BEGIN CERTIFICATE-----", "a certificate")
    context = _trusting(files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.certificate is not None and files.key is not None:
        _load_identity(context, files.certificate, files.key)
    return context


def make_lenient_context(files: TlsFiles) -> ssl.SSLContext:
    """For looking at a certificate that was not accepted: the authority counts, date and host do not.

    Nothing but a handshake goes over a connection made with it.
    """
    context = make_context(files)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    return context


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


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise _wrong(f"the CA file {ca} cannot be used: {error}") from error


def _load_identity(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _check_pem(certificate, b"-----BEGIN CERTIFICATE-----", "a certificate")
    if b"ENCRYPTED" in _check_pem(key, b"PRIVATE KEY-----", "a private key"):
        raise _wrong(f"the key {key} is encrypted; store it without a password, readable only by this user")
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _wrong(f"the key {key} does not belong to the certificate {certificate}") from error
        raise _wrong(f"{certificate} and {key} cannot be used: {error.reason or error}") from error
    except OSError as error:
        raise _wrong(f"{certificate} and {key} cannot be read: {error.strerror or error}") from error


def _check_pem(path: Path, mark: bytes, what: str) -> bytes:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _wrong(f"the file {path} cannot be read: {error.strerror or error}") from error
    if mark not in text:
        raise _wrong(f"the file {path} does not hold {what} in PEM form")
    return text


def _wrong(message: str) -> ConfigError:
    return ConfigError(message, code=Code.TLS, path="tls")
