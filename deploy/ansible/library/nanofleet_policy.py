"""Ansible module: policies of nodes, held against what they report, and sent to those that differ."""

from __future__ import annotations

import json
from typing import Any

import yaml
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: nanofleet_policy
short_description: Policies of nodes, over the broker
description:
  - Compares each node's policy document with its C(config/reported), by C(nanofleet fleet drift).
  - What differs is sent as C(config/desired), by C(nanofleet fleet set-policy), and waited for. So is what
    is in force already where C(config/desired) holds another document, which the node would meet at every
    connect.
  - What a node could only refuse is not sent to it.
  - In check mode nothing is sent; with C(--diff) the differences are shown either way.
  - Runs on the controller, once for all nodes.
options:
  command:
    description: The controller's C(nanofleet).
    type: path
    required: true
  settings:
    description: TOML with the C([broker]) table that the controller uses.
    type: path
    required: true
  documents:
    description: By C(SITE/NODE), the file with its policy document, YAML or JSON.
    type: dict
    required: true
  timeout:
    description: Longest wait for the nodes' answers, in seconds.
    type: float
    default: 120
author:
  - nanofleet (@nanofleet)
"""

EXAMPLES = r"""
- name: Hold two nodes to their documents
  nanofleet_policy:
    command: /opt/nanofleet/current/bin/nanofleet
    settings: controller.toml
    documents:
      plant/nano-1: policy-nano-1.yaml
      plant/nano-2: policy-nano-2.yaml
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
nodes:
  description: By C(SITE/NODE), whether the node runs its document, and a sentence about it.
  returned: always
  type: dict
  sample: {plant/nano-1: {ok: true, message: version 7 is in force}}
"""


def main() -> None:
    """Compare, send what differs unless in check mode, and tell both."""
    module = AnsibleModule(
        argument_spec={
            "command": {"type": "path", "required": True},
            "settings": {"type": "path", "required": True},
            "documents": {"type": "dict", "required": True},
            "timeout": {"type": "float", "default": 120.0},
        },
        supports_check_mode=True,
    )
    documents: dict[str, str] = module.params["documents"]
    before = _fleet(module, "drift", documents)
    differing = {node: file for node, file in documents.items() if before[node]["drift"]}
    diff = [
        {
            "before_header": f"{node}: config/reported, version {before[node].get('reported_version')}",
            "after_header": f"{node}: inventory, version {before[node].get('wanted_version')}",
            "before": _text(before[node].get("reported")),
            "after": _text(before[node].get("wanted")),
        }
        for node in differing
    ]
    nodes = {node: _standing(told) for node, told in before.items()}
    changed = bool(differing)
    if module.check_mode:
        nodes = {node: {**told, "ok": True} for node, told in nodes.items()}
    else:
        sent = {node: file for node, file in differing.items() if not before[node].get("refusal")}
        answers = (
            _fleet(module, "set-policy", sent, "--timeout", str(module.params["timeout"])) if sent else {}
        )
        nodes |= {node: _answer(told) for node, told in answers.items()}
        changed = any(told["status"] != "refused" for told in answers.values())
    module.exit_json(changed=changed, diff=diff, nodes=nodes)


def _fleet(module: AnsibleModule, action: str, documents: dict[str, str], *options: str) -> dict[str, Any]:
    """What `nanofleet fleet` says of each node; 0 and 1 are its answers, all else ends the task."""
    targets = [f"{node}={file}" for node, file in documents.items()]
    head = [module.params["command"], "fleet", action, "--settings", module.params["settings"], "--json"]
    status, out, error = module.run_command([*head, *options, *targets])
    if status not in {0, 1}:
        module.fail_json(msg=error.strip() or out.strip(), rc=status)
    nodes: dict[str, Any] = {}
    try:
        nodes = json.loads(out)["nodes"]
    except (ValueError, KeyError, TypeError) as problem:
        module.fail_json(
            msg=f"nanofleet fleet {action} gave no JSON ({problem}): {error.strip() or out[:300]}"
        )
    return nodes


def _standing(told: dict[str, Any]) -> dict[str, Any]:
    if not told["drift"]:
        return {"ok": True, "message": f"version {told.get('reported_version')} is in force"}
    if refusal := told.get("refusal"):
        return {"ok": False, "message": f"{refusal['code']} {refusal['message']}"}
    places = [each["path"] for each in told.get("differences", ())]
    if told.get("other_desired"):
        places.append("another document is on config/desired")
    return {"ok": False, "message": f"drift: {', '.join(places) or told.get('status') or 'version'}"}


def _answer(told: dict[str, Any]) -> dict[str, Any]:
    status = told.get("status")
    words = " ".join(str(told[key]) for key in ("code", "path", "message") if told.get(key))
    return {"ok": status == "applied", "message": f"{status}: {words}" if words else str(status)}


def _text(document: Any) -> str:
    return "" if document is None else yaml.safe_dump(document, sort_keys=True, allow_unicode=True)


if __name__ == "__main__":
    main()
