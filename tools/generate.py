"""Write what is derived from the models: JSON Schemas, references, the role's settings.

usage: python tools/generate.py [--check]

With --check nothing is written; exit status 1 lists the files that differ from what the models say.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from agent.contract.model_card import ModelCard
from agent.contract.policy import PolicyDocument
from agent.contract.schema_walk import Schema, resolve
from agent.contract.schemas import schema_of, wire_schemas
from agent.contract.sources import Camera, CameraPart, Sensor, SensorPart, SourcePart
from agent.contract.words import wanted
from agent.settings.model import Settings
from tools.role_settings import SPECS, with_settings

REPOSITORY: Final = Path(__file__).resolve().parent.parent

_WORDS: Final[dict[type[SourcePart], str]] = {CameraPart: "all cameras", SensorPart: "all sensors"}
"""What sources share is told once."""

_BASES: Final[dict[str, type[SourcePart]]] = {
    source.__name__: base
    for base in _WORDS
    for source in (*get_args(Camera), *get_args(Sensor))
    if issubclass(source, base)
}

_SETTINGS_HEAD: Final = """\
# Settings

`agent.toml`: who a node is, which broker it talks to, and what a policy may use of its machine. Every key
can come from the environment instead, levels parted by two underscores: `NANOFLEET_BROKER__HOST`; lists
with commas or as JSON. The environment wins. A relative path is meant from the folder of the file.
A commented example is [config/agent.example.toml](../../config/agent.example.toml); the schema is
[config/schemas/settings.json](../../config/schemas/settings.json).

Made from the models by `make generate`.
"""

_POLICY_HEAD: Final = """\
# Policy

`policy.yaml`, and the document that may replace it at run time: what a node watches, and how. Names of
models, sources, rules and zones are lower-case letters, digits and `-`, at most 32. A commented example is
[config/policy.example.yaml](../../config/policy.example.yaml); the schema is
[config/schemas/policy.json](../../config/schemas/policy.json).

Limits: 64 KiB, 16 levels, no key twice, no unknown keys, numbers finite. In YAML plain words are read as
YAML 1.2 has it: `yes` and `no` are text.

Made from the models by `make generate`.
"""

_MODEL_HEAD: Final = """\
# Model package

`model.yaml` in a model package: what the model is, and what its file does not say or says wrongly. How a
package is made and used: [model packages](../howto/swap-a-model.md); the schema is
[config/schemas/model.json](../../config/schemas/model.json).

Made from the models by `make generate`.
"""


def generated() -> dict[Path, str]:
    """Every derived file, by its path in the repository, and what has to be in it."""
    schemas = {**wire_schemas(), "settings": schema_of(Settings), "model": schema_of(ModelCard)}
    files = {
        Path("config/schemas") / f"{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }
    files[Path("docs/reference/settings.md")] = "\n".join([_SETTINGS_HEAD, *_reference(schema_of(Settings))])
    files[Path("docs/reference/policy.md")] = "\n".join(
        [_POLICY_HEAD, *_reference(schema_of(PolicyDocument))]
    )
    files[Path("docs/reference/model.md")] = "\n".join([_MODEL_HEAD, *_reference(schema_of(ModelCard))])
    specs = (REPOSITORY / SPECS).read_text(encoding="utf-8")
    files[SPECS] = with_settings(specs, schema_of(Settings))
    return files


def stale(root: Path) -> list[Path]:
    """The derived files below `root` that are missing, differ, or are derived from nothing any more."""
    wanted_files = generated()
    differing = [path for path, text in wanted_files.items() if not _holds(root / path, text)]
    left_over = [
        path.relative_to(root)
        for path in sorted((root / "config/schemas").glob("*.json"))
        if path.relative_to(root) not in wanted_files
    ]
    return differing + left_over


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text(encoding="utf-8") == text


def _reference(root: Schema) -> Iterator[str]:
    """One table for each object, the outer ones first; each kind of object once."""
    waiting: list[tuple[str, Schema]] = [("", resolve(root, root))]
    told: set[str] = set()
    while waiting:
        where, schema = waiting.pop(0)
        if schema["title"] in told:
            continue
        told.add(schema["title"])
        yield from _section(where, schema, root)
        waiting = [*_below(where, schema, root), *waiting]


def _section(where: str, schema: Schema, root: Schema) -> Iterator[str]:
    yield f"## {where or 'Top level'}"
    yield ""
    base = _BASES.get(schema["title"])
    if where:
        yield schema["description"] + (f" Also: what {_WORDS[base]} have." if base else "")
        yield ""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    required = schema.get("required", ())
    inherited = base.model_fields if base else ()
    for key, inner in schema["properties"].items():
        if key not in inherited:
            spelled = resolve(inner, root)
            default = "**required**" if key in required else _default(spelled)
            cells = (f"`{key}`", wanted(spelled, root), default, spelled.get("description", ""))
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _default(schema: Schema) -> str:
    value = schema.get("default")
    if value is None or isinstance(value, Mapping):
        return "none"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _below(where: str, schema: Schema, root: Schema) -> Iterator[tuple[str, Schema]]:
    """The objects that an object holds, with the path that leads there."""
    outer = where.partition(":")[0].partition(",")[0]
    for key, inner in schema["properties"].items():
        spelled = resolve(inner, root)
        path = f"{outer}.{key}".removeprefix(".")
        if "properties" in spelled:
            yield path, spelled
        for named in spelled.get("patternProperties", {}).values():
            of_each = resolve(named, root)
            if "properties" in of_each or "discriminator" in of_each:
                yield from _named(f"{path}.NAME", of_each, root)


def _named(path: str, schema: Schema, root: Schema) -> Iterator[tuple[str, Schema]]:
    if "discriminator" not in schema:
        yield path, schema
        return
    for base, words in _WORDS.items():
        yield f"{path}: {words}", schema_of(base)
    for tag, reference in schema["discriminator"]["mapping"].items():
        yield f"{path}, kind {tag}", resolve({"$ref": reference}, root)


def main(arguments: list[str]) -> int:
    """Write or check. Returns the exit status."""
    differing = stale(REPOSITORY)
    if "--check" in arguments:
        print("\n".join(f"{path}: not what the models say; make generate" for path in differing))
        return 1 if differing else 0
    files: dict[Path, Any] = generated()
    for path in differing:
        file = REPOSITORY / path
        if path in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(files[path], encoding="utf-8")
        else:
            file.unlink()
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
