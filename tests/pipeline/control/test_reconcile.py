"""From one policy to another: only what differs is touched, and what fails its probe goes back alone."""

import gc
import weakref
from itertools import pairwise

import pytest

from agent.contract.policy import Policy
from agent.contract.reported import SourceStanding
from agent.domain.errors import Code, RefusedError
from tests.pipeline.control.bench import PROBE_S, SILENT, WRONG, Bench, bench, policy
from tests.polling import until

TWO = policy(door={"seed": 1}, yard={"seed": 2})


async def work(made: Bench, *names: str) -> None:
    """Until each has given a few frames."""
    await until(lambda: all(made.have_come(name) for name in names))


def without_gap(numbers: list[int]) -> bool:
    return len(numbers) > 1 and all(later == earlier + 1 for earlier, later in pairwise(numbers))


async def test_thresholds_take_effect_on_the_next_job_and_no_frame_is_dropped() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        new = policy(door={"seed": 1, "thresholds": {"confidence": 0.9}}, yard={"seed": 2})
        applied = await made.apply(new)
        assert (applied.status, applied.policy, applied.standings, applied.error) == (
            "applied",
            new,
            {},
            None,
        )
        count = len(made.numbers("door"))
        await until(lambda: len(made.numbers("door")) > count + 5)
        confidences = [seen.confidence for seen in made.seen if seen.source == "door"]
        # Once raised it stays so: the first frame after is under it, and those before are not.
        changed_at = confidences.index(0.9)
        assert changed_at <= count + 1
        assert set(confidences[changed_at:]) == {0.9}
        assert 0.9 not in {seen.confidence for seen in made.seen if seen.source == "yard"}
        assert made.started == []
        assert without_gap(made.numbers("door"))
        assert without_gap(made.numbers("yard"))
        assert {name: flow.dropped for name, flow in made.scheduler.statistics().items()} == {
            "door": {},
            "yard": {},
        }
        assert (made.adopted, made.marks) == ([new], [1, 2])


async def test_same_policy_touches_nothing() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        assert (await made.apply(TWO)).status == "applied"
        assert made.started == []


async def test_sources_come_and_go_alone() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        applied = await made.apply(policy(door={"seed": 1}, hall={"seed": 3}))
        assert applied.status == "applied"
        assert applied.standings == {"hall": SourceStanding(version=2, status="applied")}
        assert made.started == ["hall"]
        assert set(made.scheduler.statistics()) == {"door", "hall"}
        assert "yard" not in made.conditions
        await work(made, "hall")
        assert without_gap(made.numbers("door"))


async def test_camera_that_comes_from_elsewhere_is_opened_anew() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        applied = await made.apply(policy(door={"seed": 9}, yard={"seed": 2}))
        assert applied.standings == {"door": SourceStanding(version=2, status="applied")}
        assert made.started == ["door"]
        assert made.numbers("door").count(0) == 2
        assert without_gap(made.numbers("yard"))


@pytest.mark.parametrize("seed", [SILENT, WRONG])
async def test_camera_that_was_well_and_fails_goes_back_alone(seed: int) -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        applied = await made.apply(
            policy(door={"seed": seed}, yard={"seed": 2, "thresholds": {"confidence": 0.9}}), door=1
        )
        assert applied.status == "partial"
        assert applied.policy == policy(door={"seed": 1}, yard={"seed": 2, "thresholds": {"confidence": 0.9}})
        assert applied.standings == {"door": SourceStanding(version=1, status="rolled_back", code=Code.OPEN)}
        assert applied.error is not None
        assert (applied.error.code, applied.error.path) == (Code.PROBE, "/policy/sources/door")
        assert "nobody there" in applied.error.message
        assert made.started == ["door", "door"]
        count = len(made.numbers("door"))
        await until(lambda: len(made.numbers("door")) > count)
        assert without_gap(made.numbers("yard"))
        assert made.reconciler.policy == applied.policy == made.adopted[-1]


async def test_camera_on_its_way_back_is_not_lost_to_the_next_mistake() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        for version in (2, 3):
            applied = await made.apply(
                policy(door={"seed": WRONG + version}, yard={"seed": 2}), version=version, door=1
            )
            assert applied.status == "rolled_back"
        made.seen.clear()
        await work(made, "door")


async def test_change_of_nothing_else_is_undone_as_a_whole() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        applied = await made.apply(policy(door={"seed": SILENT}, yard={"seed": 2}), door=1)
        assert (applied.status, applied.policy) == ("rolled_back", TWO)
        assert applied.error is not None
        assert applied.error.code == Code.PROBE
        assert made.marks == [1, 2, 1]


async def test_new_camera_that_does_not_answer_is_waited_for() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        new = policy(door={"seed": 1}, yard={"seed": 2}, hall={"seed": SILENT})
        applied = await made.apply(new)
        assert (applied.status, applied.policy) == ("applied", new)
        assert applied.standings == {"hall": SourceStanding(version=2, status="waiting", code=Code.OPEN)}
        assert made.sources.is_running("hall")  # type: ignore[arg-type]
        made.captures["hall"].answers.set()
        await work(made, "hall")
        assert made.reconciler.is_well("hall")  # type: ignore[arg-type]


