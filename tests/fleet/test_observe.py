"""The role `observe`: alerts and dashboard ask for what the agent serves, and fire when they should."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final, Self

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.metrics.table import TABLE
from tests.brokers import Mosquitto, free_port
from tests.e2e.agent_process import AgentProcess
from tests.faults.asking import ask
from tests.fleet.promql import asked_by
from tests.polling import until_blocking
from tests.programs import find_program

REPOSITORY: Final = Path(__file__).resolve().parents[2]
ROLE: Final = REPOSITORY / "deploy/ansible/roles/observe"
RULES: Final = ROLE / "files/nanofleet.rules.yml"
DASHBOARD: Final = ROLE / "files/nanofleet.dashboard.json"
RULES_TEST: Final = Path(__file__).with_name("nanofleet.rules.test.yml")

OF_TARGET: Final = frozenset({"job", "site", "node", "instance"})
"""Labels that scraping adds."""

OF_PROMETHEUS: Final = {
    "up": frozenset[str](),
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
}
"""What it knows by itself."""


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[tuple[str, str]]:
    """Where, and what."""
    return [
        *((rule["alert"], rule["expr"]) for rule in rules()),
        *(
            (panel["title"], target["expr"])
            for panel in panels()
            if panel["type"] != "row"
            for target in panel["targets"]
        ),
    ]


def labels_on(page: str) -> dict[str, frozenset[str]]:
    """Each sample's name on a page of metrics, with its labels."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found[sample.name] |= sample.labels.keys()
    return {name: frozenset(labels) for name, labels in found.items()}


@pytest.fixture(scope="module")
def served() -> dict[str, frozenset[str]]:
    """What the page of an agent has when everything on it was told once."""
    metrics = PrometheusMetrics(version="1.2.3", strict=True)
    for metric in TABLE:
        tell = {"count": metrics.count, "gauge": metrics.gauge, "observe": metrics.observe}[metric.kind]
        tell(metric.name, 1, **dict.fromkeys(metric.labels, "x"))
    return labels_on(metrics.page("")[0].decode())


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_only_what_the_agent_serves_is_asked_for(
    served: dict[str, frozenset[str]], where: str, expression: str
) -> None:
    known = served | OF_PROMETHEUS
    asked = asked_by(expression)
    assert asked.metrics, f"{where}: asks for nothing"
    assert [name for name, _ in asked.metrics if name not in known] == []
    for name, chosen_by in asked.metrics:
        assert chosen_by <= known[name] | OF_TARGET, f"{where}: {name} has no such label"
    labels = frozenset[str]().union(*(known[name] for name, _ in asked.metrics))
    assert asked.grouped_by <= labels | OF_TARGET, f"{where}: groups by what is not there"


def test_an_alert_tells_of_labels_that_its_expression_leaves(served: dict[str, frozenset[str]]) -> None:
    known = served | OF_PROMETHEUS
    for rule in rules():
        asked = asked_by(rule["expr"])
        left = asked.grouped_by or OF_TARGET.union(*(known[name] for name, _ in asked.metrics))
        told = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert told <= left, rule["alert"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_every_alert_is_tried_firing_and_quiet() -> None:
    fires: defaultdict[str, set[bool]] = defaultdict(set)
    for case in yaml.safe_load(RULES_TEST.read_text())["tests"]:
        for check in case["promql_expr_test"]:
            (alert,) = re.findall(r'alertname="(\w+)"', check["expr"])
            fires[alert].add("exp_samples" in check)
    assert fires == {rule["alert"]: {True, False} for rule in rules()}


def test_every_alert_is_explained_with_its_severity() -> None:
    table = (REPOSITORY / "docs/howto/observe-a-fleet.md").read_text()
    rows = re.findall(r"(?m)^\| (Nanofleet\w+) \| (\w+) \|", table)
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]


