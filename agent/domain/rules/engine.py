"""From what sources say to events: all rules of a policy at work, without I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.domain.ids import SourceName
from agent.domain.reading import Reading, Score
from agent.domain.rules.course import Change, Course
from agent.domain.rules.knowledge import Knowledge
from agent.domain.rules.prepared import RuleBook
from agent.domain.rules.questions import Question, Questions
from agent.domain.scene import Scene
from agent.domain.stamp import Stamp

TICK_S: Final = 0.25
"""How often `tick` wants to be called."""

_REVIEW_NS: Final = 1_000_000_000
"""How often all questions are asked again, for values that have become too old."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An event that is on, as it is known over restarts."""

    event: str
    identity: str
    began: Stamp


class Engine:
    """Every method takes the time as `now`, which never goes back, and returns what is to be told, in order.

    A question is asked again when one of its sources has said something or when it ages; a condition is
    evaluated again when an answer to it has changed.
    """

    def __init__(self, *, now: Stamp, new_id: Callable[[], str]) -> None:
        self._known = Knowledge(since_ns=now.monotonic_ns)
        self._new_id = new_id
        self._courses: dict[str, Course] = {}
        self._questions = Questions(())
        self._reviewed_ns = now.monotonic_ns

    @property
    def troubles(self) -> dict[str, str]:
        """By the names of the rules whose conditions cannot be evaluated: why."""
        return {name: why for name, course in self._courses.items() if (why := course.trouble) is not None}

    def held_back(self) -> dict[str, int]:
        """By rule: how many events began late or not at all since the last call, as one had just ended."""
        return {
            name: held for name, course in self._courses.items() if (held := course.machine.take_held_back())
        }

    def identity_of(self, rule: str) -> str:
        """Of a rule in force."""
        return self._courses[rule].rule.identity

    def adopt(self, book: RuleBook, now: Stamp, begun: Mapping[str, Begun] | None = None) -> list[Change]:
        """Work by these rules from now on. `begun`: events of a former process, which go on or end here.

        A rule whose identity stays keeps its state; what is gone or stated otherwise ends.
        """
        changes = [
            course.halt(now.monotonic_ns, now, reason="removed")
            for name, course in self._courses.items()
            if name not in book.rules or book.rules[name].identity != course.rule.identity
        ]
        self._known.silence = book.silence
        self._known.keep_only(book.sources, now.monotonic_ns)
        before = self._courses
        self._courses = {}
        for name, rule in book.rules.items():
            course = before.get(name)
            if course is not None and course.rule.identity == rule.identity:
                course.restate(rule)
            else:
                course = Course(rule, moment=self._known.moment, new_id=self._new_id)
            self._courses[name] = course
            course.look_at_clock(now)
        self._questions = Questions(self._courses.values())
        changes += self._resume(begun or {}, now)
        changes += self._ask(self._questions.all, now, now, also=self._courses.values())
        return [change for change in changes if change is not None]

    def on_scene(self, scene: Scene, now: Stamp) -> list[Change]:
        """A camera shows something else."""
        self._known.see(scene, now.monotonic_ns)
        return self._ask(self._questions.about(scene.source), now, scene.at)

    def on_readings(self, source: SourceName, readings: Sequence[Reading], now: Stamp) -> list[Change]:
        """A sensor says something, oldest first; each value counts, not only the last."""
        changes: list[Change] = []
        for reading in readings:
            self._known.hear(source, reading, now.monotonic_ns)
            changes += self._ask(self._questions.about_reading(source, reading.name), now, reading.at)
        return changes

    def on_score(self, source: SourceName, score: Score, now: Stamp) -> list[Change]:
        """A sensor's window has been rated."""
        self._known.rate(source, score, now.monotonic_ns)
        return self._ask(self._questions.about(source), now, score.last)

    def on_condition(self, source: SourceName, status: str, now: Stamp) -> list[Change]:
        """A source is well, or not."""
        self._known.tell(source, status)
        return self._ask(self._questions.about(source), now, now)

    def tick(self, now: Stamp) -> list[Change]:
        """Time has passed: what ages, what is due, what has its hours."""
        now_ns = now.monotonic_ns
        is_review = now_ns - self._reviewed_ns >= _REVIEW_NS
        if is_review:
            self._reviewed_ns = now_ns
        asked = self._questions.all if is_review else self._questions.ageing
        due = [
            course
            for course in self._courses.values()
            if course.look_at_clock(now) or ((due_ns := course.due_ns) is not None and due_ns <= now_ns)
        ]
        return self._ask(asked, now, now, also=due)

    def _resume(self, begun: Mapping[str, Begun], now: Stamp) -> list[Change]:
        changes = []
        for name, event in begun.items():
            course = self._courses.get(name)
            if course is not None and course.rule.identity == event.identity:
                changes.append(course.resume(event.event, event.began, now))
            else:
                changes.append(
                    Change(
                        rule=name,
                        event=event.event,
                        phase="end",
                        began=event.began,
                        at=now,
                        ended=now,
                        reason="removed",
                    )
                )
        return changes

    def _ask(
        self, questions: Iterable[Question], now: Stamp, cause: Stamp, *, also: Iterable[Course] = ()
    ) -> list[Change]:
        """Ask again, weigh what that changes, and let those rules and `also` go on."""
        known, now_ns = self._known, now.monotonic_ns
        touched: dict[Course, None] = dict.fromkeys(also)
        weighed = {judge: None for course in touched for judge in course.judges if judge.verdict is None}
        for question in questions:
            for course, judge in question.ask(known, now_ns):
                weighed[judge] = None
                touched[course] = None
        for judge in weighed:
            judge.weigh()
        return [change for course in touched if (change := course.step(now_ns, cause)) is not None]
