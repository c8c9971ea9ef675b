"""A source's life: restarted alone, abandoned when it hangs, ended when it is told to."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from random import Random

import pytest

from agent.adapters.system.clock import SystemClock
from agent.domain.errors import Code, ConfigError, RefusedError, TransientError
from agent.domain.ids import SourceName
from agent.pipeline.backoff import Backoff
from agent.pipeline.capture import MOST_HUNG_THREADS, Capture, HungSourceError
from tests.fakes.metrics import FakeMetrics
from tests.polling import until

DOOR = SourceName("door")
Step = int | Exception | Callable[[], int | None] | None


class ScriptedSource:
    """Gives what its script says, one step a read; at the script's end it ends."""

    def __init__(self, script: Iterator[Step], lives: list["ScriptedSource"], *, patience_s: float) -> None:
        self.patience_s = patience_s
        self.closed = False
        self.interrupted = threading.Event()
        self._script = script
        lives.append(self)

    def open(self) -> None:
        pass

    def read(self) -> int | None:
        step = next(self._script, None)
        if isinstance(step, Exception):
            raise step
        return step() if callable(step) else step

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed = True


class Stand:
    """A capture over scripted sources, and what came of it."""

    def __init__(
        self,
        *script: Step,
        accept: Callable[[int], bool] | None = None,
        patience_s: float = 5,
        proven_s: float = 10,
        faults_of_make: Sequence[Exception] = (),
    ) -> None:
        self.lives: list[ScriptedSource] = []
        self.items: list[int] = []
        self.conditions: list[tuple[str, str | None]] = []
        self.metrics = FakeMetrics()
        self.restarts = 0
        self.made_in: set[str] = set()
        self.backoff = Backoff(base_s=0.001, cap_s=0.002, random=Random(1))
        self._accept = accept or self._keep
        self._patience_s = patience_s
        self._faults_of_make = iter(faults_of_make)
        self._steps = iter(script)
        self.capture: Capture[int] = Capture(
            name=DOOR,
            make=self._make,
            intake=self,
            backoff=self.backoff,
            clock=SystemClock(),
            metrics=self.metrics,
            on_condition=lambda _who, status, code, _message: self.conditions.append((status, code)),
            hang_grace_s=0.05,
            proven_s=proven_s,
        )

    def _make(self) -> ScriptedSource:
        self.made_in.add(threading.current_thread().name)
        for fault in self._faults_of_make:
            raise fault
        return ScriptedSource(self._steps, self.lives, patience_s=self._patience_s)

    def restart(self) -> None:
        self.restarts += 1

    def accept(self, item: int) -> bool:
        return self._accept(item)

    def _keep(self, item: int) -> bool:
        self.items.append(item)
        return True

    async def run(self) -> None:
        async with asyncio.timeout(30):
            await self.capture.run()


def broken(code: Code = Code.ENDED) -> TransientError:
    return TransientError("the stream broke", code=code)


async def test_source_that_ends_is_not_restarted() -> None:
    stand = Stand(1, 2, None)
    await stand.run()

    assert stand.items == [1, 2]
    assert [life.closed for life in stand.lives] == [True]
    assert stand.conditions[-1] == ("ok", None)


async def test_broken_source_is_closed_and_opened_again() -> None:
    stand = Stand(1, broken(), broken(Code.OPEN), 2, None)
    await stand.run()

    assert stand.items == [1, 2]
    assert [life.closed for life in stand.lives] == [True] * 3
    assert stand.restarts == 3
    assert stand.conditions == [
        ("waiting", None),
        ("ok", None),
        ("waiting", "E_ENDED"),
        ("waiting", "E_OPEN"),
        ("ok", None),
        ("ok", None),
    ]
    assert stand.metrics.counts["source_restarts_total code=E_ENDED source=door"] == 1


async def test_refused_source_is_failed_but_still_tried_again() -> None:
    stand = Stand(RefusedError("no such file", code=Code.FILE), 7, None)
    await stand.run()

    assert stand.items == [7]
    assert ("failed", "E_FILE") in stand.conditions


async def test_secret_that_cannot_be_read_fails_only_the_source_until_it_can() -> None:
    away = ConfigError("there is no file camera-password", code=Code.FILE)
    stand = Stand(1, None, faults_of_make=[away, away])
    await stand.run()

    assert stand.items == [1]
    assert stand.conditions[:2] == [("waiting", None), ("failed", "E_FILE")]
    assert stand.conditions[-1] == ("ok", None)
    assert stand.made_in == {"capture[door]"}  # its file is read in a thread, and the loop goes on


