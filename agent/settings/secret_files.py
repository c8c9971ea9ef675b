"""Passwords in files that only the right people can read."""

import stat
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from agent.domain.errors import Code, ConfigError

_MAX_BYTES: Final = 4096


def check_private(path: Path) -> None:
    """Refuse a file with a secret that everybody on this machine can read or change.

    Raises:
        ConfigError: it is missing, no regular file, or open to others.
    """
    try:
        facts = path.stat()
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}", code=Code.FILE) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(f"{path} is no regular file", code=Code.FILE)
    if facts.st_mode & stat.S_IRWXO:
        raise ConfigError(
            f"{path} holds a secret and everybody on this machine may use it "
            f"(mode {stat.S_IMODE(facts.st_mode):04o}); chmod 0640 {path}",
            code=Code.FILE,
        )


def read_password(path: Path) -> SecretStr:
    """The first line of `path`, which may end with a line break.

    Raises:
        ConfigError: the file is missing, open to others, empty, longer than one line or not UTF-8.
    """
    check_private(path)
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1).decode()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", code=Code.FILE) from error
    password = text.removesuffix("\n").removesuffix("\r")
    if not password:
        raise ConfigError(f"{path} is empty; a password is wanted", code=Code.FILE)
    if len(text) > _MAX_BYTES or "\n" in password:
        raise ConfigError(f"{path} holds more than one line; the password alone is wanted", code=Code.FILE)
    return SecretStr(password)
