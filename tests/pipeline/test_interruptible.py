"""Waits that somebody else ends, and tasks that accompany another."""

import asyncio

import pytest

from agent.pipeline.interruptible import Interruptible
from agent.pipeline.supervise import accompany
from tests.polling import until


async def test_an_interrupted_section_ends_and_its_task_goes_on() -> None:
    interruptible = Interruptible()
    passed: list[str] = []

    async def work() -> None:
        async with interruptible.section():
            passed.append("in")
            await asyncio.Event().wait()
            passed.append("never")
        passed.append("behind")

    task = asyncio.create_task(work())
    await until(lambda: passed == ["in"])
    interruptible.interrupt()
    await asyncio.wait_for(task, 1)
    assert passed == ["in", "behind"]


async def test_a_section_after_an_interruption_ends_at_its_first_wait() -> None:
    interruptible = Interruptible()
    interruptible.interrupt()
    passed: list[str] = []
    async with asyncio.timeout(1):
        for section in ("first", "second"):
            async with interruptible.section():
                await asyncio.Event().wait()
                passed.append(f"waited in the {section}")
            passed.append(f"behind the {section}")
    assert passed == ["behind the first", "behind the second"]


async def test_a_timeout_of_somebody_else_passes_through() -> None:
    with pytest.raises(TimeoutError):
        async with Interruptible().section():
            raise TimeoutError


async def test_a_section_that_is_not_interrupted_lasts() -> None:
    interruptible = Interruptible()
    async with interruptible.section():
        value = await asyncio.sleep(0.01, "done")
    assert value == "done"


async def test_companions_end_with_what_they_accompany() -> None:
    ended: list[str] = []

    async def companion() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(task.get_name())

    async def main() -> None:
        await asyncio.sleep(0)

    await accompany(main(), {"one": companion(), "two": companion()})
    assert ended == ["one", "two"]


async def test_a_companions_error_ends_all() -> None:
    async def companion() -> None:
        raise RuntimeError("a mistake")

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await accompany(main(), {"one": companion()})
    assert raised.group_contains(RuntimeError, match="a mistake")
