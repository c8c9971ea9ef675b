"""In which lanes a model runs best on this machine, as `nanofleet model bench --tune` found and keeps it."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.adapters.durable import replace_file
from agent.adapters.onnx.session import runtime_version, sha256_of
from agent.adapters.system.processor import cores, processor_name
from agent.domain.errors import Code, RefusedError

SUFFIX: Final = ".tune.json"

_LARGEST_BYTES: Final = 262_144
_MODEL_FILE: Final = "model.onnx"

Count = Annotated[int, Field(ge=1, le=1024)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lanes(_Part):
    """So many lanes over one session, of `threads` a run; `spinning` and `arena` as the session has them."""

    lanes: Count
    threads: Count
    spinning: bool
    arena: bool


class Machine(_Part):
    """What a measurement holds for: another runtime, processor or number of cores runs otherwise."""

    onnxruntime: str
    processor: str
    cores: Count

    @classmethod
    def here(cls) -> Self:
        """Raises: ConfigError (ONNX Runtime is not installed)."""
        return cls(onnxruntime=runtime_version(), processor=processor_name(), cores=cores())

    def __str__(self) -> str:
        return f"{self.processor}, {self.cores} cores, ONNX Runtime {self.onnxruntime}"


class Figure(_Part):
    """What was measured of one setup: calls of `all_p95_ms` with feeding and decoding, at most `peak_mb`."""

    setup: str
    per_second: float
    all_p50_ms: float
    all_p95_ms: float
    peak_mb: float


class Tuning(_Part):
    """`alone`: the lanes for one camera; `many`: for several, whose decoding wants the cores too."""

    version: Literal[1] = 1
    model_sha256: str
    provider: str
    machine: Machine
    alone: Lanes
    many: Lanes
    rule: str = ""
    figures: tuple[Figure, ...] = ()

    def why_stale(self, model: Path, *, provider: str, machine: Machine) -> str | None:
        """Why it does not hold for this model file here; None if it does. Reads the file.

        Raises:
            RefusedError: the model cannot be read.
        """
        if self.machine != machine:
            return f"measured on {self.machine}; this is {machine}"
        if self.provider != provider:
            return f"measured on {self.provider}; the policy says {provider}"
        digest = sha256_of(model)
        if self.model_sha256 != digest:
            return f"measured with another model file, {self.model_sha256[:12]}; this is {digest[:12]}"
        return None


def beside(model: Path) -> Path:
    """Where the tuning of a model file, or of a package's folder, is kept."""
    return model.with_name(model.name + SUFFIX)


def model_file(path: Path) -> Path:
    """The ONNX file that is measured: `path` itself, or the one in a package's folder."""
    return path / _MODEL_FILE if path.is_dir() else path


def read_tuning(path: Path) -> Tuning | None:
    """What is kept there; None where nothing is.

    Raises:
        RefusedError: it cannot be read, or is no tuning of this version.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    try:
        return Tuning.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise RefusedError(
            f"{path.name} is no tuning that this version knows ({where}: {first['msg']}); "
            "`nanofleet model bench --tune` would write one",
            code=Code.FILE,
        ) from error


def write_tuning(tuning: Tuning, path: Path) -> None:
    """Raises: RefusedError (it cannot be written)."""
    try:
        replace_file(path, f"{tuning.model_dump_json(indent=2)}\n".encode())
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror}", code=Code.FILE) from error
