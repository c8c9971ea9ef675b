"""Another model takes the place of one that serves: loaded and admitted beside it, then, between two frames.

Whatever goes wrong on the way, the old one serves on, and health tells why.
"""

import asyncio
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import structlog

from agent.contract.policy import ModelPolicy, Policy
from agent.contract.thresholds import ThresholdPolicy
from agent.domain.errors import Code, NanofleetError, TransientError
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


class ModelSwap:
    """Changes what serves, one model at a time.

    `models` is what serves, and is kept true; `digest` reads a stanza's file, in a thread; `fits` raises
    RefusedError where a source cannot go from one model to another; `give_back` returns freed memory, in a
    thread; `on_swapped` is called on the loop after each change.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        models: Models,
        policy: Policy,
        load: Load,
        digest: Callable[[ModelPolicy], str],
        fits: Callable[[Model, Model, SourceName], None],
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
        self._fits = fits
        self._give_back = give_back
        self._on_condition = on_condition
        self._on_swapped = on_swapped
        self._load_s = load_s
        self._one_at_a_time = asyncio.Lock()

    @property
    def policy(self) -> Policy:
        """In force: the one that was begun with, and the stanzas that have taken over since."""
        return self._policy

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

    async def swap(self, name: ModelName, stanza: ModelPolicy) -> bool:
        """Let the model of that name be what `stanza` says; True if it is so now.

        A model that nothing uses is only noted. The same file under other thresholds is not loaded anew.
        """
        async with self._one_at_a_time:
            if name not in self._models:
                self._note(name, stanza)
                return True
            try:
                await self._exchange(name, stanza)
            except NanofleetError as error:
                self._tell_refused(name, error)
                _let_go(error)
                await in_thread("give-back", self._give_back)
                return False
        return True

    async def _exchange(self, name: ModelName, stanza: ModelPolicy) -> None:
        old = self._models[name]
        digest = await in_thread(f"digest[{name}]", lambda: self._digest(stanza))
        if digest == old.digest and _but_for_thresholds(stanza, self._policy.models[name]):
            if stanza != self._policy.models[name]:
                self._take_over(name, stanza, old)
                self._on_swapped()
            # What was refused before is not asked for any more.
            self._tell_serving(name, old)
            return
        self._on_condition(_who(name), "waiting", None, f"loading another beside {_version(old)}")
        log.info("model.swap_began", model=name, file=stanza.file, serving=_version(old))
        new = await self._loaded(name, stanza, old.model)
        for source in self._sources_of(name):
            self._fits(old.model, new.model, source)
        self._take_over(name, stanza, new)
        self._on_swapped()
        log.info("model.swapped", model=name, version=_version(new), before=_version(old), passed=new.passed)
        self._tell_serving(name, new)
        gone = _told_when_gone(old.model)
        del old
        # Once the last lane has finished with it, its memory goes back to the system.
        if not await wait_for_event(gone, timeout_s=_RELEASE_S):
            log.warning("model.held_on_to", model=name, after_s=_RELEASE_S)
        await in_thread("give-back", self._give_back)

    async def _loaded(self, name: ModelName, stanza: ModelPolicy, old: Model) -> Admitted:
        # A new model may fall back only where the old one did.
        may_fall_back = old.facts.provider_used != old.facts.provider_asked
        load = partial(self._load, name, stanza, may_fall_back)
        try:
            async with asyncio.timeout(self._load_s):
                return await in_thread(f"load[{name}]", load, yields=True)
        except TimeoutError as error:
            raise TransientError(
                f"it was not loaded and admitted within {self._load_s:g} s", code=Code.TIMEOUT
            ) from error

    def _take_over(self, name: ModelName, stanza: ModelPolicy, new: Admitted) -> None:
        self._note(name, stanza)
        self._scheduler.replace_model(
            self._models[name].model,
            new.model,
            thresholds={
                source: self._policy.thresholds_of(source, beneath=new.thresholds)
                for source in self._sources_of(name)
            },
        )
        self._models[name] = new

    def _note(self, name: ModelName, stanza: ModelPolicy) -> None:
        self._policy = self._policy.model_copy(update={"models": {**self._policy.models, name: stanza}})

    def _sources_of(self, name: ModelName) -> list[SourceName]:
        return [
            SourceName(source)
            for source, stanza in self._policy.sources.items()
            if stanza.enabled and stanza.model == name
        ]

    def _tell_serving(self, name: ModelName, admitted: Admitted) -> None:
        facts = admitted.model.facts
        if facts.provider_used != facts.provider_asked:
            message = f"{_version(admitted)} runs on {facts.provider_used}, not on {facts.provider_asked}"
            self._on_condition(_who(name), "degraded", Code.PROVIDER, message)
        else:
            self._on_condition(_who(name), "ok", None, f"{_version(admitted)}: {admitted.passed}")

    def _tell_refused(self, name: ModelName, error: NanofleetError) -> None:
        serving = _version(self._models[name])
        log.error("model.swap_refused", model=name, code=error.code, message=error.message, serving=serving)
        message = f"{serving} serves on, for the next was refused: {error.message}"
        self._on_condition(_who(name), "degraded", error.code, message)


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
