"""Measure what signed control costs a node: the time of one document on the event loop, and memory.

A document is verified as the agent does it, small and as large as the wire allows. Memory is the peak (VmHWM)
of a process that has loaded what an agent loads, with a verifier that trusts a key and with one that trusts
none, by turns.
"""

import json
import subprocess
import sys
import time
from statistics import median, quantiles
from typing import Final

import typer
from joserfc.jwk import OKPKey

from agent.adapters.signing import JwsVerifier, TrustedKey
from agent.adapters.system.clock import SystemClock
from agent.contract.documents import MAX_BYTES
from agent.domain.stamp import Stamp, rfc3339
from agent.fleet.signing import sign
from benchmarks.environment import OtherLoad, describe_machine
from benchmarks.plain import JsonFile, Quick, print_figures, write_figures

_DOCUMENTS: Final = 2_000
_ROUNDS: Final = 7
_ZONES: Final = {"small": 4, "usual": 60, "largest": 520}

_PROBE: Final = """
import sys
import agent.launch
from agent.adapters.signing import JwsVerifier, TrustedKey
from agent.adapters.system.clock import SystemClock
from agent.adapters.system.memory import peak_memory_mb

keys = [TrustedKey("ops", bytes.fromhex(sys.argv[1]), frozenset({"policy"}), None)] if sys.argv[1] else []
verifier = JwsVerifier(site="plant", node="n", keys=keys, require_signed=bool(keys),
                       max_age_s={"policy": 60, "command": 60}, clock=SystemClock())
loaded = any(name.startswith(("joserfc", "cryptography")) for name in sys.modules)
assert loaded == bool(keys), "the library is loaded where it is of no use, or not where it is"
print(peak_memory_mb())
"""


class _SyncedClock(SystemClock):
    """The system's, taken for right: containers often cannot tell."""

    def synced(self) -> bool:
        return True


def main(
    json_file: JsonFile = None,
    quick: Quick = False,
) -> None:
    """Measure, print a table to stdout, and write the figures where --json says."""
    environment = describe_machine()
    others = OtherLoad()
    documents, rounds = (50, 2) if quick else (_DOCUMENTS, _ROUNDS)
    key = OKPKey.generate_key("Ed25519")
    figures: dict[str, float] = {}
    for size, zones in _ZONES.items():
        figures |= _times(size, key, zones=zones, documents=documents)
    figures |= _memory(_public(key), rounds=rounds)
    print_figures(figures)
    environment |= {"quick": quick, "others_cores": others.cores()}
    write_figures(json_file, figures, environment)


def _times(size: str, key: OKPKey, *, zones: int, documents: int) -> dict[str, float]:
    verifier = JwsVerifier(
        site="plant",
        node="nano-42",
        keys=[TrustedKey("ops", _public(key), frozenset({"policy"}), frozenset({"ops"}))],
        require_signed=True,
        max_age_s={"policy": 3_600, "command": 600},
        clock=_SyncedClock(),
    )
    body = _policy(zones, now=SystemClock().now())
    jws = sign(body, kind="policy", key=key, key_id="ops", audience=["plant/nano-42"]).encode()
    took_ms: list[float] = []
    worked_ms: list[float] = []
    for _ in range(documents):
        began_ns, worked_ns = time.perf_counter_ns(), time.thread_time_ns()
        verifier.open(jws, kind="policy")
        worked_ms.append((time.thread_time_ns() - worked_ns) / 1e6)
        took_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    return {
        f"{size}_bytes": len(body),
        f"{size}_verify_cpu_p50_ms": round(median(worked_ms), 4),
        f"{size}_verify_p50_ms": round(median(took_ms), 4),
        f"{size}_verify_p99_ms": round(quantiles(took_ms, n=100)[98], 4),
    }


def _memory(public_key: bytes, *, rounds: int) -> dict[str, float]:
    peaks: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * rounds):
        trusts = bool(number % 2)
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, public_key.hex() if trusts else ""],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        peaks[trusts].append(float(done.stdout))
    without, with_keys = median(peaks[False]), median(peaks[True])
    return {
        "peak_mb_without_keys": round(without, 1),
        "peak_mb_with_keys": round(with_keys, 1),
        "signed_mb": round(with_keys - without, 1),
    }


def _policy(zones: int, *, now: Stamp) -> bytes:
    """A policy document with so many zones, which is what makes one large."""
    corners = [[0.1234567, 0.2345678], [0.9876543, 0.2345678], [0.9876543, 0.8765432], [0.1234567, 0.8765432]]
    body = json.dumps(
        {
            "v": 1,
            "version": now.wall_ns // 1_000_000,
            "issued_at": rfc3339(now.wall_ns),
            "expires_at": rfc3339(now.wall_ns + 600_000_000_000),
            "issuer": "ops",
            "policy": {"zones": {f"zone-{number}": {"polygon": corners} for number in range(zones)}},
        }
    ).encode()
    if len(body) > MAX_BYTES:
        raise ValueError(f"a policy of {len(body)} bytes is no policy")
    return body


def _public(key: OKPKey) -> bytes:
    return key.public_key.public_bytes_raw()


if __name__ == "__main__":
    typer.run(main)
