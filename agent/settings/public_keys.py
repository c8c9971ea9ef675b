"""Public keys in files: Ed25519, as PEM or as JWK. A private key in the place of one is refused, loudly.

Read without a cryptographic library, so that settings can be checked where none is installed.
"""

import base64
import binascii
import json
import re
from pathlib import Path
from typing import Final

from agent.domain.errors import Code, ConfigError

_MAX_BYTES: Final = 8_192
_KEY_BYTES: Final = 32

_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----")

_ED25519_INFO: Final = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of the key in a SubjectPublicKeyInfo of Ed25519.

Source: RFC 8410, section 4; DER leaves no other way to write it.
"""


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of the Ed25519 public key in `path`. Blocking.

    Raises:
        ConfigError: the file cannot be read, or holds something else; above all a private key.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode()
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}", code=Code.FILE) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    except UnicodeDecodeError as error:
        raise _wrong(path, "it is not text") from error
    key = _from_jwk(path, text) if text.lstrip().startswith("{") else _from_pem(path, text)
    if key is None or len(key) != _KEY_BYTES:
        raise _wrong(path, "it holds no Ed25519 public key")
    return key


def _from_pem(path: Path, text: str) -> bytes | None:
    if "PRIVATE KEY-----" in text:
        raise _private(path)
    blocks = _PEM.findall(text)
    if len(blocks) != 1:
        raise _wrong(path, f"it holds {len(blocks)} PEM blocks, and one is wanted")
    label, encoded = blocks[0]
    if label != "PUBLIC KEY":
        raise _wrong(path, f"it holds a {label}")
    try:
        der = base64.b64decode("".join(encoded.split()), validate=True)
    except binascii.Error as error:
        raise _wrong(path, "its base64 is damaged") from error
    return der.removeprefix(_ED25519_INFO) if der.startswith(_ED25519_INFO) else None


def _from_jwk(path: Path, text: str) -> bytes | None:
    try:
        members = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, "it is not JSON") from error
    if "d" in members:
        raise _private(path)
    x = members.get("x")
    if members.get("kty") != "OKP" or members.get("crv") != "Ed25519" or not isinstance(x, str):
        return None
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", x):
        return None
    return base64.urlsafe_b64decode(x + "=")


def _private(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} holds a PRIVATE key, which no node may have: whoever reads this node's disk can sign for "
        "all others. Remove it here, make a new pair (nanofleet fleet keygen), and give the public key",
        code=Code.FILE,
    )


def _wrong(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path}: {why}; an Ed25519 public key is wanted, as PEM (BEGIN PUBLIC KEY) or as JWK", code=Code.FILE
    )
