"""Giving nodes their policies, and waiting for what each says to it: many over one connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from agent.fleet.client import Client
from agent.fleet.connection import connected
from agent.fleet.node_names import NodeName
from agent.fleet.observer import Reader, listen_to
from agent.fleet.policy_answers import Answer, Question, foreseen_refusal
from agent.fleet.sighting import Sighting
from agent.fleet.told import ToldConfig
from agent.fleet.watching import Observed
from agent.fleet.wishes import Wish
from agent.ports import Inbound, Publication

_FAILURE: Final = 0x80
_NOT_AUTHORISED: Final = 0x87


@dataclass(frozen=True, slots=True)
class Outcome:
    """One node. `changed`: it ran by another policy before, and was sent this one.

    `after_s`: when it had said its last word.
    """

    version: int
    answer: Answer
    changed: bool
    after_s: float | None


async def set_policies(
    client: Client,
    wishes: Mapping[NodeName, Wish],
    *,
    timeout_s: float,
    on_progress: Callable[[int], None],
) -> Observed[Outcome]:
    """Publish each policy, retained, and wait for each node's last word, for `timeout_s` at most.

    What a node could only refuse, by what it reports, is not sent: retained, it would come at every connect.

    Raises:
        TransientError: the broker cannot be reached, or the connection has ended; what was published stays.
        RefusedError: the broker does not let us listen, or a policy is larger than it takes.
    """
    sightings = {node: Sighting() for node in wishes}

    def take(node: NodeName, path: str, message: Inbound) -> None:
        if node in sightings:
            sightings[node].take(path, message.payload, message.properties)

    reader = Reader(take)
    async with connected(client) as connection:
        await listen_to(connection, wishes, reader=reader, is_in=lambda node: sightings[node].is_complete)
        before = {node: sighting.config for node, sighting in sightings.items()}
        answers = _foreseen(wishes, before)
        sent = {node: wish for node, wish in wishes.items() if node not in answers}
        reasons = await connection.publish(
            [Publication(node.topics.desired, wish.payload, retain=True) for node, wish in sent.items()],
            take=reader,
        )
        asked_s = time.monotonic()
        questions = {node: Question(wish, before[node], asked_s) for node, wish in wishes.items()}
        for node, reason in zip(sent, reasons, strict=True):
            if reason >= _FAILURE:
                answers[node] = (_refused(reason), None)

        def is_enough() -> bool:
            now_s = time.monotonic()
            for node in questions.keys() - answers.keys():
                answer = questions[node].answer(sightings[node].config, now_s=now_s)
                if answer is not None:
                    answers[node] = (answer, round(now_s - asked_s, 1))
            on_progress(len(answers))
            return len(answers) == len(questions)

        await connection.hear(reader, for_s=timeout_s, until=is_enough)
    outcomes = {}
    for node, question in questions.items():
        answer, after_s = answers.get(node) or (question.none_yet(sightings[node]), None)
        changed = answer.status != "refused" and not question.was_in_force
        outcomes[node] = Outcome(question.wish.version, answer, changed, after_s)
    return Observed(outcomes, reader.unread, reader.last_unread)


def as_json(outcomes: Mapping[NodeName, Outcome]) -> dict[str, Any]:
    """Whether all policies were applied, and what each node said."""
    return {
        "applied": all(outcome.answer.is_well for outcome in outcomes.values()),
        "nodes": {
            str(node): {
                "version": outcome.version,
                "status": outcome.answer.status,
                "code": outcome.answer.code,
                "path": outcome.answer.path,
                "message": outcome.answer.message,
                "sources": dict(outcome.answer.sources),
                "changed": outcome.changed,
                "after_s": outcome.after_s,
            }
            for node, outcome in outcomes.items()
        },
    }


def _foreseen(
    wishes: Mapping[NodeName, Wish], reported: Mapping[NodeName, ToldConfig | None]
) -> dict[NodeName, tuple[Answer, float | None]]:
    return {
        node: (replace(refusal, message=f"{refusal.message}. It was not sent"), None)
        for node, wish in wishes.items()
        if (refusal := foreseen_refusal(wish, reported[node])) is not None
    }


def _refused(reason: int) -> Answer:
    why = "it does not let us write there" if reason == _NOT_AUTHORISED else "by a rule of its own"
    return Answer("refused", message=f"the broker refused it (0x{reason:02X}): {why}")