@pytest.mark.prometheus
@pytest.mark.parametrize(("what", "file"), [("check", RULES), ("test", RULES_TEST)])
def test_promtool_agrees(what: str, file: Path) -> None:
    done = subprocess.run(
        ["promtool", what, "rules", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert (dashboard["uid"], dashboard["id"], dashboard["title"]) == ("nanofleet-fleet", None, "nanofleet")
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == [
        "datasource",
        "site",
        "node",
    ]
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_default_of_the_role_is_explained() -> None:
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]
    explained = {name: option for spec in specs.values() for name, option in spec["options"].items()}
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    assert defaults.keys() <= explained.keys()
    assert all(option["description"] for option in explained.values())
    for name, option in explained.items():
        if "default" in option:
            assert option["default"] == defaults[name], name


# --- a real Prometheus, a real agent -----------------------------------------------------------------

POLICY: Final = """\
v: 1
version: 7
policy:
  sources:
    late: {kind: file, path: late.avi}
    machine: {kind: system}
  publish: {heartbeat_s: 1}
"""


@contextmanager
def reached_over_tcp(agent: AgentProcess) -> Iterator[int]:
    """What nanofleet-metrics.socket does on a node: a port, by which the agent's socket is reached."""

    class Pass(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = ask(agent, self.path).encode()
            self.send_response(200 if page else 502)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pass) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


class Prometheus:
    """Scrapes one node every second, by the role's rules; but what holds fires at once."""

    def __init__(self, folder: Path, *, target: int) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "rules.yml").write_text(re.sub(r"(?m)^( +for:) \w+$", r"\1 0s", RULES.read_text()))
        node = {"targets": [f"127.0.0.1:{target}"], "labels": {"site": "plant", "node": "nano-1"}}
        relabel = {"source_labels": ["site", "node"], "separator": "/", "target_label": "instance"}
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "nanofleet", "static_configs": [node], "relabel_configs": [relabel]}
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    find_program("prometheus") or "prometheus",
                    f"--config.file={self._folder}/prometheus.yml",
                    f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            until_blocking(self._is_ready, within_s=30, every_s=0.1)
        except AssertionError as error:
            self.__exit__()
            raise AssertionError((self._folder / "log").read_text()[-2000:]) from error
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=20)

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self._port}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def firing(self) -> dict[str, list[dict[str, Any]]]:
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for alert in self.ask("/api/v1/alerts")["alerts"]:
            if alert["state"] == "firing":
                found[alert["labels"]["alertname"]].append(alert)
        return found

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=1) as answer:
                return int(answer.status) == 200
        except OSError:
            return False


@pytest.mark.broker
@pytest.mark.prometheus
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_real_prometheus_scrapes_a_real_agent_and_raises_alarms(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    agent = AgentProcess(
        tmp_path / "node", identity=broker.authority.issue("nano-1"), port=broker.port, policy=POLICY
    )
    with (
        broker,
        agent.start(),
        reached_over_tcp(agent) as port,
        Prometheus(tmp_path / "prometheus", target=port) as prometheus,
    ):

        def has(expression: str) -> bool:
            return bool(prometheus.ask("/api/v1/query", query=expression)["result"])

        def unwell() -> set[str]:
            return {alert["annotations"]["summary"] for alert in prometheus.firing()["NanofleetPartUnwell"]}

        said = "plant/nano-1: late waits, is degraded or has failed"
        until_blocking(lambda: said in unwell(), within_s=60, every_s=0.2)
        until_blocking(lambda: has("nanofleet_link_connected == 1"), within_s=30, every_s=0.2)
        until_blocking(lambda: has("nanofleet_policy_version == 7"), within_s=30, every_s=0.2)
        for told in (
            "nanofleet_outbox_limit_bytes > nanofleet_outbox_bytes",
            "nanofleet_memory_limit_bytes > nanofleet_memory_left_bytes",
            "nanofleet_certificate_life_left > 0 and nanofleet_certificate_days_left > 0",
            "nanofleet_outbox_oldest_s >= 0",
            "nanofleet_clock_synced",
            'nanofleet_healthy{who="policy"} == 1',
        ):
            until_blocking(partial(has, told), within_s=30, every_s=0.2)
        # What nobody knows yet is not told: it would be an alarm.
        assert not has("nanofleet_outbox_card_life_years == 0")
        assert not any(name in prometheus.firing() for name in ("NanofleetNodeDown", "NanofleetOffline"))
        for title, expression in expressions():
            query = expression.replace("$__rate_interval", "1m").replace("$site", ".*").replace("$node", ".*")
            try:
                prometheus.ask("/api/v1/query", query=query)
            except urllib.error.HTTPError as error:
                pytest.fail(f"{title}: {error.read().decode()}")
        assert {group["file"] for group in prometheus.ask("/api/v1/rules")["groups"]} == {
            f"{tmp_path}/prometheus/rules.yml"
        }
        assert all(
            rule["health"] == "ok"
            for group in prometheus.ask("/api/v1/rules")["groups"]
            for rule in group["rules"]
        )

        assert agent.stop() == 0
        until_blocking(lambda: "NanofleetNodeDown" in prometheus.firing(), within_s=30, every_s=0.2)
        (down,) = prometheus.firing()["NanofleetNodeDown"]
        assert down["annotations"]["summary"] == "plant/nano-1 is not reached for its metrics"