async def test_source_that_cannot_be_made_is_one_sources_trouble() -> None:
    stand = Stand(1, None, faults_of_make=[ValueError("no such arguments")])
    await stand.run()
    assert stand.items == [1]
    assert stand.conditions[:2] == [("waiting", None), ("waiting", "E_INTERNAL")]


@pytest.mark.parametrize(("proven_s", "failures"), [(10, 3), (0, 1)])
async def test_source_that_breaks_right_after_its_first_item_is_tried_ever_more_rarely(
    proven_s: float, failures: int
) -> None:
    stand = Stand(1, broken(), 2, broken(), 3, broken(), 4, None, proven_s=proven_s)
    await stand.run()
    assert stand.items == [1, 2, 3, 4]
    assert stand.backoff.failures == failures


async def test_file_that_breaks_off_is_not_read_again_from_its_beginning() -> None:
    stand = Stand(1, 2, RefusedError("200 frames of 300", code=Code.ENDED), 1, 2)
    await stand.run()

    assert stand.items == [1, 2]
    assert stand.conditions[-1] == ("failed", "E_ENDED")


async def test_unforeseen_error_restarts_only_the_source() -> None:
    stand = Stand(1, ZeroDivisionError("a defect"), 2, None)
    await stand.run()

    assert stand.items == [1, 2]
    assert ("waiting", "E_INTERNAL") in stand.conditions


async def test_hung_source_is_abandoned_and_what_it_brings_later_goes_nowhere() -> None:
    release = threading.Event()

    def hang() -> int:
        assert release.wait(timeout=20)
        return 666

    stand = Stand(1, hang, 2, None, patience_s=0.05)
    await stand.run()
    assert stand.items == [1, 2]
    assert ("waiting", "E_TIMEOUT") in stand.conditions
    assert stand.metrics.counts["source_hangs_total source=door"] == 1

    release.set()
    await until(lambda: stand.lives[0].closed)
    assert stand.items == [1, 2]


async def test_third_hang_ends_the_process_for_the_service_manager() -> None:
    release = threading.Event()

    def hang() -> None:
        release.wait(timeout=20)

    stand = Stand(*[hang] * MOST_HUNG_THREADS, patience_s=0.05)
    try:
        with pytest.raises(HungSourceError, match="source door: no answer"):
            await stand.run()
    finally:
        release.set()


async def test_hangs_that_were_recovered_from_do_not_add_up() -> None:
    releases = [threading.Event() for _ in range(MOST_HUNG_THREADS)]

    def hang_until(release: threading.Event) -> Callable[[], int]:
        def hang() -> int:
            release.wait(timeout=20)
            return 666

        return hang

    stand = Stand(*map(hang_until, releases), 7, None, patience_s=0.05)
    running = asyncio.ensure_future(stand.run())
    for hangs, release in enumerate(releases, start=1):
        await until(lambda n=hangs: stand.metrics.counts["source_hangs_total source=door"] == n)  # type: ignore[misc]
        release.set()
        await until(lambda n=hangs: stand.lives[n - 1].closed)  # type: ignore[misc]
    await running
    assert stand.items == [7]


async def test_stop_ends_a_source_that_would_go_on_for_ever() -> None:
    stand = Stand(*range(1, 10_000_000))
    running = asyncio.ensure_future(stand.run())
    await until(lambda: len(stand.items) > 10)
    stand.capture.stop()
    await running
    assert stand.lives[0].closed


async def test_stop_wakes_a_source_that_waits_for_its_time() -> None:
    stand = Stand(1, lambda: stand.lives[0].interrupted.wait(timeout=20) or None, patience_s=60)
    running = asyncio.ensure_future(stand.run())
    await until(lambda: stand.items == [1])
    stand.capture.stop()
    await running
    assert stand.lives[0].interrupted.is_set()
    assert stand.lives[0].closed


async def test_waiting_in_a_full_mailbox_is_no_hang() -> None:
    room = threading.Event()
    taken: list[int] = []

    def accept(item: int) -> bool:
        room.wait(timeout=20)
        taken.append(item)
        return True

    stand = Stand(1, 2, None, accept=accept, patience_s=0.02)
    running = asyncio.ensure_future(stand.run())
    await asyncio.sleep(0.6)  # many times the patience
    room.set()
    await running
    assert taken == [1, 2]
    assert stand.metrics.counts == {}


async def test_closed_mailbox_ends_the_source() -> None:
    stand = Stand(1, 2, 3, accept=lambda _item: False)
    await stand.run()
    assert stand.lives[0].closed
