"""What every benchmark can be asked for, and how plain figures are shown to people and to scripts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.environment import Environment

JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write figures and environment.", metavar="FILE")
]
Quick = Annotated[bool, typer.Option("--quick", help="Short: shows that all works, measures little.")]


def print_figures(figures: Mapping[str, float]) -> None:
    """To stdout."""
    table = Table("figure", "value")
    table.columns[1].justify = "right"
    for name, value in figures.items():
        table.add_row(name, f"{value:g}")
    Console().print(table)


def write_figures(file: Path | None, figures: Mapping[str, Any], environment: Environment) -> None:
    """As JSON, if a file is named."""
    if file is not None:
        text = json.dumps({"figures": figures, "environment": environment}, indent=2)
        file.write_text(f"{text}\n", encoding="utf-8")
