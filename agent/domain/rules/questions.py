"""Who asks what: each question once, with the last answer and the conditions that wait for it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from agent.domain.ids import SourceName
from agent.domain.rules.course import Course
from agent.domain.rules.features import Feature, LastReading, Scalar
from agent.domain.rules.judge import Judge
from agent.domain.rules.knowledge import Knowledge

MOST_QUESTIONS: Final = 500
"""Different ones that all rules of a policy may ask together: what bounds the cost of a frame."""


class Question:
    """A question that one or more conditions ask."""

    __slots__ = ("_answer", "_asked_by", "feature")

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self._answer: Scalar | None = None
        self._asked_by: list[tuple[Course, Judge, str]] = []

    def is_asked_by(self, course: Course, judge: Judge, name: str) -> None:
        self._asked_by.append((course, judge, name))

    def ask(self, known: Knowledge, now_ns: int) -> Sequence[tuple[Course, Judge]]:
        """Those to whom the answer is another now, after they have learned it."""
        answer = self.feature.answer(known, now_ns)
        if answer == self._answer:
            return ()
        self._answer = answer
        for _course, judge, name in self._asked_by:
            judge.learn(name, answer)
        return [(course, judge) for course, judge, _name in self._asked_by]


class Questions:
    """All that some rules ask, by what may change the answers."""

    def __init__(self, courses: Iterable[Course]) -> None:
        questions: dict[Feature, Question] = {}
        for course in courses:
            for judge in course.judges:
                for name, feature in judge.condition.features.items():
                    question = questions.setdefault(feature, Question(feature))
                    question.is_asked_by(course, judge, name)
        self.all = tuple(questions.values())
        self.ageing = tuple(each for each in self.all if each.feature.ages)
        self._of_source: defaultdict[SourceName, list[Question]] = defaultdict(list)
        self._of_reading: defaultdict[tuple[SourceName, str], list[Question]] = defaultdict(list)
        for feature, question in questions.items():
            if isinstance(feature, LastReading):
                self._of_reading[feature.source, feature.name].append(question)
            else:
                for source in feature.sources:
                    self._of_source[source].append(question)

    def about(self, source: SourceName) -> Sequence[Question]:
        """What a scene, a score or a condition of `source` may answer otherwise."""
        return self._of_source.get(source, ())

    def about_reading(self, source: SourceName, name: str) -> Sequence[Question]:
        """What one quantity of a sensor may answer otherwise."""
        return self._of_reading.get((source, name), ())
