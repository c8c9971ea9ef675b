"""Policies in their turn: what is refused, what is written down when, and what is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import jsonschema
import pytest

from agent.contract.policy import Policy, PolicyDocument
from agent.contract.reported import MOST_ATTEMPTS, PolicyAttempt, policy_sha256
from agent.contract.schemas import wire_schemas
from agent.contract.topics import Topics
from agent.domain.errors import Code, ConfigError, RefusedError
from agent.pipeline.announcements import Announcements
from agent.pipeline.control.journal import MOST_TRIES, Journal
from agent.pipeline.control.policy import PolicyControl
from agent.pipeline.control.reporting import Reporting
from agent.policies import read_policy
from agent.ports import KeptPolicy, Unfinished
from tests.fakes.policy_store import FakePolicyStore
from tests.pipeline.control.bench import SILENT, Bench, bench, policy
from tests.polling import until

TOPICS = Topics("plant", "nano-1")
TWO = policy(door={"seed": 1}, yard={"seed": 2})
EAGER = policy(door={"seed": 1, "thresholds": {"confidence": 0.9}}, yard={"seed": 2})


def document(version: int, wanted: Policy = EAGER, **envelope: Any) -> PolicyDocument:
    return PolicyDocument(version=version, policy=wanted, **envelope)


def payload(version: int, wanted: Policy = EAGER, **envelope: Any) -> bytes:
    of = document(version, wanted, **envelope)
    return json.dumps(of.model_dump(mode="json", by_alias=True, exclude_unset=True)).encode()


class Desk:
    """A control that serves, and all that it told."""

    def __init__(self, made: Bench, journal: Journal, *, pending: bool) -> None:
        self.bench = made
        self.store = FakePolicyStore(journal.kept)
        self.store.history.clear()
        self.reports: list[dict[str, Any]] = []
        self.conditions: list[tuple[str, str | None, str | None]] = []
        self.applied: list[int] = []
        self.checked: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.check: Callable[[PolicyDocument], None] = lambda _document: None
        self.read: Callable[[bytes], PolicyDocument] = read_policy
        self._announcements = Announcements()
        begun = journal.kept.document
        self.control = PolicyControl(
            store=self.store,
            journal=journal,
            document=PolicyDocument.model_validate(begun) if begun else document(1, TWO),
            origin="file",
            pending=pending,
            reconciler=made.reconciler,
            read=lambda text: self.read(text),  # noqa: PLW0108 a test may put another in its place
            check=self._check,
            reporting=Reporting(topics=TOPICS, announcements=self._announcements),
            clock=made.clock,
            on_condition=lambda _who, status, code, message: self.conditions.append((status, code, message)),
            on_applied=lambda applied: self.applied.append(applied.version),
            proven_s=0.05,
        )

    def _check(self, wanted: PolicyDocument) -> None:
        self.checked.append(wanted.version)
        assert self.gate.wait(timeout=10)
        self.check(wanted)

    @property
    def report(self) -> dict[str, Any]:
        """The newest."""
        return self.reports[-1]

    async def listen(self) -> None:
        """Take down all reports; each has to be as its schema says."""
        while True:
            await self._announcements.news()
            for publication in self._announcements.take():
                assert (publication.topic, publication.retain) == (TOPICS.reported, True)
                said = json.loads(publication.payload)
                jsonschema.validate(said, wire_schemas()["config"])
                self.reports.append(said)

    async def ended(self, version: int | None, status: str) -> dict[str, Any]:
        """The report of how the last attempt ended."""

        def has_ended() -> bool:
            last = self.report["attempts"][-1:]
            return [(each["version"], each["status"]) for each in last] == [(version, status)]

        await until(has_ended)
        return self.report


def kept(of: PolicyDocument) -> Journal:
    attempt = PolicyAttempt(
        version=of.version,
        sha256=policy_sha256(of.policy),
        status="applied",
        at="2026-11-23T00:00:00.000Z",
    )
    return Journal(KeptPolicy()).in_force(attempt, of, origin="file", standings={})


@asynccontextmanager
async def desk(journal: Journal | None = None, *, pending: bool = False) -> AsyncIterator[Desk]:
    """By itself version 1, TWO, is in force."""
    async with bench(TWO) as made:
        await until(lambda: made.have_come("door") and made.have_come("yard"))
        here = Desk(made, journal or kept(document(1, TWO)), pending=pending)
        tasks = [asyncio.create_task(each) for each in (here.listen(), here.control.run())]
        await until(lambda: bool(here.reports) or tasks[0].done() or tasks[1].done())
        try:
            yield here
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def test_at_the_start_it_says_what_is_in_force() -> None:
    async with desk() as here:
        report = here.report
        assert (report["version"], report["status"], report["diverged"]) == (1, "applied", False)
        assert report["effective_sha256"] == policy_sha256(TWO)
        assert report["desired_sha256"] is None
        assert set(report["sources"]) == {"door", "yard"}


async def test_desired_policy_is_applied_written_down_and_told() -> None:
    async with desk() as here:
        here.control.want(payload(2))
        report = await here.ended(2, "applied")
        assert (report["version"], report["status"]) == (2, "applied")
        assert report["desired_sha256"] == report["effective_sha256"] == policy_sha256(EAGER)
        assert report["sources"]["yard"] == {"version": 2, "status": "applied", "code": None}
        # First that it is begun, then that it is in force.
        begun, settled = here.store.history
        assert begun.document is not None
        assert (begun.document["version"], begun.unfinished) == (1, Unfinished(2, policy_sha256(EAGER), 1))
        assert settled.document is not None
        assert (settled.document["version"], settled.unfinished, settled.floor) == (2, None, 2)
        assert here.applied == [2]
        assert here.conditions[-1] == ("ok", None, "version 2 is in force")
        assert [each["status"] for each in here.reports] == ["applied", "applying", "applied"]


async def test_same_document_again_does_nothing() -> None:
    async with desk() as here:
        here.control.want(payload(2))
        await here.ended(2, "applied")
        here.store.history.clear()
        attempt = await here.control.submit(document(2), "patch")
        assert (attempt.status, here.store.history, here.checked) == ("applied", [], [2])


async def test_of_those_that_wait_the_newest_desired_is_tried() -> None:
    async with desk() as here:
        here.gate.clear()
        here.control.want(payload(2))
        await until(lambda: here.checked == [2])
        for version in (3, 4, 5):
            here.control.want(payload(version))
        here.gate.set()
        await here.ended(5, "applied")
        assert here.checked == [2, 5]


async def test_only_so_many_wait() -> None:
    async with desk() as here:
        here.gate.clear()
        first = asyncio.create_task(here.control.submit(document(2), "patch"))
        await until(lambda: here.checked == [2])
        waiting = [asyncio.create_task(here.control.submit(document(v), "patch")) for v in range(3, 11)]
        await asyncio.sleep(0)
        with pytest.raises(RefusedError) as refused:
            await here.control.submit(document(11), "patch")
        assert refused.value.code == Code.BUSY
        here.gate.set()
        assert [(await each).status for each in (first, *waiting)] == ["applied"] * 9
        assert here.control.document.version == 10


async def test_old_versions_and_other_content_are_refused() -> None:
    async with desk() as here:
        here.control.want(payload(5))
        await here.ended(5, "applied")
        for version, wanted, code in ((1, TWO, Code.STALE), (5, TWO, Code.CONFLICT)):
            here.control.want(payload(version, wanted))
            report = await here.ended(version, "failed")
            assert (report["attempts"][-1]["code"], report["version"]) == (code, 5)
            assert here.conditions[-1][:2] == ("degraded", code)
        assert here.bench.reconciler.policy == EAGER
        # What is in force is desired again: all is well.
        here.control.want(payload(5))
        await until(lambda: here.report["status"] == "applied")
        assert here.conditions[-1][0] == "ok"


async def test_trouble_with_another_document_is_over_when_the_one_in_force_comes_again() -> None:
    async with desk() as here:  # version 1 came from the node's file
        here.control.want(payload(0))
        await here.ended(0, "failed")
        assert here.conditions[-1][:2] == ("degraded", Code.STALE)
        here.control.want(payload(1, TWO))
        await until(lambda: here.conditions[-1] == ("ok", None, "version 1 is in force"))
        assert (here.report["status"], here.report["desired_sha256"]) == ("applied", policy_sha256(TWO))


async def test_expired_document_is_refused_where_the_time_is_known() -> None:
    async with desk() as here:
        past = "2020-01-01T00:00:00.000Z"
        here.control.want(payload(2, expires_at=past))
        report = await here.ended(2, "failed")
        assert (report["attempts"][-1]["code"], report["attempts"][-1]["path"]) == (
            "E_EXPIRED",
            "/expires_at",
        )
        here.bench.clock.is_synced = False
        here.control.want(payload(3, expires_at=past))
        await here.ended(3, "applied")
        here.bench.clock.is_synced = True
        here.control.want(payload(4, TWO, expires_at="2120-01-01T00:00:00.000Z"))
        await here.ended(4, "applied")


async def test_disk_that_refuses_changes_nothing_and_the_same_may_come_again() -> None:
    async with desk() as here:
        here.store.broken = True
        here.control.want(payload(2))
        report = await here.ended(2, "failed")
        assert (report["attempts"][-1]["code"], report["version"]) == ("E_SPACE", 1)
        assert (here.checked, here.bench.adopted) == ([], [])
        here.store.broken = False
        here.control.want(payload(2))
        await here.ended(2, "applied")


async def test_what_settings_do_not_permit_changes_nothing() -> None:
    def check(_wanted: PolicyDocument) -> None:
        raise ConfigError("host is not allowed", code=Code.AUTH, path="/policy/sources/door/url")

    async with desk() as here:
        here.check = check
        here.control.want(payload(2))
        last = (await here.ended(2, "failed"))["attempts"][-1]
        assert (last["code"], last["path"], last["message"]) == (
            "E_AUTH",
            "/policy/sources/door/url",
            "host is not allowed",
        )
        assert here.bench.adopted == []
        # It is remembered: at the next connect it comes again.
        here.control.want(payload(2))
        attempt = await here.control.submit(document(2), "patch")
        assert (attempt.code, here.checked) == (Code.AUTH, [2])
        assert here.store.load().unfinished is None


async def test_what_cannot_be_read_is_told_once() -> None:
    async with desk() as here:
        for _ in range(3):
            here.control.want(b"{nonsense")
            await here.ended(None, "failed")
        here.control.want(payload(2))
        report = await here.ended(2, "applied")
        assert [each["code"] for each in report["attempts"]] == [None, "E_JSON", None]


async def test_what_cannot_be_judged_without_the_time_is_tried_when_it_is_known() -> None:
    async with desk() as here:

        def read(text: bytes) -> PolicyDocument:
            if not here.bench.clock.synced():
                raise RefusedError("nobody knows how old it is", code=Code.CLOCK)
            return read_policy(text)

        here.read = read
        here.bench.clock.is_synced = False
        here.control.want(payload(2))
        assert (await here.ended(None, "failed"))["attempts"][-1]["code"] == "E_CLOCK"
        here.bench.clock.is_synced = True
        await here.ended(2, "applied")


async def test_attempts_that_are_told_are_bounded() -> None:
    async with desk() as here:
        for version in range(2, 16):
            here.control.want(payload(version, TWO if version % 2 else EAGER))
            await here.ended(version, "applied")
        assert all(len(report["attempts"]) <= MOST_ATTEMPTS for report in here.reports)
        assert len(here.report["attempts"]) == MOST_ATTEMPTS


async def test_patch_made_here_is_told_until_it_is_desired_too() -> None:
    async with desk() as here:
        here.control.want(payload(2, TWO))
        await here.ended(2, "applied")
        assert (await here.control.submit(document(3), "patch")).status == "applied"
        assert here.report["diverged"] is True
        assert here.report["desired_sha256"] == policy_sha256(TWO)
        here.control.want(payload(4))
        assert (await here.ended(4, "applied"))["diverged"] is False


async def test_desired_policy_that_a_patch_is_ahead_of_is_no_stale_one_when_it_comes_again() -> None:
    async with desk() as here:
        here.control.want(payload(2, TWO))
        await here.ended(2, "applied")
        await here.control.submit(document(3), "patch")
        here.control.want(payload(2, TWO))  # as at every connect
        await here.control.submit(document(3), "patch")  # its turn comes after that
        assert (here.report["status"], here.report["diverged"]) == ("applied", True)
        assert here.report["attempts"][-1]["version"] == 3
        assert here.conditions[-1][0] == "ok"
        # It was never said before, so it is an old one:
        here.control.want(payload(2))
        assert (await here.ended(2, "failed"))["attempts"][-1]["code"] == Code.STALE


async def test_after_a_reset_the_desired_policy_goes_before_what_was_changed_here() -> None:
    async with desk() as here:
        here.control.want(payload(2, TWO))
        await here.ended(2, "applied")
        await here.control.submit(document(3), "local")
        await here.control.reset()
        here.control.want(payload(2, TWO))
        assert (await here.ended(2, "applied"))["diverged"] is False


async def test_camera_that_goes_back_is_told_with_the_version_that_it_runs_by() -> None:
    async with desk() as here:
        mixed = policy(door={"seed": SILENT}, yard={"seed": 2, "thresholds": {"confidence": 0.9}})
        here.control.want(payload(2, mixed))
        report = await here.ended(2, "partial")
        assert report["sources"] == {
            "door": {"version": 1, "status": "rolled_back", "code": "E_OPEN"},
            "yard": {"version": 2, "status": "applied", "code": None},
        }
        assert (report["version"], report["attempts"][-1]["code"]) == (2, "E_PROBE")
        assert report["policy"]["sources"]["door"]["seed"] == 1
        assert report["desired_sha256"] != report["effective_sha256"]
        probation = next(each for each in here.reports if each["status"] == "probation")
        assert probation["sources"]["door"]["status"] == "probation"
        state = here.store.load().document
        assert state is not None
        assert state["policy"] == report["policy"]
        # The same again is known, and nothing is tried.
        assert (await here.control.submit(document(2, mixed), "file")).status == "partial"

        # Later it runs by what is in force then.
        here.control.want(payload(3, TWO))
        report = await here.ended(3, "applied")
        assert report["sources"]["door"] == {"version": 3, "status": "applied", "code": None}


async def test_what_was_undone_as_a_whole_leaves_the_old_version_in_force() -> None:
    async with desk() as here:
        broken = policy(door={"seed": SILENT}, yard={"seed": 2})
        here.control.want(payload(2, broken))
        report = await here.ended(2, "rolled_back")
        assert (report["version"], report["status"]) == (1, "rolled_back")
        assert report["sources"]["door"] == {"version": 1, "status": "rolled_back", "code": "E_OPEN"}
        assert report["sources"]["yard"]["version"] == 1
        assert (here.control.document.version, here.applied, here.store.load().floor) == (1, [], 1)
        here.control.want(payload(2, broken))
        assert (await here.control.submit(document(2, broken), "patch")).status == "rolled_back"
        assert here.checked == [2]


async def test_camera_that_comes_to_answer_is_told() -> None:
    async with desk() as here:
        here.control.want(payload(2, policy(door={"seed": 1}, yard={"seed": 2}, hall={"seed": SILENT})))
        report = await here.ended(2, "applied")
        assert report["sources"]["hall"] == {"version": 2, "status": "waiting", "code": "E_OPEN"}
        here.bench.captures["hall"].answers.set()
        await until(lambda: here.report["sources"]["hall"]["status"] == "applied")
        assert here.store.load().sources["hall"]["status"] == "applied"


async def test_attempt_in_which_the_process_ended_twice_is_given_up() -> None:
    journal = kept(document(1, TWO))
    for _ in range(MOST_TRIES):
        journal = journal.begun(2, policy_sha256(EAGER))
    async with desk(journal) as here:
        here.control.want(payload(2))
        last = (await here.ended(2, "failed"))["attempts"][-1]
        assert (last["code"], here.checked) == ("E_CRASHED", [])
        here.control.want(payload(3))
        await here.ended(3, "applied")


async def test_attempt_in_which_the_process_ended_once_is_made_again() -> None:
    async with desk(kept(document(1, TWO)).begun(2, policy_sha256(EAGER))) as here:
        here.control.want(payload(2))
        await here.ended(2, "applied")
        unfinished = here.store.history[0].unfinished
        assert unfinished is not None
        assert unfinished.tries == 2


async def test_first_policy_is_in_force_when_it_has_proven_itself() -> None:
    async with desk(Journal(KeptPolicy()).begun(1, policy_sha256(TWO)), pending=True) as here:
        report = await here.ended(1, "applied")
        assert report["version"] == 1
        state = here.store.load()
        assert (state.floor, state.unfinished, state.origin) == (1, None, "file")


async def test_node_that_gave_a_policy_up_says_so_from_the_start() -> None:
    failed = PolicyAttempt(
        version=9,
        sha256="ab",
        status="failed",
        code=Code.CRASHED,
        message="it ended",
        at="2026-11-23T00:00:00Z",
    )
    async with desk(kept(document(1, TWO)).noted(failed)) as here:
        assert (here.report["version"], here.report["status"]) == (1, "failed")
        assert here.conditions[0] == ("degraded", Code.CRASHED, "version 1 is in force: it ended")


async def test_reset_waits_for_its_turn_and_forgets_the_floor() -> None:
    async with desk() as here:
        here.control.want(payload(9))
        await here.ended(9, "applied")
        here.gate.clear()
        here.control.want(payload(10, TWO))
        await until(lambda: here.checked == [9, 10])
        resetting = asyncio.create_task(here.control.reset())
        await asyncio.sleep(0)
        here.gate.set()
        await resetting
        assert here.control.document.version == 10
        assert (here.store.load().floor, here.report["attempts"]) == (-1, [])
        here.control.want(payload(3))
        await here.ended(3, "applied")


async def test_file_that_is_read_again_takes_its_turn_and_a_mistake_in_it_is_told() -> None:
    async with desk() as here:
        await here.control.reread(lambda: document(2))
        await here.ended(2, "applied")

        def read() -> PolicyDocument:
            raise ConfigError("policy.yaml:3: there is no key", code=Code.SCHEMA)

        await here.control.reread(read)
        message = "version 2 stays in force: policy.yaml:3: there is no key"
        assert here.conditions[-1] == ("degraded", Code.SCHEMA, message)
