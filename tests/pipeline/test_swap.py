"""Another model takes over: nothing is lost, and whatever goes wrong, the old one stays."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from agent.contract.policy import ModelPolicy, Policy
from agent.contract.thresholds import ThresholdPolicy
from agent.domain.errors import Code, ConfigError, RefusedError
from agent.domain.frame import Frame
from agent.domain.ids import ModelName, SourceName
from agent.pipeline.mailbox import Mailbox
from agent.pipeline.scheduler import FrameJob, Scheduler
from agent.pipeline.swap import Admitted, ModelSwap
from agent.ports import Model
from tests.fakes.clock import FakeClock
from tests.fakes.models import FakeAnomalyModel, FakeDetector
from tests.polling import until

PEOPLE, DOOR, YARD = ModelName("people"), SourceName("door"), SourceName("yard")

POLICY: dict[str, Any] = {
    "models": {"people": {"file": "a.onnx"}, "spare": {"file": "spare.onnx"}},
    "sources": {
        "door": {"kind": "synthetic", "model": "people"},
        "yard": {"kind": "synthetic", "model": "people", "thresholds": {"confidence": 0.7}},
        "hall": {"kind": "synthetic"},
    },
}


def detector(version: str, *, provider: str = "cpu") -> FakeDetector:
    model = FakeDetector("people")
    model.facts = replace(model.facts, version=version, sha256=version * 12, provider_used=provider)
    return model


def admitted(model: Model, *, digest: str = "", thresholds: ThresholdPolicy | None = None) -> Admitted:
    return Admitted(
        model=model,
        digest=digest or model.facts.version,
        thresholds=thresholds or ThresholdPolicy(),
        passed="2 golden inputs agree",
    )


@dataclass
class Bench:
    """A scheduler with two cameras on one model, and a swap whose loading a test writes."""

    load: Callable[[ModelName, ModelPolicy, bool], Admitted]
    digests: dict[str, str] = field(default_factory=lambda: {"a.onnx": "1"})
    suits: Callable[[Policy, Mapping[ModelName, Model]], None] = lambda _policy, _models: None
    load_s: float = 10.0
    policy: Policy = field(default_factory=lambda: Policy.model_validate(POLICY))
    told: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    swapped: int = 0
    given_back: int = 0

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.scheduler = Scheduler(clock=self.clock)
        self.models = {PEOPLE: admitted(detector("1"))}
        self.mailboxes: dict[SourceName, Mailbox[Frame]] = {
            source: self.scheduler.add_camera(
                source,
                model=self.models[PEOPLE].model,  # type: ignore[arg-type]
                thresholds=self.policy.thresholds_of(source),
                overflow="wait",
            )
            for source in (DOOR, YARD)
        }
        self.swap = ModelSwap(
            scheduler=self.scheduler,
            models=self.models,
            policy=self.policy,
            load=self.load,
            digest=lambda stanza: self.digests.get(stanza.file, stanza.file),
            suits=self.suits,
            give_back=self._give_back,
            on_condition=lambda *told: self.told.append(told),
            on_swapped=self._on_swapped,
            load_s=self.load_s,
        )

    async def swap_to(self, policy: Policy, *, look_at_files: bool = True) -> None:
        """Stage it, let it take over, and wait until what served before has been let go of."""
        await self.swap.release(
            self.swap.take_over(await self.swap.stage(policy, look_at_files=look_at_files))
        )

    def _give_back(self) -> None:
        self.given_back += 1

    def _on_swapped(self) -> None:
        self.swapped += 1

    def job(self, source: SourceName = DOOR) -> FrameJob:
        pixels = np.zeros((2, 2, 3), np.uint8)
        assert self.mailboxes[source].put(Frame(source, 0, self.clock.now(), pixels))
        job = self.scheduler.next_job()
        assert isinstance(job, FrameJob)
        return job

    def serving(self, source: SourceName = DOOR) -> str:
        return self.job(source).model.facts.version


def policy(file: str = "b.onnx", *, sources: dict[str, Any] | None = None, **more: Any) -> Policy:
    """POLICY with another file under the name `people`."""
    models = {**POLICY["models"], "people": {"file": file, **more}}
    return Policy.model_validate({"models": models, "sources": sources or POLICY["sources"]})


def loads(_name: ModelName, stanza: ModelPolicy, _may: bool) -> Admitted:
    if stanza.file == "bad.onnx":
        raise RefusedError("it finds nothing", code=Code.MODEL)
    return admitted(detector("2"), digest=stanza.file)


def loads_nothing(_name: ModelName, _stanza: ModelPolicy, _may: bool) -> Admitted:
    raise AssertionError("nothing is to be loaded")


async def test_new_model_serves_every_camera_of_the_old_one_with_the_thresholds_in_force() -> None:
    thresholds = ThresholdPolicy(confidence=0.4, iou=0.6)
    bench = Bench(lambda _name, _stanza, _may: admitted(detector("2"), thresholds=thresholds))

    await bench.swap_to(policy(thresholds={"iou": 0.5}))

    jobs = {source: bench.job(source) for source in (DOOR, YARD)}
    assert {job.model.facts.version for job in jobs.values()} == {"2"}
    # The package's confidence, under the policy's IoU; the camera's own above both.
    assert (jobs[DOOR].thresholds[0].confidence, jobs[DOOR].thresholds[0].iou) == (0.4, 0.5)
    assert (jobs[YARD].thresholds[0].confidence, jobs[YARD].thresholds[0].iou) == (0.7, 0.5)
    assert (bench.swapped, bench.given_back) == (1, 1)
    assert bench.told[0][:2] == ("model-people", "waiting")
    assert bench.told[-1] == ("model-people", "ok", None, "version 2 (222222222222): 2 golden inputs agree")


async def test_what_is_staged_serves_nobody_before_it_takes_over() -> None:
    bench = Bench(loads)
    staged = await bench.swap.stage(policy())
    assert (set(staged.loaded), bench.serving(), bench.swapped) == ({PEOPLE}, "1", 0)
    bench.swap.take_over(staged)
    assert (bench.serving(), bench.swapped) == ("2", 1)


async def test_frame_in_flight_is_finished_by_the_old_model_which_is_let_go_afterwards() -> None:
    bench = Bench(loads)
    in_flight: list[FrameJob] = [bench.job()]
    swapping = asyncio.create_task(bench.swap_to(policy()))
    await until(lambda: bench.swapped == 1)

    assert in_flight[0].model.facts.version == "1"
    assert bench.serving() == "2"
    assert (bench.given_back, swapping.done()) == (0, False)

    in_flight.clear()
    gc.collect()
    await swapping
    assert bench.given_back == 1


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("model people is not admitted: a box is off by 3 px", code=Code.MODEL),
        RefusedError("another file", code=Code.HASH),
        ConfigError("no cuda", code=Code.PROVIDER),
    ],
)
async def test_model_that_is_refused_leaves_the_old_one_and_is_told(
    error: RefusedError | ConfigError,
) -> None:
    def load(_name: ModelName, _stanza: ModelPolicy, _may: bool) -> Admitted:
        raise error

    bench = Bench(load)
    with pytest.raises(RefusedError) as refused:
        await bench.swap.stage(policy())

    assert (refused.value.code, refused.value.path) == (error.code, "/policy/models/people")
    assert bench.serving() == "1"
    assert bench.swapped == 0
    assert bench.given_back == 1
    who, status, code, message = bench.told[-1]
    assert (who, status, code) == ("model-people", "degraded", error.code)
    assert message == f"version 1 (111111111111) serves on, for the next was refused: {error.message}"


async def test_model_that_does_not_suit_a_source_is_refused() -> None:
    def suits(_policy: Policy, models: Mapping[ModelName, Model]) -> None:
        if models[PEOPLE].facts.version == "2":
            raise RefusedError(
                "yard wants something else", code=Code.COMPATIBILITY, path="/policy/sources/yard/model"
            )

    bench = Bench(loads, suits=suits)
    with pytest.raises(RefusedError) as refused:
        await bench.swap.stage(policy())
    assert (refused.value.code, refused.value.path) == (Code.COMPATIBILITY, "/policy/sources/yard/model")
    assert (bench.serving(DOOR), bench.serving(YARD)) == ("1", "1")
    assert bench.told[-1][2] == Code.COMPATIBILITY


async def test_loading_that_does_not_end_is_given_up_and_harms_nothing_when_it_ends() -> None:
    gate = threading.Event()

    def load(_name: ModelName, _stanza: ModelPolicy, _may: bool) -> Admitted:
        gate.wait(timeout=10)
        return admitted(detector("2"))

    bench = Bench(load, load_s=0.05)
    with pytest.raises(RefusedError):
        await bench.swap.stage(policy())
    assert bench.told[-1][2] == Code.TIMEOUT
    gate.set()
    assert bench.serving() == "1"


async def test_other_thresholds_load_nothing() -> None:
    bench = Bench(loads_nothing)
    staged = await bench.swap.stage(policy("a.onnx", thresholds={"confidence": 0.9}))
    assert not staged.loaded


async def test_same_stanza_is_loaded_anew_only_where_its_file_has_changed_and_somebody_looks() -> None:
    bench = Bench(loads)
    await bench.swap_to(policy("a.onnx"))
    assert bench.serving() == "1"

    bench.digests["a.onnx"] = "2"
    await bench.swap_to(policy("a.onnx"), look_at_files=False)
    assert bench.serving() == "1"
    await bench.swap_to(policy("a.onnx"))
    assert bench.serving() == "2"


async def test_all_are_loaded_anew_once_where_they_are_to_be_run_otherwise() -> None:
    bench = Bench(loads)
    bench.swap.load_all_anew()
    await bench.swap_to(policy("a.onnx"), look_at_files=False)
    assert bench.serving() == "2"
    assert not (await bench.swap.stage(policy("a.onnx"), look_at_files=False)).loaded


async def test_new_model_may_fall_back_only_where_the_old_one_did() -> None:
    asked: list[bool] = []

    def load(_name: ModelName, _stanza: ModelPolicy, may_fall_back: bool) -> Admitted:
        asked.append(may_fall_back)
        # Asked for "cpu", as all fakes are: another one is a fallback.
        return admitted(detector("2", provider="openvino"))

    bench = Bench(load)
    for file in ("b.onnx", "c.onnx"):
        await bench.swap_to(policy(file))
    assert asked == [False, True]
    assert bench.told[-1][1:3] == ("degraded", Code.PROVIDER)


async def test_model_that_no_source_uses_is_not_loaded_and_goes_when_the_last_one_has_gone() -> None:
    bench = Bench(loads_nothing)
    await bench.swap_to(policy("a.onnx"))
    unused = policy("a.onnx", sources={"hall": {"kind": "synthetic"}})
    gone = bench.swap.take_over(await bench.swap.stage(unused))
    assert bench.swap.serving("people") is None
    assert bench.told[-1] == ("model-people", "ok", None, "not used")

    # The cameras are let go of by whoever follows the policy; with them goes the model.
    for source in (DOOR, YARD):
        bench.scheduler.remove(source)
    gc.collect()
    await bench.swap.release(gone)
    assert bench.given_back == 1


async def test_model_comes_with_the_first_source_that_uses_it() -> None:
    bench = Bench(loads)
    await bench.swap_to(
        policy("a.onnx", sources={**POLICY["sources"], "hall": {"kind": "synthetic", "model": "spare"}})
    )
    spare = bench.swap.serving("spare")
    assert spare is not None
    assert (spare.digest, bench.serving()) == ("spare.onnx", "1")


async def test_upgraded_model_is_what_the_next_swap_replaces() -> None:
    bench = Bench(loads)
    faster = detector("1")
    old = bench.models[PEOPLE].model
    bench.scheduler.replace_model(old, faster, thresholds={})
    bench.swap.note_replaced(old, faster)
    del old, faster

    await bench.swap_to(policy())
    assert bench.serving() == "2"


async def test_going_back_to_what_serves_ends_the_trouble_of_a_refused_model() -> None:
    bench = Bench(loads)
    with pytest.raises(RefusedError):
        await bench.swap.stage(policy("bad.onnx"))
    await bench.swap_to(policy("a.onnx"))
    assert [told[1] for told in bench.told[-2:]] == ["degraded", "ok"]


async def test_one_bad_model_of_two_leaves_both_as_they_were() -> None:
    bench = Bench(loads)
    sources = {**POLICY["sources"], "hall": {"kind": "synthetic", "model": "spare"}}
    models = {"people": {"file": "b.onnx"}, "spare": {"file": "bad.onnx"}}
    with pytest.raises(RefusedError) as refused:
        await bench.swap.stage(Policy.model_validate({"models": models, "sources": sources}))
    assert refused.value.path == "/policy/models/spare"
    assert (bench.serving(), bench.swap.serving("spare"), bench.given_back) == ("1", None, 1)
    assert bench.told[-1][:2] == ("model-spare", "ok")


async def test_model_of_windows_is_swapped_as_one_of_pictures_is() -> None:
    scheduler = Scheduler(clock=FakeClock())
    old, new = FakeAnomalyModel(), FakeAnomalyModel()
    scheduler.add_sensor(SourceName("motor"), model=old, deadline_s=1.0)

    def wanted(file: str) -> Policy:
        return Policy.model_validate(
            {
                "models": {"motor-anomaly": {"file": file}},
                "sources": {"motor": {"kind": "vibration", "model": "motor-anomaly"}},
            }
        )

    swap = ModelSwap(
        scheduler=scheduler,
        models={ModelName("motor-anomaly"): admitted(old)},
        policy=wanted("a.onnx"),
        load=lambda _name, _stanza, _may: admitted(new),
        digest=lambda stanza: stanza.file,
        suits=lambda _policy, _models: None,
        give_back=lambda: None,
        on_condition=lambda *_told: None,
        on_swapped=lambda: None,
    )
    del old
    await swap.release(swap.take_over(await swap.stage(wanted("b.onnx"))))
    assert scheduler._lines.sensors[SourceName("motor")].model is new
