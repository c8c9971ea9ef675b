"""The agent's runs that a round consists of."""

from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.lanes import LanesName

RunName = Literal[
    "all_lanes",
    "own_shape",
    "same_graph",
    "one_lane",
    "camera",
    "vga",
    "four_cameras",
    "eight_cameras",
    "four_cameras_one_lane",
]
Graph = Literal["exported", "exact", "served"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTask:
    """What the agent is given: how many cameras (all show the same video), which graph, lanes and input.

    `pace`: as fast as frames are inferred, or by the video's own clock with the newest frame winning.
    """

    caption: str
    lanes: LanesName
    pace: Literal["fast", "clock"] = "fast"
    cameras: int = 1
    graph: Graph = "served"
    shape: Literal["file", "auto"] | tuple[int, int] = "file"


RUNS: Final[dict[RunName, AgentTask]] = {
    "all_lanes": AgentTask(caption="all lanes", lanes="all_lanes"),
    "own_shape": AgentTask(caption="all lanes, the camera's shape", lanes="all_lanes", shape="auto"),
    "same_graph": AgentTask(caption="all lanes, the exact graph", lanes="all_lanes", graph="exact"),
    "one_lane": AgentTask(caption="one lane", lanes="one_lane"),
    "camera": AgentTask(caption="one lane, at the camera's rate", lanes="one_lane", pace="clock"),
    "vga": AgentTask(caption="one lane, 480x640", lanes="one_lane", shape=(480, 640)),
    "four_cameras": AgentTask(caption="four cameras", lanes="all_lanes", pace="clock", cameras=4),
    "eight_cameras": AgentTask(caption="eight cameras", lanes="all_lanes", pace="clock", cameras=8),
    "four_cameras_one_lane": AgentTask(
        caption="four cameras, one lane", lanes="one_lane", pace="clock", cameras=4
    ),
}
