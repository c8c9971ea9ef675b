"""Key pairs that sign policies and commands, in files: `NAME.key` for the signer, `NAME.pub` for nodes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.domain.errors import Code, ConfigError

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

_MAX_BYTES: Final = 8_192


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """A pair that was made: the private half is nobody's but the signer's."""

    private: Path
    public: Path


def make_key_pair(name: str, *, folder: Path) -> KeyFiles:
    """Make an Ed25519 pair. The private file is its owner's alone (0600) from its first byte on.

    Raises:
        ConfigError: a file of this name is there already, which is never replaced; or it cannot be written;
            or joserfc is not installed.
    """
    key = _library().generate_key("Ed25519")
    files = KeyFiles(private=folder / f"{name}.key", public=folder / f"{name}.pub")
    if files.public.exists():
        raise _taken(files.public)
    _write_new(files.private, key.as_pem(private=True), mode=0o600)
    _write_new(files.public, key.as_pem(private=False), mode=0o644)
    return files


def read_private_key(path: Path) -> OKPKey:
    """The private key in `path`, PEM or JWK, without a passphrase.

    Raises:
        ConfigError: the file cannot be read, is open to others, or holds no Ed25519 private key; or joserfc
            is not installed. No message tells anything of what the file holds.
    """
    library = _library()
    from joserfc.errors import JoseError

    text = _read_closed(path)
    try:
        key = library.import_key(text)
    except (JoseError, ValueError, TypeError, KeyError):
        # Without its cause, which may quote the key.
        raise _no_key(path) from None
    if not key.is_private or key.curve_name != "Ed25519":
        raise _no_key(path)
    return key


def _library() -> type[OKPKey]:
    try:
        from joserfc.jwk import OKPKey
    except ImportError as error:
        raise ConfigError(
            f"keys and signatures need nanofleet with the extra `signed` (joserfc): {error}", code=Code.FILE
        ) from error
    return OKPKey


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", code=Code.FILE) from error


def _read_closed(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(
                    f"{path} holds a private key and others may use it (mode {stat.S_IMODE(mode):04o}); "
                    f"chmod 0600 {path}",
                    code=Code.FILE,
                )
            return file.read(_MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error


def _taken(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is there already, and a key is never replaced: move it away, or take another name",
        code=Code.FILE,
    )


def _no_key(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} holds no Ed25519 private key that can be read; PEM (BEGIN PRIVATE KEY, without a "
        "passphrase) or JWK is wanted, as `nanofleet fleet keygen` makes it",
        code=Code.FILE,
    )
