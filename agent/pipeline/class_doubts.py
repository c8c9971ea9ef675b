"""Rules that wait for a class which no model of their cameras finds: most likely it is misspelt."""

from collections.abc import Collection, Iterator, Mapping

from agent.contract.words import nearest
from agent.domain.ids import SourceName
from agent.domain.rules.features import Count, Crossed, Dwell
from agent.domain.rules.prepared import PreparedRule, RuleBook


def class_doubts(book: RuleBook, classes: Mapping[SourceName, Collection[str]]) -> dict[str, str]:
    """By rule: what it will never see. `classes` are what cameras' models find, where that is known."""
    doubts = ((name, next(_unseen(rule, classes), None)) for name, rule in book.rules.items())
    return {name: doubt for name, doubt in doubts if doubt is not None}


def _unseen(rule: PreparedRule, classes: Mapping[SourceName, Collection[str]]) -> Iterator[str]:
    conditions = (rule.when,) if rule.until is None else (rule.when, rule.until)
    for condition in conditions:
        for feature in condition.features.values():
            if not isinstance(feature, Count | Crossed | Dwell) or feature.class_name is None:
                continue
            if not all(source in classes for source in feature.sources):
                continue
            known = {each for source in feature.sources for each in classes[source]}
            if feature.class_name not in known:
                cameras = ", ".join(feature.sources)
                close = nearest(feature.class_name, sorted(known))
                hint = f"; did you mean {close!r}?" if close else ""
                yield f"no model of {cameras} finds the class {feature.class_name!r}{hint}"
