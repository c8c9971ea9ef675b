"""From the policy in force to another: only what differs is touched, and a source that fails goes back."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from agent.contract.policy import Policy
from agent.contract.reported import SourceStanding
from agent.domain.errors import Code, NanofleetError, RefusedError
from agent.domain.ids import SourceName
from agent.pipeline.control.changes import SourceChanges, source_changes
from agent.pipeline.control.probing import Probe, Verdict
from agent.pipeline.control.terms import Applied, Follower, OnProbation, Stager
from agent.pipeline.sources import Runnable, Sources
from agent.pipeline.swap import ModelSwap, Staged

log = structlog.get_logger(__name__)

PROBE_S: Final = 22.0
"""A source that is opened otherwise has so long to show a frame, and that it is inferred. With the two stops,
of 3 s at most each, the source that it was is opened again within 30 s."""

_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Ready:
    """All that a policy needs is there, and waits to be put to work."""

    staged: Staged
    adoptions: Sequence[Callable[[], None]]


class Reconciler:
    """Used on the event loop, one policy at a time. `policy` is what runs.

    `capture` makes a source's capture, ready to be started; `alter` has one that runs be served otherwise;
    `stagers` go before `swap`, which is the dearest; `mixture` validates a policy put together here. `mark`
    hears by which version frames are inferred from now on; `version` is the one in force.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        version: int,
        mark: Callable[[int], None],
        swap: ModelSwap,
        sources: Sources,
        capture: Callable[[SourceName, Policy], Runnable],
        alter: Callable[[SourceName, Policy], None],
        stagers: Sequence[Stager],
        followers: Sequence[Follower],
        mixture: Callable[[Policy, Mapping[SourceName, Policy]], Policy],
        probe: Probe,
        probe_s: float = PROBE_S,
    ) -> None:
        self.policy = policy
        self._version = version
        self._mark = mark
        mark(version)
        self._swap = swap
        self._sources = sources
        self._capture = capture
        self._alter = alter
        self._stagers = stagers
        self._followers = followers
        self._mixture = mixture
        self._probe = probe
        self._probe_s = probe_s
        self._one_at_a_time = asyncio.Lock()
        self._coming_back: dict[SourceName, float] = {}

    async def restart(self, name: SourceName) -> Verdict:
        """Let go of one source and open it anew; how it fares.

        Raises:
            RefusedError: no such source runs.
        """
        async with self._one_at_a_time:
            if name not in self._sources.names:
                running = ", ".join(sorted(self._sources.names))
                raise RefusedError(
                    f"no source {name!r} runs here; these do: {running or 'none'}",
                    code=Code.SCHEMA,
                    path="/args/source",
                )
            try:
                await self._sources.stop([name])
            finally:  # who asked may not wait any longer: the source is opened all the same
                self._start(name, self.policy)
            verdicts = await self._await_verdicts([name])
        return verdicts[name]

    def is_well(self, name: SourceName) -> bool:
        """Whether a source works at the moment."""
        return self._probe.is_well(name)

    async def apply(
        self,
        new: Policy,
        *,
        version: int,
        before: Mapping[str, int],
        look_at_files: bool,
        on_probation: OnProbation,
    ) -> Applied:
        """Let `new`, which has this `version`, be in force, as far as its sources stand their probe.

        `before`: the version by which each source has run until now.

        Raises:
            RefusedError: it cannot be; nothing has changed.
        """
        async with self._one_at_a_time:
            return await self._apply(
                new, version=version, before=before, look_at_files=look_at_files, on_probation=on_probation
            )

    async def _apply(
        self,
        new: Policy,
        *,
        version: int,
        before: Mapping[str, int],
        look_at_files: bool,
        on_probation: OnProbation,
    ) -> Applied:
        old = self.policy
        ready = await self._stage(new, look_at_files=look_at_files)
        changes = source_changes(old, new, reloaded=ready.staged.loaded.keys())
        touched = [*changes.added, *changes.reopened]
        was_well = {name for name in changes.reopened if self._is_or_will_be_well(name)}
        was, self._version = self._version, version
        await self._move_to(ready, changes)
        del ready  # or what it loaded could not be let go of on the way back
        standings = {name: SourceStanding(version=version, status="probation") for name in touched}
        if touched:
            on_probation(dict(standings))
        verdicts = await self._await_verdicts(touched)
        for name, verdict in verdicts.items():
            if verdict.passed:
                standings[name] = SourceStanding(version=version, status="applied")
            elif name not in was_well:
                standings[name] = SourceStanding(version=version, status="waiting", code=verdict.code)
        failed = {
            name: verdict for name, verdict in verdicts.items() if name in was_well and not verdict.passed
        }
        if not failed:
            return Applied(policy=new, status="applied", standings=standings)
        for name, verdict in failed.items():
            standings[name] = SourceStanding(
                version=before.get(name, version), status="rolled_back", code=verdict.code
            )
        return await self._go_back(old, new, failed, standings, was=was)

    async def _stage(self, policy: Policy, *, look_at_files: bool) -> _Ready:
        """Raises: RefusedError (the policy cannot be had; nothing has changed)."""
        adoptions = [await stager.stage(policy) for stager in self._stagers]
        return _Ready(await self._swap.stage(policy, look_at_files=look_at_files), adoptions)

    async def _move_to(self, ready: _Ready, changes: SourceChanges) -> None:
        """What was staged takes over; sources that differ in where they come from are opened anew."""
        self.policy = new = ready.staged.policy
        await self._sources.stop([*changes.removed, *changes.reopened], for_good=changes.removed)
        gone = self._swap.take_over(ready.staged)
        for adopt in ready.adoptions:
            adopt()
        for follower in self._followers:
            follower.adopt(new)
        for name in self._sources.names:
            self._alter(name, new)
        self._mark(self._version)
        for name in (*changes.reopened, *changes.added):
            self._start(name, new)
        await self._swap.release(gone)

    def _is_or_will_be_well(self, name: SourceName) -> bool:
        """One that has just gone back to what it had is being opened, and counts as well until then."""
        in_time = asyncio.get_running_loop().time() < self._coming_back.get(name, 0.0)
        return in_time or self._probe.is_well(name)

    def _start(self, name: SourceName, policy: Policy) -> None:
        self._probe.begin(name)
        is_camera = self._probe.is_camera(policy.sources[name])
        self._sources.start(name, self._capture(name, policy), is_camera=is_camera)

    async def _await_verdicts(self, touched: Iterable[SourceName]) -> dict[SourceName, Verdict]:
        """How each fares: as soon as it has shown itself, or has failed, or the time is over."""
        waiting = set(touched)
        verdicts: dict[SourceName, Verdict] = {}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._probe_s
        while waiting:
            is_over = loop.time() >= deadline
            for name in sorted(waiting):
                verdict = self._probe.verdict(name, self.policy.sources[name], is_over=is_over)
                if verdict is not None:
                    verdicts[name] = verdict
            waiting -= verdicts.keys()
            if waiting:
                await asyncio.sleep(_LOOK_S)
        return verdicts

    async def _go_back(
        self,
        old: Policy,
        new: Policy,
        failed: Mapping[SourceName, Verdict],
        standings: Mapping[SourceName, SourceStanding],
        *,
        was: int,
    ) -> Applied:
        """Sources that were well before keep what they had; where that does not fit the rest, all does."""
        first, verdict = next(iter(failed.items()))
        told, code = f"source {first} failed its probe: {verdict.message}", Code.PROBE
        log.warning("policy.probe_failed", sources=sorted(failed), code=verdict.code, message=verdict.message)
        try:
            target = self._mixture(new, dict.fromkeys(failed, old))
            ready = await self._stage(target, look_at_files=False)
        except NanofleetError as error:
            told += f"; and with what it had before, the rest does not fit: {error.message}"
            target, code = old, Code.ROLLED_BACK
            try:
                ready = await self._stage(target, look_at_files=False)
            except NanofleetError as worse:
                # A model that ran until now, and cannot be had any more.
                stay = {
                    name: SourceStanding(version=self._version, status="waiting", code=each.code)
                    for name, each in failed.items()
                }
                path, told = f"/policy/sources/{first}", f"{told}; nor can all go back: {worse.message}"
                why = RefusedError(told, code=Code.PROBE, path=path)
                return Applied(policy=new, status="partial", standings={**standings, **stay}, error=why)
        if target == old:
            self._version = was
        await self._move_to(ready, source_changes(new, target, reloaded=ready.staged.loaded.keys()))
        self._coming_back = dict.fromkeys(failed, asyncio.get_running_loop().time() + self._probe_s)
        if target == old:  # nothing else runs by the new version either
            standings = {name: standing for name, standing in standings.items() if name in failed}
        return Applied(
            policy=target,
            status="rolled_back" if target == old else "partial",
            standings=standings,
            error=RefusedError(told, code=code, path=f"/policy/sources/{first}"),
        )
