"""Models that change while the node works: loaded and admitted beside what serves, then, between two frames.

Whatever goes wrong on the way, the old ones serve on, and health tells why.
"""

import asyncio
import traceback
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import structlog

from agent.contract.policy import ModelPolicy, Policy
from agent.contract.thresholds import ThresholdPolicy
from agent.domain.errors import Code, NanofleetError, RefusedError, TransientError
from agent.domain.ids import ModelName, SourceName
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.supervise import in_thread
from agent.pipeline.waiting import wait_for_event
from agent.ports import Condition, Model

log = structlog.get_logger(__name__)

LOAD_S = 3900.0
"""The longest that loading and admission may take: building a TensorRT engine alone may take an hour."""

_RELEASE_S = 10.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """A model that may serve. `thresholds` come with it, below the policy's; `passed` tells a person how.

    `digest` is the SHA-256 of the file or package that it came from.
    """

    model: Model
    digest: str
    thresholds: ThresholdPolicy
    passed: str


Models = dict[ModelName, Admitted]

Load = Callable[[ModelName, ModelPolicy, bool], Admitted]
"""Loads and admits, in a thread; the last: whether another provider than the one asked for will do.

Raises: RefusedError, ConfigError, TransientError.
"""


@dataclass(frozen=True, slots=True)
class Staged:
    """All that `policy` wants is there: `loaded` beside what serves, the rest serves already."""

    policy: Policy
    loaded: Mapping[ModelName, Admitted]


