"""Which policy a node begins with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.contract.policy import PolicyDocument
from agent.contract.reported import PolicyAttempt, PolicyStatus, policy_sha256
from agent.domain.errors import Code, ConfigError, RefusedError
from agent.pipeline.control.journal import MOST_TRIES, Journal
from agent.policies import NOTHING, FirstPolicy, first_policy, forgive, without_first
from agent.ports import KeptPolicy
from agent.settings import Settings
from tests.fakes.clock import FakeClock
from tests.fakes.policy_store import FakePolicyStore

CLOCK = FakeClock()


def document(version: int, *, seed: int = 1, **sources: dict[str, Any]) -> PolicyDocument:
    found = sources or {"door": {"kind": "synthetic", "seed": seed}}
    return PolicyDocument.model_validate({"version": version, "policy": {"sources": found}})


def settings(folder: Path, **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "site": "plant",
            "node": "nano-1",
            "state_dir": str(folder),
            "media_root": str(folder),
            "broker": {"host": "broker.example"},
            **more,
        }
    )


def attempt(of: PolicyDocument, status: PolicyStatus, code: Code | None = None) -> PolicyAttempt:
    at = "2026-11-23T00:00:00.000Z"
    return PolicyAttempt(version=of.version, sha256=policy_sha256(of.policy), status=status, code=code, at=at)


def kept(of: PolicyDocument) -> Journal:
    return Journal(KeptPolicy()).in_force(attempt(of, "applied"), of, origin="mqtt", standings={})


@pytest.fixture
def begin(tmp_path: Path) -> Callable[..., FirstPolicy]:
    def begin(store: FakePolicyStore, file: PolicyDocument | Exception, **more: Any) -> FirstPolicy:
        def read() -> PolicyDocument:
            if isinstance(file, Exception):
                raise file
            return file

        return first_policy(store, settings(tmp_path, **more), read=read, clock=CLOCK)

    return begin


Begin = Callable[..., FirstPolicy]


def test_new_node_begins_with_its_file_which_has_to_prove_itself(begin: Begin) -> None:
    store = FakePolicyStore()
    first = begin(store, document(3))
    assert (first.document, first.origin, first.pending) == (document(3), "file", True)
    unfinished = store.load().unfinished
    assert unfinished is not None
    assert (unfinished.version, unfinished.tries) == (3, 1)


@pytest.mark.parametrize("file", [document(4), document(5), document(5, seed=2)])
def test_what_was_in_force_goes_on_where_the_file_is_no_newer(begin: Begin, file: PolicyDocument) -> None:
    first = begin(FakePolicyStore(kept(document(5)).kept), file)
    assert (first.document.version, first.document.policy) == (5, document(5).policy)
    assert (first.origin, first.pending) == ("mqtt", False)


def test_file_that_is_newer_is_tried(begin: Begin) -> None:
    first = begin(FakePolicyStore(kept(document(5)).kept), document(6, seed=2))
    assert (first.document.version, first.origin, first.pending) == (6, "file", True)


@pytest.mark.parametrize(
    "error", [ConfigError("no file", code=Code.FILE), RefusedError("no", code=Code.AUTH)]
)
def test_file_that_cannot_be_used_matters_only_where_there_is_nothing_else(
    begin: Begin, error: ConfigError | RefusedError
) -> None:
    assert begin(FakePolicyStore(kept(document(5)).kept), error).document.version == 5
    with pytest.raises(type(error)):
        begin(FakePolicyStore(), error)


def test_file_is_given_up_after_its_second_crash(begin: Begin) -> None:
    store = FakePolicyStore(kept(document(5)).kept)
    for _ in range(MOST_TRIES):
        assert begin(store, document(6, seed=2)).document.version == 6
    first = begin(store, document(6, seed=2))
    assert (first.document.version, first.pending) == (5, False)
    last = first.journal.attempts[-1]
    assert (last.version, last.status, last.code, last.path) == (6, "failed", Code.CRASHED, "/policy")
    # It stays so, and a later file is another matter.
    assert begin(store, document(6, seed=2)).document.version == 5
    assert begin(store, document(7)).document.version == 7


def test_node_with_nothing_else_runs_an_empty_policy_and_says_why(begin: Begin) -> None:
    store = FakePolicyStore()
    for _ in range(MOST_TRIES):
        assert begin(store, document(6)).pending
    first = begin(store, document(6))
    assert (first.document, first.pending, first.again) == (NOTHING, False, document(6))
    assert first.journal.attempts[-1].code == Code.CRASHED
    # Whatever comes next may have any version.
    first.journal.check(document(0), policy_sha256(document(0).policy))
    # Who kills processes may be another: with nothing else to run it is not given up for good.
    assert begin(store, document(6)).pending


def on_trial(version: int, *, seed: int) -> FakePolicyStore:
    """Another policy than the file's came into force lately."""
    wanted = document(version, seed=seed)
    journal = kept(document(5)).in_force(attempt(wanted, "applied"), wanted, origin="mqtt", standings={})
    return FakePolicyStore(journal.kept)


def test_policy_on_trial_that_ends_two_processes_goes_back_to_the_one_before(begin: Begin) -> None:
    store = on_trial(6, seed=2)
    for _ in range(MOST_TRIES - 1):
        assert begin(store, document(4)).document.version == 6
    first = begin(store, document(4))
    assert (first.document.version, first.document.policy) == (5, document(5).policy)
    last = first.journal.attempts[-1]
    assert (last.version, last.status, last.code) == (6, "failed", Code.CRASHED)
    # The broker still wants it: it is known, and not tried again; what is better is.
    assert first.journal.is_known(document(6, seed=2), policy_sha256(document(6, seed=2).policy))
    assert begin(store, document(4)).document.version == 5
    first.journal.check(document(7), policy_sha256(document(7).policy))


