"""What goes to the database thread together, and what does not wait for company."""

import asyncio
from collections.abc import Callable

from agent.adapters.outbox.commands import Acknowledge, Command, Fetch
from agent.adapters.outbox.passage import SPACING_S, Passage


def acknowledge(key: int) -> Acknowledge:
    return Acknowledge((key,))


def taken(passage: Passage) -> list[list[Command]]:
    found = []
    while not passage.queue.empty():
        found.append(passage.queue.get_nowait())
    return found


def on_a_loop(work: Callable[[Passage], None], *, then_s: float = 0.0) -> Passage:
    async def run() -> Passage:
        passage = Passage(asyncio.get_running_loop())
        work(passage)
        await asyncio.sleep(then_s)
        return passage

    return asyncio.run(run())


def test_what_comes_alone_goes_at_once() -> None:
    passage = on_a_loop(lambda passage: passage.put(acknowledge(1)))
    assert taken(passage) == [[acknowledge(1)]]


def test_what_follows_quickly_goes_together_a_little_later() -> None:
    def work(passage: Passage) -> None:
        for key in range(1, 5):
            passage.put(acknowledge(key))

    passage = on_a_loop(work, then_s=10 * SPACING_S)
    assert taken(passage) == [[acknowledge(1)], [acknowledge(2), acknowledge(3), acknowledge(4)]]


def test_a_question_waits_for_nothing_and_overtakes_nothing() -> None:
    question = Fetch({}, 1, lambda _rows: None)

    def work(passage: Passage) -> None:
        passage.put(acknowledge(1))
        passage.put(acknowledge(2))
        passage.put(question)
        assert taken(passage) == [[acknowledge(1)], [acknowledge(2), question]]

    assert taken(on_a_loop(work, then_s=10 * SPACING_S)) == []
