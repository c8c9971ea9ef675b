from __future__ import annotations

import threading
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from structlog.testing import capture_logs

from agent.adapters.metrics.prometheus import MOST_SERIES, PrometheusMetrics
from agent.adapters.metrics.sketch import RELATIVE_ERROR, Sketch
from agent.adapters.metrics.table import STAGE_BUCKETS_S, Metric
from agent.domain.latency import STAGES
from agent.ports import Metrics

TABLE: Final = (
    Metric("drops_total", "count", "Dropped.", ("source", "cause")),
    Metric("rows", "gauge", "Waiting."),
    Metric("level", "gauge", "Filled.", ("tank",)),
    Metric("stage_seconds", "observe", "Taken.", ("stage",), STAGE_BUCKETS_S),
)


def metrics(*, strict: bool = True) -> PrometheusMetrics:
    return PrometheusMetrics(version="1.2.3", table=TABLE, strict=strict)


def samples(made: PrometheusMetrics) -> dict[str, float]:
    """The page's samples as a Prometheus server would read them, by ``name{label=value}``."""
    body, content_type = made.page("")
    assert content_type.startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
    }


def test_what_was_told_stands_on_the_page() -> None:
    made = metrics()
    port: Metrics = made
    port.count("drops_total", source="door", cause="stale")
    port.count("drops_total", 4, cause="stale", source="door")
    port.count("drops_total", source="door", cause="replaced")
    port.gauge("rows", 17)
    port.gauge("rows", 12)
    port.observe("stage_seconds", 0.06, stage="inference")
    port.observe("stage_seconds", -1e-9, stage="inference")
    found = samples(made)
    assert found["nanofleet_drops_total cause=stale source=door"] == 5
    assert found["nanofleet_drops_total cause=replaced source=door"] == 1
    assert found["nanofleet_rows"] == 12
    assert found["nanofleet_stage_seconds_count stage=inference"] == 2
    assert found["nanofleet_stage_seconds_sum stage=inference"] == 0.06
    assert found["nanofleet_stage_seconds_bucket le=0.05 stage=inference"] == 1
    assert found["nanofleet_stage_seconds_bucket le=0.1 stage=inference"] == 2
    assert found["nanofleet_build_info version=1.2.3"] == 1


def test_the_page_tells_of_the_process() -> None:
    found = samples(metrics())
    assert found["process_resident_memory_bytes"] > 5e6
    assert found["process_open_fds"] >= 3


