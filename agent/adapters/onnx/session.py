"""One ONNX Runtime session: opened with the provider asked for or a loud fallback, run from any thread."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import structlog
from numpy.typing import NDArray

from agent.adapters import heap
from agent.adapters.onnx import libraries, providers
from agent.adapters.onnx.accelerator import DEFAULT, Accelerator, EngineOptions
from agent.adapters.onnx.assignment import RECORD, Assignment, read_assignment
from agent.adapters.onnx.claims import claims
from agent.adapters.onnx.refusals import runtime_errors, what_it_says, why_no_model, why_refused
from agent.domain.errors import Code, ConfigError, RefusedError, TransientError

if TYPE_CHECKING:
    import onnxruntime

log = structlog.get_logger(__name__)

_SEVERITY_ERROR = 3
_NOTHING: Final[Mapping[str, NDArray[Any]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output: `shape` has None where the file leaves a side open; `dtype` as numpy names it."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name} {self.dtype} [{sides}]"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How a session runs.

    With `strict_provider` it runs on `provider` or not at all, to the last node. `threads` within one run.
    `spinning`: they wait for work busily, 13 % faster on an idle machine and much slower beside other work.
    `arena`: memory is kept from run to run. `engine` is TensorRT's. `meanwhile_for` names the provider whose
    place `provider` keeps until it is ready.
    """

    provider: str = "cpu"
    strict_provider: bool = False
    threads: int = 1
    spinning: bool = True
    arena: bool = True
    accelerator: Accelerator = DEFAULT
    engine: EngineOptions | None = None
    meanwhile_for: str | None = None


class OnnxSession:
    """A loaded file. `run` may be called from several threads at once."""

    def __init__(self, session: "onnxruntime.InferenceSession", *, path: Path, sha256: str) -> None:
        self._session = session
        self.path = path
        self.sha256 = sha256
        self.stands_for: str | None = None  # the hash of the file that this one was rewritten from
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())
        self.metadata: Mapping[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self.provider_used = providers.name_of(session.get_providers())
        self.assignment: Assignment | None = None if self.provider_used == "cpu" else read_assignment(session)

    @property
    def runtime(self) -> "onnxruntime.InferenceSession":
        """The library's own session, for those who compare it with another runtime."""
        return self._session

    def run(
        self,
        feed: NDArray[Any],
        outputs: Sequence[str] | None = None,
        *,
        beside: Mapping[str, NDArray[Any]] = _NOTHING,
    ) -> list[NDArray[Any]]:
        """The outputs named (all of them for None) for the first input, and what goes `beside` it, by name.

        Raises:
            TransientError: the runtime failed.
        """
        try:
            return list(self._session.run(outputs, {self.inputs[0].name: feed, **beside}))
        except runtime_errors() as error:
            raise TransientError(
                f"{self.path.name} failed on an input of {list(feed.shape)}: {what_it_says(error)}",
                code=Code.MODEL,
            ) from error

    def refusal(self, reason: str) -> RefusedError:
        """The error for a file that cannot serve, with what it says of itself."""
        return RefusedError(
            f"{self.path.name}: {reason}. Inputs: {_listed(self.inputs)}. Outputs: {_listed(self.outputs)}. "
            f"Metadata: {claims(self.metadata)}",
            code=Code.MODEL,
        )


def open_session(path: Path, *, sha256: str | None, settings: SessionSettings) -> OnnxSession:
    """Load a file.

    Raises:
        RefusedError: it is missing, not the file with `sha256`, no model, or this runtime cannot run it.
        ConfigError: onnxruntime is not installed, or `strict_provider` and the provider is not in use.
    """
    try:
        reason = why_no_model(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if reason is not None:
        raise RefusedError(f"{path.name} {reason}", code=Code.FILE if path.is_dir() else Code.MODEL)
    digest = sha256_of(path)
    if sha256 is not None and digest != sha256.lower():
        raise RefusedError(
            f"{path.name} has the SHA-256 {digest}, not {sha256.lower()} as asked for: it is another file",
            code=Code.HASH,
        )
    available = _runtime().get_available_providers()
    wanted = providers.chain(
        settings.provider,
        threads=settings.threads,
        available=available,
        accelerator=settings.accelerator,
        engine=settings.engine,
    )
    libraries.preload(_runtime(), settings.provider)
    if settings.strict_provider and settings.provider != "cpu":
        return OnnxSession(_strict(path, settings, wanted, available), path=path, sha256=digest)
    session, failure = _first_that_opens(path, settings, wanted)
    opened = OnnxSession(session, path=path, sha256=digest)
    _tell(opened, settings, available, failure)
    return opened


def _first_that_opens(
    path: Path, settings: SessionSettings, wanted: list[providers.ProviderOptions]
) -> tuple["onnxruntime.InferenceSession", str | None]:
    """With each of the chain in turn at its head, and what the library said to the first, if it failed.

    Raises:
        RefusedError: not even the CPU can load it.
    """
    failure = None
    for first in range(len(wanted) - 1):
        try:
            return _create(path, settings, wanted[first:]), failure
        except runtime_errors() as error:
            failure = failure or what_it_says(error)
    try:
        return _create(path, settings, wanted[-1:]), failure
    except runtime_errors() as error:
        raise _refused(path, error) from error


def _strict(
    path: Path, settings: SessionSettings, wanted: list[providers.ProviderOptions], available: Sequence[str]
) -> "onnxruntime.InferenceSession":
    """A session in which no node is left to the CPU.

    Raises:
        ConfigError: that cannot be had here.
        RefusedError: not even the CPU can load the file.
    """
    asked = settings.provider
    failure = None
    if providers.is_built_in(asked, available):
        try:
            # Named in the list, the CPU would contradict the wish to be left out.
            session = _create(path, settings, wanted[:-1], leave_cpu_out=True)
        except runtime_errors() as error:
            failure = what_it_says(error)
        else:
            if providers.name_of(session.get_providers()) == asked:
                return session
    loose = OnnxSession(_first_that_opens(path, settings, wanted)[0], path=path, sha256="")
    if loose.provider_used == asked:
        reason = f"it would leave nodes to others: {loose.assignment or failure}"
    else:
        reason = f"{loose.provider_used} would run it: {_why_not(asked, available, failure)}"
    raise ConfigError(
        f"{path.name} is to run on {asked} and nothing else, but {reason}",
        code=Code.PROVIDER,
        path="provider",
    )


def _create(
    path: Path,
    settings: SessionSettings,
    wanted: list[providers.ProviderOptions],
    *,
    leave_cpu_out: bool = False,
) -> "onnxruntime.InferenceSession":
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = settings.arena
    # Planned as one block, the memory of a run is 22 MB more at YOLOv8n's 640 (39 MB with two lanes), and no
    # faster: 75.9 against 77.3 ms with two threads, 102.1 against 101.8 in two one-thread lanes.
    options.enable_mem_pattern = False
    options.log_severity_level = _SEVERITY_ERROR
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(settings.spinning)))
    if leave_cpu_out:
        # Source: onnxruntime_session_options_config_keys.h, kOrtSessionOptionsDisableCPUEPFallback.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if len(wanted) > 1 or leave_cpu_out:
        options.add_session_config_entry(RECORD, "1")
    # Its own fallback prints to standard output; ours is told in the log.
    session = runtime.InferenceSession(str(path), options, providers=wanted, enable_fallback=0)
    # Reading a file and packing its weights frees 16 MB at YOLOv8n; the first run is to have them.
    heap.trim()
    return session


