"""Commands: what somebody asks this node to do now, each with an id, and each with one result."""

from agent.pipeline.commands.operations import Handler
from agent.pipeline.commands.service import Commands

__all__ = ["Commands", "Handler"]
