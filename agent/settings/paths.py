"""Paths in Settings: relative ones are meant from the file's own folder, credentials also from systemd's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where relative paths are looked for: handed to the models as pydantic's validation context.

    `credentials` is systemd's $CREDENTIALS_DIRECTORY, where it is set.
    Source: systemd.exec(5), LoadCredential=.
    """

    folder: Path
    credentials: Path | None = None


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    return info.context.folder / path if isinstance(info.context, Whereabouts) else path


def _from_credentials(path: Path, info: ValidationInfo) -> Path:
    if isinstance(info.context, Whereabouts) and info.context.credentials and not path.is_absolute():
        candidate = info.context.credentials / path
        if candidate.is_file():
            return candidate
    return _from_folder(path, info)


SettingsPath = Annotated[Path, AfterValidator(_from_folder), Field(json_schema_extra={"format": "path"})]
"""A path; a relative one is meant from the folder of the settings file."""

CredentialPath = Annotated[
    Path, AfterValidator(_from_credentials), Field(json_schema_extra={"format": "path"})
]
"""A path to something secret; a relative one is looked for in $CREDENTIALS_DIRECTORY first."""
