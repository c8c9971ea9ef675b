"""The bridge from threads to the loop."""

import asyncio
import threading

from agent.pipeline.handover import Handover


async def test_handover_keeps_order_and_ends_after_what_is_in_it() -> None:
    handover: Handover[int] = Handover(loop=asyncio.get_running_loop(), capacity=4)

    def feed() -> None:
        for number in range(100):
            assert handover.put(number, timeout_s=5)
        handover.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    got = []
    while not handover.drained:
        item = await handover.get(timeout_s=5)
        if item is not None:
            got.append(item)
    feeder.join(timeout=5)
    assert got == list(range(100))


async def test_full_handover_makes_the_thread_wait_and_tells_it_so() -> None:
    handover: Handover[int] = Handover(loop=asyncio.get_running_loop(), capacity=2)
    answers = await asyncio.to_thread(lambda: [handover.put(n, timeout_s=0.01) for n in range(3)])
    assert answers == [True, True, False]
    assert len(handover) == 2


async def test_get_gives_up_after_its_time_and_on_close() -> None:
    handover: Handover[int] = Handover(loop=asyncio.get_running_loop(), capacity=2)
    assert await handover.get(timeout_s=0.01) is None
    waiting = asyncio.ensure_future(handover.get(timeout_s=30))
    await asyncio.sleep(0)
    handover.close()
    assert await asyncio.wait_for(waiting, timeout=5) is None
    assert handover.drained
    assert not await asyncio.to_thread(handover.put, 1, timeout_s=0.01)
