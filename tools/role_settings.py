"""What the role `agent` says of the agent's settings: a part of its argument_specs, made from the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from agent.contract.schema_walk import Schema, resolve

SPECS: Final = Path("deploy/ansible/roles/agent/meta/argument_specs.yml")
MARK: Final = "      # From here on made from the agent's settings model by `make generate`.\n"
END: Final = "      # Up to here.\n"

IDENTITY: Final = frozenset({"site", "node", "secrets"})
"""Settings that have variables of their own: nanofleet_site, nanofleet_node, nanofleet_secrets."""

_TYPES: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "dict"}


def with_settings(specs: str, settings: Schema) -> str:
    """`specs` with `nanofleet_settings` made anew between the marks; the rest a person wrote."""
    before, _, rest = specs.partition(MARK)
    _, _, after = rest.partition(END)
    spec = {
        "nanofleet_settings": {
            "type": "dict",
            "default": {},
            "description": [
                "What `agent.toml` says beyond identity and secrets; docs/reference/settings.md.",
                "What is left out has the agent's own default.",
            ],
            "options": _options(settings, settings, without=IDENTITY),
        }
    }
    text = yaml.dump(spec, Dumper=_Indented, sort_keys=False, allow_unicode=True, width=90)
    made = "".join(f"      {line}\n" if line else "\n" for line in text.splitlines())
    return before + MARK + made + END + after


class _Indented(yaml.SafeDumper):
    """Lists stand further in than their key, as the linters want it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def _options(schema: Schema, root: Schema, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    return {
        key: _option(key, resolve(inner, root), root)
        for key, inner in schema["properties"].items()
        if key not in without
    }


def _option(key: str, schema: Schema, root: Schema) -> dict[str, Any]:
    kinds = [schema, *(resolve(each, root) for each in schema.get("anyOf", ()))]
    kind: Mapping[str, Any] = next(each for each in kinds if each.get("type") in {*_TYPES, "array"})
    option: dict[str, Any] = {"description": schema.get("description") or key}
    if kind["type"] == "array":
        option |= {"type": "list", "elements": _TYPES[resolve(kind["items"], root)["type"]]}
    else:
        option["type"] = _TYPES[kind["type"]]
    if "enum" in kind:
        option["choices"] = list(kind["enum"])
    if "properties" in kind:
        # The keys of those who sign are files, which the role brings along: nanofleet_control_keys.
        option["options"] = _options(kind, root, without=frozenset({"keys"}))
    return option
