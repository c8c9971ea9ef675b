"""Which graph of a model serves, and in what it computes."""

from collections.abc import Mapping
from pathlib import Path

from agent.adapters.onnx.prepared import PreparedGraphs, Served
from agent.adapters.onnx.preparing import Rewrite
from agent.adapters.onnx.session import OnnxSession, runtime_version
from agent.adapters.onnx.skeleton import read_skeleton
from agent.ports import Graph
from agent.vision.heads.yolov8_cut import GRAPH_KEY


def served_graph(
    model: Path, *, rewrite: Rewrite, provider: str, prepared: PreparedGraphs | None, sha256: str | None
) -> Served | None:
    """The rewritten graph to load instead of `model`, None for the model itself.

    Blocks for seconds where it has to be made. `exact` is for the CPU's provider alone: it is its kernel
    which is slow. A file that is not the one with `sha256` is left to be refused.
    """
    if prepared is None or (rewrite == "exact" and provider != "cpu"):
        return None
    return prepared.serve(model, rewrite=rewrite, runtime_version=runtime_version(), sha256=sha256)


def graph_of(said: Mapping[str, str]) -> Graph:
    """What a file says of its graph.

    Raises:
        ValueError: a graph that is not known here.
    """
    match said.get(GRAPH_KEY, "exported"):
        case "exported" | "exact" | "cut" as graph:
            return graph
        case other:
            raise ValueError(f"metadata {GRAPH_KEY} is {other!r}; exact or cut is known here")


def precision_of(session: OnnxSession, *, asked: str = "fp32") -> str:
    """What a session computes in: what its provider was asked for, or as the file stores its weights."""
    if session.provider_used != "cpu" and asked != "fp32":
        return asked
    skeleton = read_skeleton(session.path)
    return "fp32" if skeleton is None else skeleton.precision