def _why_not(asked: str, available: Sequence[str], failure: str | None) -> str:
    return providers.why_missing(
        asked, available=available, failure=libraries.why_not_loaded(asked) or failure
    )


def _tell(
    session: OnnxSession, settings: SessionSettings, available: Sequence[str], failure: str | None
) -> None:
    """What of the wish for a provider came true, where not all of it did."""
    if session.provider_used != settings.provider:
        log.warning(
            "model.provider_fell_back",
            file=session.path.name,
            asked=settings.provider,
            used=session.provider_used,
            reason=_why_not(settings.provider, available, failure),
        )
    if session.assignment is not None and not session.assignment.is_whole:
        log.warning(
            "model.nodes_fell_back",
            file=session.path.name,
            provider=session.provider_used,
            nodes=str(session.assignment),
        )


def has_provider(name: str) -> bool:
    """Whether this ONNX Runtime was built with it. Raises: ConfigError (there is no ONNX Runtime)."""
    return providers.is_built_in(name, _runtime().get_available_providers())


def why_not_built_in(name: str) -> str | None:
    """What it would take, None where it has it. Raises: ConfigError (there is no ONNX Runtime)."""
    available = _runtime().get_available_providers()
    if providers.is_built_in(name, available):
        return None
    return providers.why_missing(name, available=available, failure=None)


def runtime_version() -> str:
    """Of the library. Raises: ConfigError (it is not installed)."""
    return str(_runtime().__version__)


def sha256_of(path: Path) -> str:
    """Of a file, in hexadecimal digits. Raises: RefusedError (it cannot be read)."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> RefusedError:
    return RefusedError(f"{path} cannot be read: {error.strerror}; an ONNX file is wanted", code=Code.FILE)


def _refused(path: Path, error: Exception) -> RefusedError:
    return RefusedError(f"{path.name} {why_refused(error)}", code=Code.MODEL)


@cache
def _runtime() -> Any:
    """The library, imported when a model is wanted: commands that need none start without its 20 MB."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "ONNX Runtime is not installed; install nanofleet with the extra `cpu` or `gpu`",
            code=Code.PROVIDER,
        ) from error
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _spec(node: Any) -> TensorSpec:
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in node.shape)
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    return TensorSpec(node.name, shape, {"float": "float32", "double": "float64"}.get(kind, kind))


def _listed(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(str(spec) for spec in specs) or "none"
