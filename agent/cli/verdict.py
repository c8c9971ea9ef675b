"""What there is to say of a node's settings and policy, before it runs by them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.adapters.mqtt import TlsFiles
from agent.adapters.mqtt.credentials import read_credentials
from agent.adapters.system.limits import read_limits
from agent.cli.model_verdict import doubts_of_models, problems_of_models
from agent.cli.rule_verdict import problems_of_rules
from agent.contract.policy import PolicyDocument
from agent.contract.problems import Problem
from agent.domain.errors import ConfigError
from agent.serving.memory_plan import MemoryPlan, cameras_mb, needs_of, plan_memory
from agent.settings import InvalidConfigError, Settings, load_policy, load_settings
from agent.settings.advice import advice_on_policy, advice_on_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The node could run by `settings` and `document` if there are no `problems`."""

    settings: Settings | None
    document: PolicyDocument | None
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    memory: MemoryPlan | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": not self.problems,
            "problems": [
                {
                    "file": each.file,
                    "line": each.line,
                    "path": each.dotted,
                    "pointer": each.pointer,
                    "code": each.code,
                    "message": each.message,
                    "hint": each.hint,
                }
                for each in self.problems
            ],
            "warnings": self.warnings,
            "memory": asdict(self.memory) if self.memory else None,
            "settings": self.settings.model_dump(mode="json") if self.settings else None,
            "policy": self.document.model_dump(mode="json") if self.document else None,
        }

    def as_text(self) -> Iterator[str]:
        """Lines for a person: what is wrong, or what would run, and what is probably not meant."""
        if self.settings and self.document and not self.problems:
            yield from _summary(self.settings, self.document)
            if self.memory:
                yield f"memory   {self.memory}"
        yield from map(str, self.problems)
        for warning in self.warnings:
            yield f"warning: {warning}"
        if self.problems:
            yield "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"


def judge(settings_file: Path, policy_file: Path | None, *, look_at_files: bool) -> Verdict:
    """Read both, and tell everything that is wrong. `policy_file` None: the one that the settings name."""
    settings, problems = _settings(settings_file, look_at_files=look_at_files)
    document = None
    if chosen := policy_file or (settings.policy_file if settings else None):
        try:
            document = load_policy(chosen, settings, look_at_files=look_at_files)
        except InvalidConfigError as error:
            problems += error.problems
    warnings: list[str] = []
    if settings:
        warnings += advice_on_settings(settings)
        warnings += (
            advice_on_policy(document.policy, settings, look_at_files=look_at_files) if document else ()
        )
    if document and (read_from := policy_file or (settings.policy_file if settings else None)):
        problems += problems_of_rules(document.policy, read_from)
    memory = None
    if settings and document and look_at_files and not problems:
        policy = document.policy
        problems += problems_of_models(policy, settings, file=policy_file or settings.policy_file)
        warnings += doubts_of_models(policy, settings)
        try:
            memory = _memory(settings, document)
        except ConfigError as error:
            problems.append(
                Problem(
                    message=error.message,
                    path=("policy", error.path),
                    file=str(policy_file or settings.policy_file),
                    code=error.code,
                )
            )
    return Verdict(
        settings=settings,
        document=document,
        problems=tuple(problems),
        warnings=tuple(warnings),
        memory=memory,
    )


def _memory(settings: Settings, document: PolicyDocument) -> MemoryPlan:
    """What the policy needs of this machine. Raises: ConfigError (more than it has)."""
    from agent.serving.lane_plan import plan_lanes

    policy = document.policy
    plan = plan_lanes(policy, settings)
    return plan_memory(
        needs_of(policy, settings),
        beside_mb=cameras_mb(policy),
        lanes=plan.lanes,
        arena=plan.arena,
        limits=read_limits(),
    )


def _settings(file: Path, *, look_at_files: bool) -> tuple[Settings | None, list[Problem]]:
    """Settings and what is wrong: where only files are, the policy can still be held against them."""
    try:
        settings = load_settings(file, look_at_files=look_at_files)
    except InvalidConfigError as error:
        problems = list(error.problems)
        try:
            return load_settings(file, look_at_files=False), problems
        except InvalidConfigError:
            return None, problems
    return settings, list(_certificates(settings, file)) if look_at_files else []


def _certificates(settings: Settings, file: Path) -> Iterator[Problem]:
    """What the files of the TLS connection have wrong, apart from being there."""
    broker = settings.broker
    if not broker.tls:
        return
    try:
        read_credentials(TlsFiles(ca=broker.ca_file, certificate=broker.cert_file, key=broker.key_file))
    except ConfigError as error:
        yield Problem(message=error.message, path=("broker",), file=str(file), code=error.code)


def _summary(settings: Settings, document: PolicyDocument) -> Iterator[str]:
    broker, policy = settings.broker, document.policy
    yield f"node     {settings.node} of site {settings.site}"
    yield f"broker   {'mqtts' if broker.tls else 'mqtt'}://{broker.host}:{broker.port}"
    yield f"outbox   {settings.outbox_file}"
    yield f"policy   version {document.version} by {document.issuer}"
    for name, model in policy.models.items():
        yield f"model    {name}: {model.file} on {model.provider}"
    for name, source in policy.sources.items():
        watched = f"model {source.model}" if source.model else "no model"
        yield f"source   {name}: {source.kind}, {watched if source.enabled else 'disabled'}"
    for name, rule in policy.rules.items():
        yield f"rule     {name}: {rule.severity} when {rule.when}"