def test_the_page_is_openmetrics_where_asked_for() -> None:
    made = metrics()
    made.gauge("rows", 3)
    body, content_type = made.page("application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = list(parse_openmetrics(body.decode()))  # type: ignore[no-untyped-call]
    assert "nanofleet_rows" in {family.name for family in families}


def test_two_sets_of_metrics_know_nothing_of_each_other() -> None:
    one, other = metrics(), metrics()
    one.gauge("rows", 3)
    other.gauge("rows", 0)
    assert samples(one)["nanofleet_rows"] == 3
    assert samples(other)["nanofleet_rows"] == 0


def test_a_gauge_is_absent_until_it_is_told() -> None:
    assert "nanofleet_rows" not in samples(metrics())


def test_what_is_forgotten_is_told_no_more_until_it_comes_back() -> None:
    made = metrics()
    made.forget("level", tank="north")
    for tank in ("north", "south"):
        made.gauge("level", 0.5, tank=tank)
    made.forget("level", tank="north")
    assert {key for key in samples(made) if "level" in key} == {"nanofleet_level tank=south"}
    made.gauge("level", 0.7, tank="north")
    assert samples(made)["nanofleet_level tank=north"] == 0.7


@pytest.mark.parametrize("name", ["absent", "drops_total", "rows"])
def test_only_a_gauge_with_its_labels_is_forgotten(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        metrics().forget(name)


@pytest.mark.parametrize(
    ("kind", "name", "value", "labels"),
    [
        ("count", "absent_total", 1.0, {}),
        ("gauge", "drops_total", 1.0, {"source": "door", "cause": "stale"}),
        ("count", "drops_total", 1.0, {"source": "door"}),
        ("count", "drops_total", 1.0, {"source": "door", "cause": "stale", "extra": "x"}),
        ("count", "drops_total", -1.0, {"source": "door", "cause": "stale"}),
        ("count", "drops_total", float("nan"), {"source": "door", "cause": "stale"}),
        ("observe", "stage_seconds", float("inf"), {"stage": "ack"}),
    ],
)
def test_a_mistake_is_logged_once_and_raises_only_where_strict(
    kind: str, name: str, value: float, labels: dict[str, str]
) -> None:
    lenient = metrics(strict=False)
    with capture_logs() as logs:
        for _ in range(3):
            getattr(lenient, kind)(name, value, **labels)
    assert [(entry["event"], entry["metric"]) for entry in logs] == [("metrics.use_wrong", name)]
    with pytest.raises(ValueError, match=name):
        getattr(metrics(), kind)(name, value, **labels)


def test_a_label_with_unbounded_values_cannot_fill_the_memory() -> None:
    made = metrics(strict=False)
    with capture_logs() as logs:
        for number in range(MOST_SERIES + 500):
            made.count("drops_total", source=f"s{number}", cause="stale")
        made.count("drops_total", source="s0", cause="stale")
    kept = [key for key in samples(made) if key.startswith("nanofleet_drops_total ")]
    assert len(kept) == MOST_SERIES
    assert samples(made)["nanofleet_drops_total cause=stale source=s0"] == 2
    assert len(logs) == 1


def test_every_thread_may_count_and_observe() -> None:
    made = metrics()

    def work() -> None:
        for _ in range(2000):
            made.count("drops_total", source="door", cause="stale")
            made.observe("stage_seconds", 0.01, stage="ack")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    percentiles = made.percentiles("stage_seconds", stage="ack")
    assert percentiles is not None
    assert percentiles.count == 8000
    assert samples(made)["nanofleet_drops_total cause=stale source=door"] == 8000


def test_percentiles_sum_over_labels_that_are_left_out() -> None:
    made = metrics()
    for stage in STAGES:
        made.observe("stage_seconds", 0.002, stage=stage)
    made.observe("stage_seconds", 4.0, stage="ack")
    everything, ack = made.percentiles("stage_seconds"), made.percentiles("stage_seconds", stage="ack")
    assert everything is not None
    assert ack is not None
    assert (everything.count, ack.count) == (len(STAGES) + 1, 2)
    assert everything.p50_s == pytest.approx(0.002, rel=RELATIVE_ERROR)
    assert everything.max_s == ack.max_s == 4.0


def test_percentiles_of_nothing_are_none() -> None:
    made = metrics()
    made.count("drops_total", source="door", cause="stale")
    assert made.percentiles("stage_seconds") is None
    assert made.percentiles("drops_total") is None
    assert made.percentiles("absent") is None


@given(
    st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=400),
    st.integers(min_value=1, max_value=3),
)
def test_sketched_percentiles_keep_their_relative_error_also_when_merged(
    seconds: list[float], parts: int
) -> None:
    sketches = [Sketch() for _ in range(parts)]
    for number, value in enumerate(seconds):
        sketches[number % parts].add(value)
    found = Sketch.merged(sketches).percentiles()
    assert found is not None
    exact = sorted(seconds)
    for q, estimate in ((0.50, found.p50_s), (0.95, found.p95_s), (0.99, found.p99_s)):
        true = exact[int(q * (len(exact) - 1))]
        assert abs(estimate - true) <= true * RELATIVE_ERROR * (1 + 1e-9)
    assert (found.count, found.max_s) == (len(exact), exact[-1])


def test_a_sketch_is_bounded_whatever_goes_in() -> None:
    sketch = Sketch()
    sketch.add(0.0)
    sketch.add(1e300)
    value = 1e-9
    while value < 1e9:
        sketch.add(value)
        value *= 1.005
    assert len(sketch.bins) <= 1383
