"""What one run of the agent did, as it counted it: for `run --report`, the demo and the benchmarks."""

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class SourceFlow(_Part):
    """One source's frames or windows; `offered` = `inferred` + the sum of `dropped` + `held`."""

    offered: int
    inferred: int
    held: int
    dropped: dict[str, int]


class MessageFlow(_Part):
    """Messages of this outbox; `produced` = `acknowledged` + `waiting` + `lost`."""

    produced: int
    acknowledged: int
    waiting: int
    lost: int


class Percentiles(_Part):
    """Of durations in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class RunReport(_Part):
    """The whole. `peak_memory_mb` is the process's VmHWM; `loop_lag_max_ms` its loop's longest block."""

    version: str
    seconds: float
    lanes: int
    sources: dict[str, SourceFlow]
    messages: MessageFlow
    sessions: int
    latency_ms: dict[str, Percentiles]
    loop_lag_p99_ms: float
    loop_lag_max_ms: float
    peak_memory_mb: float
