"""Another model takes over: nothing is lost, and whatever goes wrong, the old one stays."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from agent.contract.policy import ModelPolicy, Policy, PolicyDocument
from agent.contract.thresholds import ThresholdPolicy
from agent.domain.errors import Code, ConfigError, RefusedError
from agent.domain.frame import Frame
from agent.domain.ids import ModelName, SourceName
from agent.pipeline.mailbox import Mailbox
from agent.pipeline.reload import Reload, Rereading
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
    fits: Callable[[Model, Model, SourceName], None] = lambda _old, _new, _source: None
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
            fits=self.fits,
            give_back=self._give_back,
            on_condition=lambda *told: self.told.append(told),
            on_swapped=self._on_swapped,
            load_s=self.load_s,
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


def stanza(file: str = "b.onnx", **more: Any) -> ModelPolicy:
    return ModelPolicy.model_validate({"file": file, **more})


async def test_new_model_serves_every_camera_of_the_old_one_with_the_thresholds_in_force() -> None:
    thresholds = ThresholdPolicy(confidence=0.4, iou=0.6)
    bench = Bench(lambda _name, _stanza, _may: admitted(detector("2"), thresholds=thresholds))

    assert await bench.swap.swap(PEOPLE, stanza(thresholds={"iou": 0.5}))

    jobs = {source: bench.job(source) for source in (DOOR, YARD)}
    assert {job.model.facts.version for job in jobs.values()} == {"2"}
    # The package's confidence, under the policy's IoU; the camera's own above both.
    assert (jobs[DOOR].thresholds[0].confidence, jobs[DOOR].thresholds[0].iou) == (0.4, 0.5)
    assert (jobs[YARD].thresholds[0].confidence, jobs[YARD].thresholds[0].iou) == (0.7, 0.5)
    assert (bench.swapped, bench.given_back) == (1, 1)
    assert bench.swap.policy.models["people"] == stanza(thresholds={"iou": 0.5})
    assert bench.told[0][:2] == ("model-people", "waiting")
    assert bench.told[-1] == ("model-people", "ok", None, "version 2 (222222222222): 2 golden inputs agree")


async def test_frame_in_flight_is_finished_by_the_old_model_which_is_let_go_afterwards() -> None:
    bench = Bench(lambda _name, _stanza, _may: admitted(detector("2")))
    in_flight: list[FrameJob] = [bench.job()]
    swapping = asyncio.create_task(bench.swap.swap(PEOPLE, stanza()))
    await until(lambda: bench.swapped == 1)

    assert in_flight[0].model.facts.version == "1"
    assert bench.serving() == "2"
    assert (bench.given_back, swapping.done()) == (0, False)

    in_flight.clear()
    gc.collect()
    assert await swapping
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
    assert not await bench.swap.swap(PEOPLE, stanza())

    assert bench.serving() == "1"
    assert bench.swap.policy == bench.policy
    assert bench.swapped == 0
    assert bench.given_back == 1
    who, status, code, message = bench.told[-1]
    assert (who, status, code) == ("model-people", "degraded", error.code)
    assert message == f"version 1 (111111111111) serves on, for the next was refused: {error.message}"


async def test_model_that_does_not_suit_a_source_is_refused() -> None:
    def fits(_old: Model, _new: Model, source: SourceName) -> None:
        if source == YARD:
            raise RefusedError("yard wants something else", code=Code.COMPATIBILITY)

    bench = Bench(lambda _name, _stanza, _may: admitted(detector("2")), fits=fits)
    assert not await bench.swap.swap(PEOPLE, stanza())
    assert (bench.serving(DOOR), bench.serving(YARD)) == ("1", "1")
    assert bench.told[-1][2] == Code.COMPATIBILITY


async def test_loading_that_does_not_end_is_given_up_and_harms_nothing_when_it_ends() -> None:
    gate = threading.Event()

    def load(_name: ModelName, _stanza: ModelPolicy, _may: bool) -> Admitted:
        gate.wait(timeout=10)
        return admitted(detector("2"))

    bench = Bench(load, load_s=0.05)
    assert not await bench.swap.swap(PEOPLE, stanza())
    assert bench.told[-1][2] == Code.TIMEOUT
    gate.set()
    assert bench.serving() == "1"


async def test_other_thresholds_are_taken_over_without_loading() -> None:
    def load(_name: ModelName, _stanza: ModelPolicy, _may: bool) -> Admitted:
        raise AssertionError("nothing is to be loaded")

    bench = Bench(load)
    assert await bench.swap.swap(PEOPLE, stanza("a.onnx", thresholds={"confidence": 0.9}))
    assert bench.job().thresholds[0].confidence == 0.9
    assert bench.serving() == "1"


async def test_same_stanza_is_loaded_anew_only_where_its_file_has_changed() -> None:
    bench = Bench(lambda _name, _stanza, _may: admitted(detector("2")))
    assert await bench.swap.swap(PEOPLE, stanza("a.onnx"))
    assert bench.serving() == "1"

    bench.digests["a.onnx"] = "2"
    assert await bench.swap.swap(PEOPLE, stanza("a.onnx"))
    assert bench.serving() == "2"


async def test_new_model_may_fall_back_only_where_the_old_one_did() -> None:
    asked: list[bool] = []

    def load(_name: ModelName, _stanza: ModelPolicy, may_fall_back: bool) -> Admitted:
        asked.append(may_fall_back)
        # Asked for "cpu", as all fakes are: another one is a fallback.
        return admitted(detector("2", provider="openvino"))

    bench = Bench(load)
    for file in ("b.onnx", "c.onnx"):
        await bench.swap.swap(PEOPLE, stanza(file))
    assert asked == [False, True]
    assert bench.told[-1][1:3] == ("degraded", Code.PROVIDER)


async def test_model_that_nothing_uses_is_noted_and_not_loaded() -> None:
    def load(_name: ModelName, _stanza: ModelPolicy, _may: bool) -> Admitted:
        raise AssertionError("nothing is to be loaded")

    bench = Bench(load)
    assert await bench.swap.swap(ModelName("spare"), stanza())
    assert bench.swap.policy.models["spare"].file == "b.onnx"


async def test_upgraded_model_is_what_the_next_swap_replaces() -> None:
    bench = Bench(lambda _name, _stanza, _may: admitted(detector("2")))
    faster = detector("1")
    old = bench.models[PEOPLE].model
    bench.scheduler.replace_model(old, faster, thresholds={})
    bench.swap.note_replaced(old, faster)
    del old, faster

    assert await bench.swap.swap(PEOPLE, stanza())
    assert bench.serving() == "2"


# --- the file read again ----------------------------------------------------------------------------


def document(version: int, *, file: str = "a.onnx", **changes: Any) -> PolicyDocument:
    models = {**POLICY["models"], "people": {"file": file}}
    return PolicyDocument.model_validate(
        {"version": version, "policy": {**POLICY, "models": models, **changes}}
    )


@dataclass
class Rereader:
    """A bench whose policy file is read again when a test says so."""

    bench: Bench
    read: Callable[[], PolicyDocument]
    begun: PolicyDocument = field(default_factory=lambda: document(5))

    def __post_init__(self) -> None:
        self.asked = asyncio.Event()
        self.applied: list[int] = []
        self.reload = Reload(
            rereading=Rereading(asked=self.asked, read=self._reread),
            document=self.begun,
            swap=self.bench.swap,
            on_condition=lambda *told: self.bench.told.append(told),
            on_applied=lambda applied: self.applied.append(applied.version),
        )

    def _reread(self) -> PolicyDocument:
        return self.read()

    async def ask(self) -> tuple[str, str | None, str | None]:
        """What is told of the policy in the end."""
        before = len(self.bench.told)
        running = asyncio.create_task(self.reload.run())
        self.asked.set()
        await until(lambda: any(told[0] == "policy" for told in self.bench.told[before:]))
        running.cancel()
        return next(told[1:] for told in self.bench.told[before:] if told[0] == "policy")


def loads(_name: ModelName, stanza: ModelPolicy, _may: bool) -> Admitted:
    if stanza.file == "bad.onnx":
        raise RefusedError("it finds nothing", code=Code.MODEL)
    return admitted(detector("2"), digest=stanza.file)


async def test_changed_model_is_swapped_and_the_version_is_in_force() -> None:
    rereading = Rereader(Bench(loads), lambda: document(6, file="b.onnx"))
    assert await rereading.ask() == ("ok", None, "version 6 is in force")
    assert rereading.bench.serving() == "2"
    assert rereading.applied == [6]


async def test_refused_model_leaves_the_version_and_a_better_one_may_follow() -> None:
    rereading = Rereader(Bench(loads), lambda: document(6, file="bad.onnx"))
    status, code, message = await rereading.ask()
    assert (status, code) == ("degraded", Code.APPLY)
    assert message == "of version 6 a part is not in force; refused: policy.models.people"
    assert (rereading.bench.serving(), rereading.applied) == ("1", [])

    rereading.read = lambda: document(6, file="b.onnx")
    assert (await rereading.ask())[0] == "ok"
    assert (rereading.bench.serving(), rereading.applied) == ("2", [6])


async def test_what_is_no_model_is_told_to_need_a_restart_while_models_change() -> None:
    sources = {**POLICY["sources"], "door": {"kind": "synthetic", "model": "people", "seed": 3}}
    del sources["hall"]
    rereading = Rereader(
        Bench(loads),
        lambda: document(6, file="b.onnx", sources=sources, power={"lanes": 2}),
    )
    status, code, message = await rereading.ask()
    assert (status, code) == ("degraded", Code.APPLY)
    assert message is not None
    assert message.endswith(
        "takes effect with a restart: policy.sources.door, policy.sources.hall, policy.power"
    )
    assert rereading.bench.serving() == "2"
    assert rereading.applied == []


@pytest.mark.parametrize(("version", "code"), [(4, Code.STALE), (5, Code.CONFLICT)])
async def test_document_that_is_no_newer_is_refused(version: int, code: Code) -> None:
    rereading = Rereader(Bench(loads), lambda: document(version, file="b.onnx"))
    assert (await rereading.ask())[:2] == ("degraded", code)
    assert rereading.bench.serving() == "1"


async def test_same_document_again_takes_in_a_file_that_was_replaced() -> None:
    bench = Bench(loads)
    rereading = Rereader(bench, lambda: document(5))
    assert (await rereading.ask())[0] == "ok"
    assert bench.serving() == "1"
    bench.digests["a.onnx"] = "other"
    assert (await rereading.ask())[0] == "ok"
    assert bench.serving() == "2"


async def test_going_back_to_what_serves_ends_the_trouble_of_a_refused_model() -> None:
    documents = iter([document(6, file="bad.onnx"), document(7)])
    rereading = Rereader(Bench(loads), lambda: next(documents))
    assert (await rereading.ask())[0] == "degraded"
    assert (await rereading.ask())[0] == "ok"
    told = [one for one in rereading.bench.told if one[0] == "model-people"]
    assert [one[1] for one in told[-2:]] == ["degraded", "ok"]


async def test_changed_shadow_model_is_told_to_need_a_restart_until_it_is_as_before() -> None:
    sources = {**POLICY["sources"], "door": {**POLICY["sources"]["door"], "shadow": {"model": "spare"}}}

    def shadowed(version: int, file: str) -> PolicyDocument:
        models = {**POLICY["models"], "spare": {"file": file}}
        return PolicyDocument.model_validate(
            {"version": version, "policy": {"models": models, "sources": sources}}
        )

    bench = Bench(loads, policy=shadowed(5, "spare.onnx").policy)
    documents = iter([shadowed(6, "b.onnx"), shadowed(6, "b.onnx"), shadowed(7, "spare.onnx")])
    rereading = Rereader(bench, lambda: next(documents), begun=shadowed(5, "spare.onnx"))
    for _ in range(2):
        status, code, message = await rereading.ask()
        assert (status, code) == ("degraded", Code.APPLY)
        assert message is not None
        assert message.endswith("takes effect with a restart: policy.models.spare as a shadow")
    assert (await rereading.ask())[0] == "ok"
    assert rereading.applied == [7]


async def test_document_with_a_mistake_leaves_all_as_it_was() -> None:
    def read() -> PolicyDocument:
        raise ConfigError("policy.yaml:3: there is no key", code=Code.SCHEMA)

    rereading = Rereader(Bench(loads), read)
    status, code, message = await rereading.ask()
    assert (status, code) == ("degraded", Code.SCHEMA)
    assert message == "version 5 stays in force: policy.yaml:3: there is no key"


async def test_model_of_windows_is_swapped_as_one_of_pictures_is() -> None:
    scheduler = Scheduler(clock=FakeClock())
    old, new = FakeAnomalyModel(), FakeAnomalyModel()
    scheduler.add_sensor(SourceName("motor"), model=old, deadline_s=1.0)
    policy = Policy.model_validate(
        {
            "models": {"motor-anomaly": {"file": "a.onnx"}},
            "sources": {"motor": {"kind": "vibration", "model": "motor-anomaly"}},
        }
    )
    fitted: list[SourceName] = []
    swap = ModelSwap(
        scheduler=scheduler,
        models={ModelName("motor-anomaly"): admitted(old)},
        policy=policy,
        load=lambda _name, _stanza, _may: admitted(new),
        digest=lambda stanza: stanza.file,
        fits=lambda _old, _new, source: fitted.append(source),
        give_back=lambda: None,
        on_condition=lambda *_told: None,
        on_swapped=lambda: None,
    )
    del old
    assert await swap.swap(ModelName("motor-anomaly"), stanza())
    assert fitted == [SourceName("motor")]
    assert scheduler._lines.sensors[SourceName("motor")].model is new
