"""Which rung of the ladder: what is given up first when a node is overloaded or hot. Pure, and deterministic.

In order: rate, by the priority of cameras; input size; lanes; the least important cameras altogether.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from agent.domain.ids import SourceName

Kind = Literal["full", "rate", "size", "lanes", "pause"]
PowerMode = Literal["full", "balanced", "eco"]

_RATES: Final = (
    # lowest priority, those between, highest: one frame of so many is served
    (2, 1, 1),
    (4, 2, 1),
    (4, 4, 2),
)
_SCALES: Final = (0.75, 0.5)
"""Of the input's sides: 0.56 and 0.25 of the work. Below half, what is small is not found any more."""

COOLER_C: Final = 5.0
"""It is cool again only so far below the limit, or each rung's own relief would be taken for it."""
MUCH_HOTTER_C: Final = 5.0


@dataclass(frozen=True, slots=True)
class Rung:
    """What is done on one rung; each holds all that those below it hold.

    Of each camera one frame of `keep_one_of` is served, none for 0. `scale` is of the input's sides.
    """

    kind: Kind
    keep_one_of: Mapping[SourceName, int]
    scale: float
    lanes: int


def rungs_for(priorities: Mapping[SourceName, int], *, lanes: int, resizable: bool) -> tuple[Rung, ...]:
    """The ladder of a node with these cameras: from doing everything to serving the most important one only.

    What would change nothing is left out: the input's size where no model is `resizable`, lanes where there
    is one. Without cameras there is one rung: sensors are never shed.
    """
    rungs = [Rung("full", dict.fromkeys(priorities, 1), 1.0, lanes)]
    if not priorities:
        return tuple(rungs)

    def add(kind: Kind, **changes: object) -> None:
        rung = replace(rungs[-1], kind=kind, **changes)  # type: ignore[arg-type]
        if replace(rung, kind=rungs[-1].kind) != rungs[-1]:
            rungs.append(rung)

    lowest, highest = min(priorities.values()), max(priorities.values())
    for low, middle, high in _RATES:
        add(
            "rate",
            keep_one_of={
                name: low if priority == lowest else high if priority == highest else middle
                for name, priority in priorities.items()
            },
        )
    for scale in _SCALES if resizable else ():
        add("size", scale=scale)
    for fewer in (max(1, lanes // 2), 1):
        add("lanes", lanes=fewer)
    for name in sorted(priorities, key=lambda name: (priorities[name], name))[:-1]:
        add("pause", keep_one_of={**rungs[-1].keep_one_of, name: 0})
    return tuple(rungs)


def floor_of(mode: PowerMode, rungs: Sequence[Rung]) -> int:
    """The rung that a power mode never goes below: none, the first, or the last before a camera is paused."""
    if mode == "full":
        return 0
    serving = [index for index, rung in enumerate(rungs) if rung.kind != "pause"]
    return serving[-1] if mode == "eco" else min(1, serving[-1])


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a camera suffers, as a clause for a person, and the camera's priority."""

    priority: int
    what: str


@dataclass(frozen=True, slots=True)
class Signals:
    """How the node fares at one moment.

    `late`: of the most important camera whose frames wait too long. `robbed`: of the most important one which
    loses frames while less important ones are served. None: there is no such camera. `at_ease`: every camera
    is far from either. `temperature_c`: the hottest of what inference heats; None where nothing tells.
    `throttled`: who slows the machine down, as words for a person.
    """

    late: Complaint | None = None
    robbed: Complaint | None = None
    at_ease: bool = True
    temperature_c: float | None = None
    throttled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dwells:
    """Seconds. Up fast, down slowly.

    `persist_s`: a sign must have been there so long; a model's first runs are slow, and are no overload.
    `load_s`: between two rungs up, for load: a few frames show what the last one did.
    `heat_s`: the same for heat: a heat sink answers within tens of seconds, and climbing on meanwhile would
    pause cameras for what is cured already. `much_hotter_s`: five degrees above the limit there is no time.
    `down_s`: calm before a step down. A step that has to be taken back doubles it, up to `longest_down_s`.
    """

    persist_s: float = 2.0
    load_s: float = 3.0
    heat_s: float = 20.0
    much_hotter_s: float = 5.0
    down_s: float = 15.0
    longest_down_s: float = 240.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where on the ladder: `level` 0 is everything, `floor` the power mode's; `why` it was climbed last."""

    level: int
    floor: int
    top: int
    rung: Rung
    why: tuple[str, ...]


@dataclass(slots=True)
class _Since:
    """How long something has been so without a break."""

    began_s: float | None = None

    def note(self, holds: bool, now_s: float) -> float | None:
        """Seconds, or None where it is not so."""
        if not holds:
            self.began_s = None
            return None
        if self.began_s is None:
            self.began_s = now_s
        return now_s - self.began_s


@dataclass(frozen=True, slots=True)
class _Urge:
    """A reason to climb: `dwell_s` since the last change, if `reaches` the next rung."""

    why: str
    dwell_s: float
    heat: bool
    reaches: Callable[[int], bool]


@dataclass(slots=True)
class Ladder:
    """Climbs and descends one rung at a time. `step` is called about once a second, with monotonic seconds.

    Nobody is slowed for the sake of someone less important: a camera's lateness reaches only rungs that touch
    no camera above it, and lost frames only the rates of cameras below. A camera alone gains nothing by
    giving up frames: its lateness drives to where its input is smaller, or nowhere. Heat reaches every rung.
    Lanes rest for heat, never for load: fewer of them would make cameras wait longer.
    """

    rungs: Sequence[Rung]
    priorities: Mapping[SourceName, int]
    floor: int = 0
    max_temperature_c: float = 85.0
    dwells: Dwells = field(default_factory=Dwells)
    level: int = field(init=False)
    _why: tuple[str, ...] = field(init=False, default=())
    _heat: bool = field(init=False, default=False)
    _load: bool = field(init=False, default=False)
    _changed_s: float | None = field(init=False, default=None)
    _descended_s: float | None = field(init=False, default=None)
    _down_s: float = field(init=False)
    _urged: _Since = field(init=False, default_factory=_Since)
    _calm: _Since = field(init=False, default_factory=_Since)

    def __post_init__(self) -> None:
        self.level = self.floor
        self._down_s = self.dwells.down_s

    def step(self, signals: Signals, now_s: float) -> Standing:
        """The rung from now on."""
        urges = [urge for urge in self._urges(signals) if self.level < self._top and urge.reaches(self.level)]
        urged_s = self._urged.note(bool(urges), now_s)
        calm_s = self._calm.note(self._is_calm(signals), now_s)
        since_s = None if self._changed_s is None else now_s - self._changed_s
        if urged_s is not None and urged_s >= self.dwells.persist_s:
            due = [urge for urge in urges if since_s is None or since_s >= urge.dwell_s]
            if due:
                self._climb(due, now_s)
        elif calm_s is not None and calm_s >= self._down_s and self.level > self.floor:
            self._descend(now_s)
        if self._descended_s is not None and now_s - self._descended_s > 2 * self._down_s:
            self._descended_s, self._down_s = None, self.dwells.down_s
        return self.standing

    @property
    def standing(self) -> Standing:
        rung = self.rungs[self.level]
        if not self._heat:
            rung = replace(rung, lanes=max(rung.lanes, self.rungs[self.floor].lanes))
        return Standing(self.level, self.floor, self._top, rung, self._why)

    @property
    def _top(self) -> int:
        return len(self.rungs) - 1

    def _climb(self, due: Sequence[_Urge], now_s: float) -> None:
        if self._descended_s is not None:
            self._down_s = min(2 * self._down_s, self.dwells.longest_down_s)
            self._descended_s = None
        self._heat = self._heat or any(urge.heat for urge in due)
        self._load = self._load or not all(urge.heat for urge in due)
        self._why = tuple(urge.why for urge in due)
        self._changed_s = now_s
        self.level += 1

    def _descend(self, now_s: float) -> None:
        self.level -= 1
        self._changed_s = self._descended_s = now_s
        self._calm.began_s = now_s
        if self.level == self.floor:
            self._heat, self._load, self._why = False, False, ()

    def _is_calm(self, signals: Signals) -> bool:
        cool = signals.temperature_c is None or signals.temperature_c < self.max_temperature_c - COOLER_C
        # What was climbed for heat alone is given back unless somebody's load would climb it again.
        eased = signals.at_ease or not self._load
        below = max(self.level - 1, 0)
        needed = below < self._top and any(urge.reaches(below) for urge in self._urges(signals))
        return cool and not signals.throttled and eased and not needed

    def _urges(self, signals: Signals) -> Iterator[_Urge]:
        hot_c = signals.temperature_c
        if hot_c is not None and hot_c >= self.max_temperature_c:
            much = hot_c >= self.max_temperature_c + MUCH_HOTTER_C
            dwell_s = self.dwells.much_hotter_s if much else self.dwells.heat_s
            why = f"{hot_c:.0f} °C, the limit is {self.max_temperature_c:g} °C"
            yield _Urge(why, dwell_s, True, lambda _level: True)
        if signals.throttled:
            why = f"throttled by {', '.join(signals.throttled)}"
            yield _Urge(why, self.dwells.heat_s, True, lambda _level: True)
        late, robbed = signals.late, signals.robbed
        if late is not None:
            yield _Urge(
                late.what,
                self.dwells.load_s,
                False,
                lambda level: self._relieves(level) and self._touches(level) <= late.priority,
            )
        if robbed is not None:
            yield _Urge(
                robbed.what,
                self.dwells.load_s,
                False,
                lambda level: self.rungs[level + 1].kind == "rate" and self._touches(level) < robbed.priority,
            )

    def _relieves(self, level: int) -> bool:
        """Whether what is given up above serves a camera: another one's frames do, or smaller inputs."""
        return len(self.priorities) > 1 or any(rung.kind == "size" for rung in self.rungs[level + 1 :])

    def _touches(self, level: int) -> int:
        """The priority of the most important camera that the next rung takes something from."""
        here, above = self.rungs[level], self.rungs[level + 1]
        if above.kind == "lanes":
            return min(self.priorities.values())  # nobody, as far as load is concerned
        if above.kind == "size":
            return max(self.priorities.values())
        return max(
            self.priorities[name]
            for name, share in above.keep_one_of.items()
            if share != here.keep_one_of[name]
        )
