"""Identifiers, as types of their own so that a source is never passed for a model."""

import re
from typing import NewType

SourceName = NewType("SourceName", str)
ModelName = NewType("ModelName", str)
Stream = NewType("Stream", str)
"""The topic below the node's base of what passes the outbox, e.g. ``detections/door``."""

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""What a site, node, source, rule or operation may be called."""

COMMAND_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
"""What a command's id may be."""

COMMAND_ID_RULE = "letters, digits and '-', at most 64"

NAME_RULE = "lower-case letters, digits and '-', at most 32, beginning with a letter or digit"


def is_name(text: str) -> bool:
    """Whether `text` may name a site, node, source, rule or operation.

    >>> is_name("door-2"), is_name("Door"), is_name("")
    (True, False, False)
    """
    return NAME.fullmatch(text) is not None


def is_command_id(text: str) -> bool:
    """Whether `text` may name a command.

    >>> is_command_id("7F3a-1"), is_command_id(""), is_command_id("a b")
    (True, False, False)
    """
    return COMMAND_ID.fullmatch(text) is not None
