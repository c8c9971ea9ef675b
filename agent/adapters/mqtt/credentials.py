"""Certificates and key as their files held them at one moment: what breaks on disk takes nothing away."""

import hashlib
import os
import ssl
from _ssl import _test_decode_cert  # type: ignore[attr-defined]
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agent.domain.errors import Code, ConfigError

# Source: OpenSSL, include/openssl/x509_vfy.h.in, X509_V_FLAG_NO_CHECK_TIME.
_NO_CHECK_TIME: Final = 0x200000
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_KEY: Final = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files: whom we trust (None: the authorities the system trusts), and who we are."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        return tuple(file for file in (self.ca, self.certificate, self.key) if file is not None)


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate is valid, in seconds since 1970."""

    not_before_s: float
    not_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Whom we trust and who we are, checked and ready for use from any thread."""

    files: TlsFiles
    digest: bytes
    name: str | None
    """The CN of our certificate; None without one."""
    validity: Validity | None
    """Of our certificate."""
    trusted_until_s: float | None
    """When the last of the authorities in `files.ca` expires."""
    _pems: "_Pems" = field(repr=False)

    def context(self, *, judges_dates: bool = True) -> ssl.SSLContext:
        """Verifies the broker's chain and name, TLS 1.2 or newer; blocking.

        Without `judges_dates`, for a node that does not know the time, whoever uses it judges them.
        """
        context = _context(self.files, self._pems)
        if not judges_dates:
            context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        return context

    def lenient_context(self) -> ssl.SSLContext:
        """For looking at a certificate that was not accepted: the authority counts, date and host do not.

        Nothing but a handshake goes over a connection made with it.
        """
        context = self.context(judges_dates=False)
        context.check_hostname = False
        return context


def fingerprint(files: TlsFiles) -> bytes:
    """What the files hold now, as a hash; also of files that are missing or cannot be used. Blocking."""
    return _digest_of([_content(file) for file in files.all])


def read_credentials(files: TlsFiles) -> Credentials:
    """Blocking.

    Raises:
        ConfigError: a file is missing, unreadable or not what it should be; the sentence names it.
    """
    if (files.certificate is None) != (files.key is None):
        raise _wrong("a client certificate and its key go together: give both files, or neither")
    # Each file is read once, so that what was hashed, checked and loaded is the same.
    ca = _pem(files.ca, _CERTIFICATE, "a certificate")
    certificate = _pem(files.certificate, _CERTIFICATE, "a certificate")
    key = _pem(files.key, _KEY, "a private key")
    if key is not None and b"ENCRYPTED" in key:
        raise _wrong(
            f"the key {files.key} is encrypted; store it without a password, readable only by this user"
        )
    pems = _Pems(ca, certificate, key)
    trusted = _context(files, pems).get_ca_certs() if ca is not None else []
    ours = None if certificate is None else _decode(certificate)
    return Credentials(
        files=files,
        digest=_digest_of([blob for blob in (ca, certificate, key) if blob is not None]),
        name=None if ours is None else _common_name(ours),
        validity=None if ours is None else validity_of(ours),
        trusted_until_s=max((validity_of(one).not_after_s for one in trusted), default=None),
        _pems=pems,
    )


def validity_of(certificate: Mapping[str, Any]) -> Validity:
    """Of a certificate as `getpeercert` tells it."""
    return Validity(
        ssl.cert_time_to_seconds(certificate["notBefore"]), ssl.cert_time_to_seconds(certificate["notAfter"])
    )


@dataclass(frozen=True, slots=True)
class _Pems:
    ca: bytes | None
    certificate: bytes | None
    key: bytes | None


def _context(files: TlsFiles, pems: _Pems) -> ssl.SSLContext:
    try:
        if pems.ca is None:
            context = ssl.create_default_context()
        else:
            with _in_memory(pems.ca) as ca:
                context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise _wrong(f"the CA file {files.ca} cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if pems.certificate is not None and pems.key is not None:
        _load_identity(context, pems.certificate, pems.key, files)
    return context


def _load_identity(context: ssl.SSLContext, certificate: bytes, key: bytes, files: TlsFiles) -> None:
    try:
        with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
            context.load_cert_chain(certificate_path, key_path)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _wrong(
                f"the key {files.key} does not belong to the certificate {files.certificate}"
            ) from error
        why = error.reason or error
        raise _wrong(f"{files.certificate} and {files.key} cannot be used: {why}") from error


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path for OpenSSL, which takes keys from files only, to what never touches a disk."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _decode(certificate: bytes) -> dict[str, Any]:
    """The first certificate, as `getpeercert` would tell it."""
    with _in_memory(certificate) as path:
        # Not public; a canary test holds it. Else a whole library were needed for two dates and a name.
        decoded: dict[str, Any] = _test_decode_cert(path)
        return decoded


def _common_name(certificate: dict[str, Any]) -> str | None:
    names = (value for part in certificate["subject"] for kind, value in part if kind == "commonName")
    return next(names, None)


def _pem(path: Path | None, mark: bytes, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _wrong(f"the file {path} cannot be read: {error.strerror or error}") from error
    if mark not in text:
        raise _wrong(f"the file {path} does not hold {what} in PEM form")
    return text


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.errno}".encode()


def _digest_of(contents: list[bytes]) -> bytes:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.digest()


def _wrong(message: str) -> ConfigError:
    return ConfigError(message, code=Code.TLS, path="tls")
