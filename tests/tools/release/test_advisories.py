"""What is known against a locked package stops a release, until it is named; and no answer is no clean bill.

Run by the real pip-audit, against a service that stands in for OSV. PyPI itself is asked by nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.advisory_service import JINJA_ADVISORY, AdvisoryService
from tools.release.advisories import audit
from tools.release.locks import Pin

pytestmark = pytest.mark.release

VULNERABLE = Pin(
    "jinja2", "2.10", frozenset(["74c935a1b8bb9a3947c50a54766a969d4846290e1e788ea44c1392163723c3bd"])
)
HARMLESS = Pin("widget", "1.0", frozenset(["0" * 64]))


@pytest.fixture
def service() -> Iterator[AdvisoryService]:
    with AdvisoryService({("jinja2", "2.10"): JINJA_ADVISORY}) as service:
        yield service


def test_audit_is_clean_where_nothing_is_known(service: AdvisoryService) -> None:
    found = audit([HARMLESS], source=service.url, accepted={})
    assert (found.result, found.findings, found.reason) == ("clean", [], None)
    assert service.asked == [("widget", "1.0")]


def test_audit_finds_a_known_vulnerability(service: AdvisoryService) -> None:
    found = audit([HARMLESS, VULNERABLE], source=service.url, accepted={})
    assert found.result == "found"
    [finding] = found.findings
    assert (finding.package, finding.version, finding.id) == ("jinja2", "2.10", "PYSEC-2019-217")
    assert finding.aliases == ["CVE-2019-10906"]
    assert finding.fixed_in == ["2.10.1"]
    assert finding.accepted_because is None


@pytest.mark.parametrize("name", ["CVE-2019-10906", "PYSEC-2019-217", "cve-2019-10906"])
def test_audit_lets_pass_what_is_named(service: AdvisoryService, name: str) -> None:
    found = audit([VULNERABLE], source=service.url, accepted={name: "no template of others is rendered"})
    assert found.result == "accepted"
    assert found.findings[0].accepted_because == "no template of others is rendered"
    assert found.unused == []


def test_audit_is_not_appeased_by_another_name(service: AdvisoryService) -> None:
    found = audit([VULNERABLE], source=service.url, accepted={"CVE-2019-00001": "a slip of the pen"})
    assert found.result == "found"
    assert found.unused == ["CVE-2019-00001"]


def test_audit_is_unknown_where_the_source_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # where nobody listens
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    found = audit([VULNERABLE], source="pypi", accepted={})
    assert found.result == "unknown"
    assert found.reason is not None
    assert "proxy" in found.reason


def test_audit_is_unknown_where_the_source_does_not_know_a_package(tmp_path: Path) -> None:
    # What pip-audit says, with exit status 0, where a mirror of PyPI has no JSON pages.
    program = tmp_path / "pip-audit"
    program.write_text(
        "#!/bin/sh\n"
        """echo '{"dependencies": [{"name": "widget", "skip_reason": "not found on PyPI"}], "fixes": []}'\n"""
    )
    program.chmod(0o755)
    found = audit([HARMLESS], source="pypi", accepted={"CVE-1": "whatever"}, program=program)
    assert found.result == "unknown"
    assert found.reason == "the source says nothing of 1 of 1 packages (widget)"
    assert found.unused == []


def test_audit_is_unknown_where_the_source_refuses() -> None:
    with AdvisoryService({}) as service:
        gone = service.url
    assert audit([HARMLESS], source=gone, accepted={}).result == "unknown"
