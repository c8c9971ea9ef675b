"""When a condition becomes an event: a state machine a rule, driven by the time and by what holds."""

from dataclasses import dataclass
from typing import Final, Literal

Phase = Literal["begin", "update", "end"]

State = Literal["idle", "pending", "active", "ending", "cooling"]
"""`pending`: it holds, but not long enough yet. `ending`: it is over, but not for long enough. `cooling`: an
event has ended, and no other may begin."""

FLOOR_NS: Final = 1_000_000_000
"""So long after an event's end none begins, whatever the rule says: what flickers would flood the node."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each state takes, in nanoseconds. `update_every_ns` None: nothing is told in between."""

    for_ns: int = 0
    end_for_ns: int = 0
    cool_down_ns: int = 0
    update_every_ns: int | None = None


class Machine:
    """Times are monotonic nanoseconds and never go back. Each step takes the machine one phase on at most."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.state: State = "idle"
        self.since_ns = 0
        """Since when it is in this state; while an event is on, what was told last counts for `update`."""
        self._told_ns = 0
        self._not_before_ns = 0
        self._is_held_back = False
        self._held_back = 0

    @property
    def is_on(self) -> bool:
        """Whether an event has begun and not ended."""
        return self.state in {"active", "ending"}

    @property
    def due_ns(self) -> int | None:
        """When time alone takes it further, so that a step is wanted; None: never."""
        timing = self._timing
        update_ns = None if timing.update_every_ns is None else self._told_ns + timing.update_every_ns
        match self.state:
            case "pending":
                return max(self.since_ns + timing.for_ns, self._not_before_ns)
            case "active":
                return update_ns
            case "ending":
                end_ns = self.since_ns + timing.end_for_ns
                return end_ns if update_ns is None else min(end_ns, update_ns)
            case "cooling":
                return self.since_ns + timing.cool_down_ns
            case _:
                return None

    def take_held_back(self) -> int:
        """How many events began late or not at all since the last call, because one had just ended."""
        held, self._held_back = self._held_back, 0
        return held

    def resume(self, now_ns: int) -> None:
        """An event that a former process began goes on."""
        self._enter("active", now_ns)
        self._told_ns = now_ns

    def step(self, now_ns: int, *, holds: bool, over: bool) -> Phase | None:
        """What is to be told now. `over`: what ends an event holds; while it does, none begins."""
        if self.state == "cooling" and now_ns - self.since_ns >= self._timing.cool_down_ns:
            self._enter("idle", now_ns)
        if self.is_on:
            return self._step_on(now_ns, over=over)
        if self.state == "cooling":
            return None
        return self._step_off(now_ns, holds=holds and not over)

    def halt(self, now_ns: int) -> Phase | None:
        """Nothing may be on from now: an event ends at once, what was about to begin does not."""
        if self.is_on:
            return self._end(now_ns)
        if self.state == "pending":
            self._enter("idle", now_ns)
        return None

    def _step_off(self, now_ns: int, *, holds: bool) -> Phase | None:
        if not holds:
            if self.state != "idle":
                self._enter("idle", now_ns)
            return None
        if self.state == "idle":
            self._enter("pending", now_ns)
        if now_ns - self.since_ns < self._timing.for_ns:
            return None
        if now_ns < self._not_before_ns:
            self._held_back += not self._is_held_back
            self._is_held_back = True
            return None
        self._enter("active", now_ns)
        self._told_ns = now_ns
        return "begin"

    def _step_on(self, now_ns: int, *, over: bool) -> Phase | None:
        if over and self.state == "active":
            self._enter("ending", now_ns)
        elif not over and self.state == "ending":
            self._enter("active", now_ns)
        if self.state == "ending" and now_ns - self.since_ns >= self._timing.end_for_ns:
            return self._end(now_ns)
        every_ns = self._timing.update_every_ns
        if every_ns is not None and now_ns - self._told_ns >= every_ns:
            self._told_ns = now_ns
            return "update"
        return None

    def _end(self, now_ns: int) -> Phase:
        self._not_before_ns = now_ns + FLOOR_NS
        self._enter("cooling", now_ns)
        return "end"

    def _enter(self, state: State, now_ns: int) -> None:
        self.state = state
        self.since_ns = now_ns
        self._is_held_back = False
