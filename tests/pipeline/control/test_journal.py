"""What is remembered of policies: versions, attempts, and how often one was begun."""

from typing import Any

import pytest

from agent.contract.policy import PolicyDocument
from agent.contract.reported import MOST_ATTEMPTS, PolicyAttempt, PolicyStatus, SourceStanding, policy_sha256
from agent.domain.errors import Code, RefusedError
from agent.domain.ids import SourceName
from agent.pipeline.control.journal import MOST_TRIES, Journal
from agent.ports import KeptPolicy

DOOR, YARD, HALL = SourceName("door"), SourceName("yard"), SourceName("hall")


def document(version: int, *, seed: int = 1, sources: tuple[str, ...] = ("door",)) -> PolicyDocument:
    stanza: dict[str, Any] = {"kind": "synthetic", "seed": seed}
    return PolicyDocument.model_validate(
        {"version": version, "policy": {"sources": dict.fromkeys(sources, stanza)}}
    )


def attempt(of: PolicyDocument, status: PolicyStatus, code: Code | None = None) -> PolicyAttempt:
    return PolicyAttempt(
        version=of.version,
        sha256=policy_sha256(of.policy),
        status=status,
        code=code,
        at="2026-11-23T00:00:00.000Z",
    )


def in_force(of: PolicyDocument, before: Journal | None = None, **standings: SourceStanding) -> Journal:
    journal = before or Journal(KeptPolicy())
    told = {SourceName(name): standing for name, standing in standings.items()}
    return journal.in_force(attempt(of, "applied"), of, origin="mqtt", standings=told)


def is_known(journal: Journal, of: PolicyDocument) -> bool:
    return journal.is_known(of, policy_sha256(of.policy))


def refusal(journal: Journal, of: PolicyDocument) -> Code | None:
    try:
        journal.check(of, policy_sha256(of.policy))
    except RefusedError as error:
        return error.code if error.path == "/version" else None
    return None


def test_the_first_document_may_have_any_version() -> None:
    assert refusal(Journal(KeptPolicy()), document(0)) is None


def test_versions_rise() -> None:
    journal = in_force(document(5))
    assert refusal(journal, document(6, seed=2)) is None
    assert refusal(journal, document(4, seed=2)) == Code.STALE
    assert refusal(journal, document(5, seed=2)) == Code.CONFLICT


def test_same_document_again_is_known() -> None:
    assert is_known(in_force(document(5)), document(5))
    assert not is_known(in_force(document(5)), document(5, seed=2))


def test_what_was_in_force_once_is_stale_and_not_known() -> None:
    journal = in_force(document(6, seed=2), before=in_force(document(5)))
    assert not is_known(journal, document(5))
    assert refusal(journal, document(5)) == Code.STALE


@pytest.mark.parametrize("status", ["failed", "rolled_back"])
def test_what_failed_is_remembered(status: PolicyStatus) -> None:
    journal = in_force(document(5)).noted(attempt(document(6, seed=2), status, Code.PROBE))
    assert is_known(journal, document(6, seed=2))
    # Something else under that version may be tried: the one that failed never was in force.
    assert not is_known(journal, document(6, seed=3))
    assert refusal(journal, document(6, seed=3)) is None


def test_partial_one_is_known_while_what_came_of_it_is_in_force() -> None:
    wanted, mixture = document(6, seed=2), document(6, seed=1)
    journal = in_force(document(5)).in_force(
        attempt(wanted, "partial", Code.PROBE), mixture, origin="mqtt", standings={}
    )
    assert is_known(journal, wanted)
    assert is_known(journal, mixture)
    later = in_force(document(7, seed=3), before=journal)
    assert not is_known(later, wanted)
    assert refusal(later, wanted) == Code.STALE


def test_full_disk_is_no_fault_of_the_document() -> None:
    journal = in_force(document(5)).noted(attempt(document(6), "failed", Code.SPACE))
    assert not is_known(journal, document(6))


def test_attempt_in_which_the_process_ended_is_counted() -> None:
    journal = Journal(KeptPolicy())
    for tries in range(1, MOST_TRIES + 2):
        journal = journal.begun(6, "ab")
        assert journal.kept.unfinished is not None
        assert journal.kept.unfinished.tries == tries
    other = journal.begun(7, "cd").kept.unfinished
    assert other is not None
    assert other.tries == 1


def test_attempt_that_has_ended_is_not_unfinished() -> None:
    tried = document(6)
    begun = in_force(document(5)).begun(6, policy_sha256(tried.policy))
    assert begun.noted(attempt(tried, "failed")).kept.unfinished is None
    assert in_force(tried, before=begun).kept.unfinished is None
    assert begun.untried().kept.unfinished is None


def test_refusal_of_another_document_leaves_the_count_as_it_is() -> None:
    begun = in_force(document(5)).begun(6, policy_sha256(document(6).policy))
    assert begun.noted(attempt(document(4), "failed", Code.STALE)).kept.unfinished is not None


def test_floor_never_sinks_but_by_a_reset() -> None:
    journal = in_force(document(4), before=in_force(document(9)))
    assert journal.kept.floor == 9
    assert refusal(journal, document(9, seed=2)) == Code.STALE
    journal = journal.noted(attempt(document(10), "failed", Code.CRASHED)).without_floor()
    assert refusal(journal, document(2, seed=2)) is None
    assert not is_known(journal, document(10))
    assert is_known(journal, document(4))


def test_the_newest_attempts_are_kept() -> None:
    journal = Journal(KeptPolicy())
    for version in range(25):
        journal = journal.noted(attempt(document(version), "failed", Code.AUTH))
    assert [each.version for each in journal.attempts] == list(range(25 - MOST_ATTEMPTS, 25))


def test_each_source_is_told_with_the_version_that_it_runs_by() -> None:
    five = document(5, sources=("door", "yard", "hall"))
    journal = in_force(
        five,
        door=SourceStanding(version=5, status="waiting", code=Code.OPEN),
        yard=SourceStanding(version=4, status="rolled_back", code=Code.TIMEOUT),
    )
    assert journal.sources == {
        "door": SourceStanding(version=5, status="waiting", code=Code.OPEN),
        "yard": SourceStanding(version=4, status="rolled_back", code=Code.TIMEOUT),
        "hall": SourceStanding(version=5, status="applied"),
    }
    assert journal.waiting == [DOOR]

    # A later document without a word against them: what was rolled back runs by it, what waited waits.
    later = in_force(document(6, sources=("door", "yard")), before=journal)
    assert later.sources == {
        "door": SourceStanding(version=6, status="waiting", code=Code.OPEN),
        "yard": SourceStanding(version=6, status="applied"),
    }
    assert later.answering([DOOR]).sources["door"] == SourceStanding(version=6, status="applied")
    assert later.answering([DOOR]).waiting == []


def test_what_is_desired_is_remembered_beside_what_is_in_force() -> None:
    journal = in_force(document(5)).desired("cd")
    assert (journal.kept.desired_sha256, is_known(journal, document(5))) == ("cd", True)