async def test_camera_that_was_not_well_before_does_not_go_back() -> None:
    async with bench(policy(door={"seed": SILENT}, yard={"seed": 2})) as made:
        await until(lambda: "door" in made.conditions and made.conditions["door"].code == Code.OPEN)
        new = policy(door={"seed": SILENT + 1}, yard={"seed": 2})
        applied = await made.apply(new, door=1)
        assert (applied.status, applied.policy) == ("applied", new)
        assert applied.standings["door"].status == "waiting"  # type: ignore[index]


async def test_where_what_it_had_does_not_fit_the_rest_all_goes_back() -> None:
    old = policy(models={"people": "a.onnx", "cats": "c.onnx"}, door={"seed": 1, "model": "cats"}, yard={})
    async with bench(old) as made:
        await work(made, "door", "yard")
        # The new one has no `cats` any more, which the camera would want again.
        new = policy(door={"seed": SILENT}, yard={"seed": 7}, hall={"seed": 3})
        applied = await made.apply(new, door=1)
        assert (applied.status, applied.policy) == ("rolled_back", old)
        assert applied.error is not None
        assert applied.error.code == Code.ROLLED_BACK
        assert "does not fit" in applied.error.message
        assert set(applied.standings) == {"door"}
        assert set(made.scheduler.statistics()) == {"door", "yard"}
        made.seen.clear()
        await work(made, "door", "yard")
        assert {seen.model for seen in made.seen if seen.source == "door"} == {"c.onnx"}


async def test_what_cannot_go_back_at_all_stays_and_waits() -> None:
    old = policy(models={"people": "a.onnx", "cats": "c.onnx"}, door={"seed": 1, "model": "cats"}, yard={})
    async with bench(old) as made:
        await work(made, "door", "yard")
        made.lost.add("c.onnx")
        new = policy(door={"seed": SILENT}, yard={})
        applied = await made.apply(new, door=1)
        assert (applied.status, applied.policy, made.reconciler.policy) == ("partial", new, new)
        assert applied.standings == {"door": SourceStanding(version=2, status="waiting", code=Code.OPEN)}
        assert applied.error is not None
        assert "nor can all go back" in applied.error.message
        made.captures["door"].answers.set()
        await until(lambda: made.reconciler.is_well("door"))  # type: ignore[arg-type]


async def test_what_was_loaded_for_nothing_is_let_go_of() -> None:
    old = policy(models={"people": "a.onnx", "cats": "c.onnx"}, door={"seed": 1, "model": "cats"}, yard={})
    async with bench(old) as made:
        await work(made, "door", "yard")
        loaded: list[weakref.ref[object]] = []
        load = made.swap._load

        def noted(name, stanza, may):  # type: ignore[no-untyped-def]
            admitted = load(name, stanza, may)
            loaded.append(weakref.ref(admitted.model))
            return admitted

        made.swap._load = noted
        new = policy(models={"people": "b.onnx"}, door={"seed": WRONG}, yard={})
        assert (await made.apply(new, door=1)).status == "rolled_back"
        gc.collect()
        assert loaded[0]() is None


async def test_refused_model_changes_nothing() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        with pytest.raises(RefusedError) as refused:
            await made.apply(policy(models={"people": "bad.onnx"}, door={"seed": 9}))
        assert (refused.value.code, refused.value.path) == (Code.MODEL, "/policy/models/people")
        assert (made.started, made.adopted, made.reconciler.policy) == ([], [], TWO)
        count = len(made.numbers("yard"))
        await until(lambda: len(made.numbers("yard")) > count)


async def test_model_is_changed_under_cameras_that_run() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        applied = await made.apply(policy(models={"people": "b.onnx"}, door={"seed": 1}, yard={"seed": 2}))
        assert (applied.status, made.started) == ("applied", [])
        count = len(made.seen)
        await until(lambda: len(made.seen) > count + 4)
        assert made.seen[-1].model == "b.onnx"
        assert without_gap(made.numbers("door"))
        assert made.given_back == 1


async def test_camera_without_a_model_is_probed_by_its_frames_alone() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        new = Policy.model_validate({"sources": {"door": {"kind": "synthetic", "seed": 3}}})
        applied = await made.apply(new)
        assert applied.standings == {"door": SourceStanding(version=2, status="applied")}
        assert made.models == {}


async def test_restart_opens_one_source_anew() -> None:
    async with bench(TWO) as made:
        await work(made, "door", "yard")
        verdict = await made.reconciler.restart("door")  # type: ignore[arg-type]
        assert verdict.passed
        assert made.started == ["door"]
        assert without_gap(made.numbers("yard"))


def test_half_a_minute_is_enough_to_fail_and_to_go_back() -> None:
    from agent.pipeline.control import reconcile

    assert PROBE_S < reconcile.PROBE_S < 30