class ModelSwap:
    """`stage`, then `take_over`; one policy at a time.

    `models` is what serves, and is kept true; `digest` reads a stanza's file, in a thread; `suits` raises
    RefusedError where a source cannot be served by its model; `give_back` returns freed memory, in a thread;
    `on_swapped` is called on the loop after each change.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        models: Models,
        policy: Policy,
        load: Load,
        digest: Callable[[ModelPolicy], str],
        suits: Callable[[Policy, Mapping[ModelName, Model]], None],
        give_back: Callable[[], None],
        on_condition: Condition,
        on_swapped: Callable[[], None],
        load_s: float = LOAD_S,
    ) -> None:
        self._scheduler = scheduler
        self._models = models
        self._policy = policy
        self._load = load
        self._digest = digest
        self._suits = suits
        self._give_back = give_back
        self._on_condition = on_condition
        self._on_swapped = on_swapped
        self._load_s = load_s
        self._all_anew = False

    def serving(self, name: str | None) -> Admitted | None:
        """What serves under that name."""
        return None if name is None else self._models.get(ModelName(name))

    def tell(self) -> None:
        """How each model came to serve, for health."""
        for name, admitted in self._models.items():
            self._tell_serving(name, admitted)

    def note_replaced(self, old: Model, new: Model) -> None:
        """Another form of a model serves already: `old` is not what the next swap replaces."""
        for name, admitted in self._models.items():
            if admitted.model is old:
                self._models[name] = replace(admitted, model=new)
                self._on_swapped()

    def load_all_anew(self) -> None:
        """What serves is to be run otherwise: the next `stage` loads every model, whatever its stanza."""
        self._all_anew = True

    async def stage(self, policy: Policy, *, look_at_files: bool = True) -> Staged:
        """Load and admit what `policy` wants and does not serve yet, beside what serves.

        A file is taken to be what it was if its stanza is, unless `look_at_files`. The same file under other
        thresholds is not loaded anew, and a model that no source uses not at all.

        Raises:
            RefusedError: a model cannot serve, or not its sources; its path leads to the stanza, health
                tells of it, and nothing has changed.
        """
        loaded: Models = {}
        all_anew, self._all_anew = self._all_anew, False
        for name in _used(policy):
            try:
                if all_anew or await self._is_wanted(name, policy.models[name], look_at_files=look_at_files):
                    loaded[name] = await self._loaded(name, policy.models[name])
                elif name in self._models:
                    # What was refused before is not asked for any more.
                    self._tell_serving(name, self._models[name])
                self._suits(policy, {each: one.model for each, one in {**self._models, **loaded}.items()})
            except NanofleetError as error:
                loaded.clear()
                self._tell_refused(name, error)
                _let_go(error)
                await in_thread("give-back", self._give_back)
                path = error.path if error.path.startswith("/policy/") else f"/policy/models/{name}"
                raise RefusedError(f"model {name}: {error.message}", code=error.code, path=path) from error
        return Staged(policy, loaded)

    def take_over(self, staged: Staged) -> list[asyncio.Event]:
        """From the next job on `staged.policy` is what models go by.

        What no source uses any more is forgotten. Events for `release`, of the models that serve no longer.
        """
        before, self._policy = dict(self._models), staged.policy
        for name, new in staged.loaded.items():
            self._models[name] = new
            if name in before:
                self._replace(name, before[name], new)
            log.info("model.swapped", model=name, version=_version(new), passed=new.passed)
            self._tell_serving(name, new)
        for name in before.keys() - _used(staged.policy):
            del self._models[name]
            self._on_condition(_who(name), "ok", None, "not used")
        self._on_swapped()
        return [
            _told_when_gone(old.model)
            for name, old in before.items()
            if (now := self._models.get(name)) is None or now.model is not old.model
        ]

    async def release(self, gone: list[asyncio.Event]) -> None:
        """Once the last lane has finished with what served before, its memory goes back to the system."""
        if not gone:
            return
        for event in gone:
            if not await wait_for_event(event, timeout_s=_RELEASE_S):
                log.warning("model.held_on_to", after_s=_RELEASE_S)
        await in_thread("give-back", self._give_back)

    async def _is_wanted(self, name: ModelName, stanza: ModelPolicy, *, look_at_files: bool) -> bool:
        old = self._models.get(name)
        known = self._policy.models.get(name)
        if old is None or known is None or not _but_for_thresholds(stanza, known):
            return True
        return (
            look_at_files and await in_thread(f"digest[{name}]", lambda: self._digest(stanza)) != old.digest
        )

    async def _loaded(self, name: ModelName, stanza: ModelPolicy) -> Admitted:
        old = self._models.get(name)
        beside = _version(old) if old else "nothing"
        self._on_condition(_who(name), "waiting", None, f"loading another beside {beside}")
        log.info("model.swap_began", model=name, file=stanza.file, serving=beside)
        # A new model may fall back only where the old one did.
        may_fall_back = old is None or old.model.facts.provider_used != old.model.facts.provider_asked
        load = partial(self._load, name, stanza, may_fall_back)
        try:
            async with asyncio.timeout(self._load_s):
                return await in_thread(f"load[{name}]", load, yields=True)
        except TimeoutError as error:
            raise TransientError(
                f"it was not loaded and admitted within {self._load_s:g} s", code=Code.TIMEOUT
            ) from error

    def _replace(self, name: ModelName, old: Admitted, new: Admitted) -> None:
        self._scheduler.replace_model(
            old.model,
            new.model,
            thresholds={
                source: self._policy.thresholds_of(source, beneath=new.thresholds)
                for source in _sources_of(self._policy, name)
            },
        )

    def _tell_serving(self, name: ModelName, admitted: Admitted) -> None:
        facts = admitted.model.facts
        if facts.provider_used != facts.provider_asked:
            message = f"{_version(admitted)} runs on {facts.provider_used}, not on {facts.provider_asked}"
            self._on_condition(_who(name), "degraded", Code.PROVIDER, message)
        else:
            self._on_condition(_who(name), "ok", None, f"{_version(admitted)}: {admitted.passed}")

    def _tell_refused(self, name: ModelName, error: NanofleetError) -> None:
        old = self._models.get(name)
        serving = _version(old) if old else "nothing"
        log.error("model.swap_refused", model=name, code=error.code, message=error.message, serving=serving)
        if old:
            message = f"{serving} serves on, for the next was refused: {error.message}"
            self._on_condition(_who(name), "degraded", error.code, message)
        else:
            self._on_condition(_who(name), "ok", None, f"not used: it was refused: {error.message}")


def _used(policy: Policy) -> list[ModelName]:
    """Models that a source which runs is served by, in the policy's order."""
    used = {source.model for source in policy.sources.values() if source.enabled and source.model}
    return [ModelName(name) for name in policy.models if name in used]


def _sources_of(policy: Policy, name: ModelName) -> list[SourceName]:
    return [
        SourceName(source)
        for source, stanza in policy.sources.items()
        if stanza.enabled and stanza.model == name
    ]


def _but_for_thresholds(one: ModelPolicy, other: ModelPolicy) -> bool:
    return one.model_copy(update={"thresholds": other.thresholds}) == other


def _told_when_gone(model: Model) -> asyncio.Event:
    """Set when nothing refers to `model` any more, in whatever thread that comes to be."""
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(gone.set)

    weakref.finalize(model, tell).atexit = False
    return gone


def _let_go(error: BaseException) -> None:
    """What a failure's frames hold is as large as a model, and goes now instead of some time."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__


def _who(name: ModelName) -> str:
    return f"model-{name}"


def _version(admitted: Admitted) -> str:
    facts = admitted.model.facts
    return f"version {facts.version} ({facts.sha256[:12]})"
