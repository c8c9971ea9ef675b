"""What the demo shows: the live table, and the summary."""

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from agent.demo.consumer import Consumer, SourceView
from agent.demo.show import Proof

_STAGES_SHOWN = ("capture", "queue", "preprocess", "inference", "postprocess", "outbox", "publish", "ack")


def live_table(consumer: Consumer) -> Group:
    """What arrives, source by source, as the subscriber sees it."""
    state = consumer.retained.get("state", {})
    health = consumer.retained.get("health", {})
    title = Text.assemble(
        ("nanofleet ", "bold"),
        f"node {state.get('state', 'not seen yet')}, session {state.get('session', '-')}, ",
        f"health {health.get('status', '-')}",
    )
    table = Table(expand=False)
    for heading in ("source", "messages", "per s", "latest", "capture → message"):
        table.add_column(heading, justify="right" if heading in {"messages", "per s"} else "left")
    now_s = consumer.now_s()
    for name, view in sorted(consumer.sources.items()):
        table.add_row(name, str(view.messages), f"{view.rate_hz(now_s):.1f}", _latest(view), _latency(view))
    continuity = consumer.continuity
    missing = sum(last - first + 1 for ranges in continuity.missing().values() for first, last in ranges)
    proof = f"received {continuity.received}, duplicates {continuity.duplicates}, missing {missing}"
    return Group(title, table, Text(proof, style="green" if not missing else "red"))


def _latest(view: SourceView) -> str:
    if view.kind == "detections":
        found: dict[str, int] = {}
        for item in view.latest["objects"]:
            found[item["class"]] = found.get(item["class"], 0) + 1
        return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "nothing"
    readings = " ".join(
        f"{reading['name']} {reading['value']:+.2f} {reading['unit']}" for reading in view.latest["readings"]
    )
    scores = view.latest["scores"]
    if not scores:
        return readings
    worst = max(scores, key=lambda score: float(score["score"] / score["threshold"]))
    verdict = "ANOMALY" if worst["score"] > worst["threshold"] else "normal"
    return f"{readings}  {verdict} {worst['score']:.2f} of {worst['threshold']:.2f}"


def _latency(view: SourceView) -> str:
    latency = view.latest.get("latency_ms")
    return f"{latency['total']:.0f} ms" if latency else ""


def summary(proof: Proof) -> dict[str, Any]:
    """The summary as JSON: what the agent counted, and what the subscriber saw of it."""
    return {
        "lost": proof.lost,
        "received": proof.received,
        "duplicates": proof.duplicates,
        "declared_lost": proof.declared_lost,
        "missing": proof.missing,
        "agent": proof.report.model_dump(mode="json"),
    }


def summary_table(proof: Proof) -> Group:
    """The same for people."""
    report = proof.report
    flow = Table(title="frames and windows")
    for heading in ("source", "offered", "inferred", "dropped", "held at the end"):
        flow.add_column(heading, justify="left" if heading in {"source", "dropped"} else "right")
    for name, source in sorted(report.sources.items()):
        dropped = ", ".join(f"{count} {cause}" for cause, count in sorted(source.dropped.items()))
        flow.add_row(name, str(source.offered), str(source.inferred), dropped or "none", str(source.held))
    latency = Table(title="latency in ms, from capture to acknowledgement")
    for heading in ("stage", "p50", "p95", "p99"):
        latency.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in (*_STAGES_SHOWN, "capture_to_ack"):
        if (found := report.latency_ms.get(stage)) is not None:
            name = "capture to ack" if stage == "capture_to_ack" else stage
            latency.add_row(name, f"{found.p50:.1f}", f"{found.p95:.1f}", f"{found.p99:.1f}")
    messages = report.messages
    lines = Text(
        f"published: {messages.produced}  acknowledged: {messages.acknowledged}  "
        f"received by the subscriber: {proof.received} (and {proof.duplicates} duplicates)\n"
        f"peak memory of the agent: {report.peak_memory_mb:.0f} MB, {report.lanes} lane(s), "
        f"longest block of its loop: {report.loop_lag_max_ms:.1f} ms, ran {report.seconds:.0f} s\n"
    )
    verdict = Text(f"lost: {proof.lost}", style="bold green" if not proof.lost else "bold red")
    return Group(flow, latency, lines, verdict)