def test_policy_that_a_process_lived_with_is_on_trial_no_more(begin: Begin) -> None:
    store = on_trial(6, seed=2)
    store.keep(Journal(store.load()).proven().kept)
    for _ in range(3 * MOST_TRIES):
        assert begin(store, document(4)).document.version == 6


def test_ordered_ends_are_not_counted_against_a_policy_on_trial(begin: Begin) -> None:
    store = on_trial(6, seed=2)
    for _ in range(3 * MOST_TRIES):
        assert begin(store, document(4)).document.version == 6
        forgive(store)


def test_third_policy_is_on_trial_against_the_first_and_the_first_itself_is_not() -> None:
    first, second, third = document(5), document(6, seed=2), document(7, seed=3)
    journal = kept(first)
    assert journal.kept.trial is None
    for tried in (second, third):
        journal = journal.in_force(attempt(tried, "applied"), tried, origin="mqtt", standings={})
        assert journal.kept.trial is not None
        assert (journal.kept.trial.previous["version"], journal.kept.trial.lives) == (5, 1)


@pytest.mark.parametrize("status", ["failed", "rolled_back"])
def test_file_that_failed_while_the_node_ran_is_not_begun_with(begin: Begin, status: PolicyStatus) -> None:
    tried = document(6, seed=2)
    journal = kept(document(5)).noted(attempt(tried, status, Code.PROBE))
    assert begin(FakePolicyStore(journal.kept), tried).document.version == 5
    assert begin(FakePolicyStore(journal.kept), document(6, seed=3)).document.version == 6


def test_ordered_ends_and_faults_of_others_are_no_crashes(begin: Begin) -> None:
    store = FakePolicyStore()
    for _ in range(2 * MOST_TRIES):
        assert begin(store, document(6)).pending
        forgive(store)
    assert store.load().unfinished is None


def test_settings_that_no_longer_permit_what_was_kept_leave_the_file(begin: Begin) -> None:
    piped = document(5, door={"kind": "pipe", "pipe": "csi"})
    pipes = {"csi": {"command": ["true"], "width_px": 64, "height_px": 64}}
    store = FakePolicyStore(kept(piped).kept)
    assert begin(store, document(4), pipes=pipes).document.version == 5

    first = begin(store, document(4))
    assert (first.document, first.pending) == (document(4), True)
    # Nobody can use it to bring an old version back, but the very same may come again.
    for old in (document(4, seed=9), document(5, seed=9)):
        with pytest.raises(RefusedError):
            first.journal.check(old, policy_sha256(old.policy))
    assert not first.journal.is_known(piped, policy_sha256(piped.policy))
    first.journal.check(piped, policy_sha256(piped.policy))
    with pytest.raises(ConfigError):
        begin(store, ConfigError("no file", code=Code.FILE))


def test_model_that_is_not_there_any_more_leaves_the_file_too(begin: Begin) -> None:
    policy = {"models": {"people": {"file": "gone.onnx"}}}
    policy["sources"] = {"door": {"kind": "synthetic", "model": "people"}}
    gone = PolicyDocument.model_validate({"version": 5, "policy": policy})
    assert begin(FakePolicyStore(kept(gone).kept), document(4)).document == document(4)


def test_attempts_of_another_version_of_the_agent_are_forgotten_and_the_rest_is_not(begin: Begin) -> None:
    state = kept(document(5)).kept
    for strange in (
        replace(state, attempts=({"version": 5, "code": "E_OF_ANOTHER_TIME"},)),
        replace(state, sources={"door": {"version": 5, "status": "levitating"}}),
    ):
        first = begin(FakePolicyStore(strange), document(4))
        assert first.document.version == 5
        assert first.journal.attempts == ()
        assert first.journal.sources == {}


def test_document_of_another_version_of_the_agent_leaves_the_file(begin: Begin) -> None:
    state = kept(document(5)).kept
    strange = replace(state, document={"version": 5, "policy": {"sources": {"door": {"kind": "psychic"}}}})
    first = begin(FakePolicyStore(strange), document(4))
    assert first.document == document(4)
    first.journal.check(document(6), policy_sha256(document(6).policy))


def test_disk_that_refuses_keeps_no_node_from_running(begin: Begin) -> None:
    store = FakePolicyStore()
    store.broken = True
    assert begin(store, document(3)).document == document(3)
    forgive(store)


def test_policy_that_cannot_be_loaded_gives_way_to_what_was_in_force(begin: Begin, tmp_path: Path) -> None:
    error = RefusedError("no model", code=Code.MODEL, path="/policy/models/people")
    store = FakePolicyStore(kept(document(5)).kept)
    first = begin(store, document(6, seed=2))
    instead = without_first(first, error, store=store, clock=CLOCK, settings=settings(tmp_path))
    assert (instead.document.version, instead.pending) == (5, False)
    last = instead.journal.attempts[-1]
    assert (last.version, last.status, last.code, last.path) == (6, "failed", Code.MODEL, error.path)
    assert store.load() == instead.journal.kept

    only = FakePolicyStore()
    with pytest.raises(RefusedError):
        without_first(begin(only, document(6)), error, store=only, clock=CLOCK, settings=settings(tmp_path))
