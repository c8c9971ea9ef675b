"""Whether the files that Settings name are there, and closed to those whom they do not concern."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from agent.contract.problems import KeyPath, Problem
from agent.domain.errors import Code, ConfigError
from agent.settings.model import Settings
from agent.settings.reach import why_out_of_reach
from agent.settings.secret_files import check_private, read_password


def file_problems(settings: Settings) -> Iterator[Problem]:
    """Every file that is missing, unreadable or open to others. Reads them: blocking."""
    broker = settings.broker
    for name, path in (("ca_file", broker.ca_file), ("cert_file", broker.cert_file)):
        if path is not None:
            yield from _readable(("broker", name), path)
    if broker.key_file is not None:
        yield from _private_key(("broker", "key_file"), broker.key_file)
    if broker.password_file is not None:
        yield from _password(("broker", "password_file"), broker.password_file)
    yield from _control_keys(settings)
    for name, secret in settings.secrets.items():
        yield from _password(("secrets", name, "password_file"), secret.password_file)
    for name, pipe in settings.pipes.items():
        if shutil.which(pipe.command[0]) is None:
            yield Problem(
                message=f"there is no program {pipe.command[0]!r} on this machine",
                path=("pipes", name, "command", 0),
                hint="install it, or give the absolute path of a file that may be executed",
                code=Code.FILE,
            )
    if why := why_out_of_reach(settings.state_dir):
        message = f"{settings.state_dir} cannot be used by this user: {why}"
        yield Problem(message=message, path=("state_dir",), code=Code.FILE)
    elif settings.state_dir.exists() and not settings.state_dir.is_dir():
        yield Problem(message=f"{settings.state_dir} is no folder", path=("state_dir",), code=Code.FILE)


def _control_keys(settings: Settings) -> Iterator[Problem]:
    keys = settings.control.keys
    for name, key in keys.items():
        try:
            key.public_key()
        except ConfigError as error:
            where = ("control", "keys", name, "public_key_file")
            yield Problem(message=error.message, path=where, code=error.code)
    if keys and find_spec("joserfc") is None:
        yield Problem(
            message="signatures cannot be verified: joserfc is not installed",
            path=("control", "keys"),
            hint="install nanofleet with the extra `signed`",
            code=Code.FILE,
        )


def _readable(where: KeyPath, path: Path) -> Iterator[Problem]:
    if why := why_out_of_reach(path):
        yield Problem(message=f"{path} cannot be read: {why}", path=where, code=Code.FILE)
    elif not path.is_file():
        yield Problem(message=f"there is no file {path}", path=where, code=Code.FILE)
    elif not os.access(path, os.R_OK):
        yield Problem(message=f"{path} may not be read by this user", path=where, code=Code.FILE)


def _private_key(where: KeyPath, path: Path) -> Iterator[Problem]:
    try:
        check_private(path)
    except ConfigError as error:
        yield Problem(message=error.message, path=where, code=error.code)
    else:
        yield from _readable(where, path)


def _password(where: KeyPath, path: Path) -> Iterator[Problem]:
    try:
        read_password(path)
    except ConfigError as error:
        yield Problem(message=error.message, path=where, code=error.code)
