"""`deeper models`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import tyro

from deeper.errors import UsageError

if TYPE_CHECKING:
    from deeper.models.describe import Description


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the networks, or print one layer by layer with its scopes.

    Example: deeper models nielsen --classes 12 --channels 3
    """

    name: tyro.conf.Positional[str | None] = None
    """A network of the list, or your own as package.module:Class; all of them when not given."""
    classes: int | None = None
    """Number of classes; 10 for NielsenNet, 1000 for the others when not given."""
    channels: int | None = None
    """1 for grey, 3 for colour pictures."""
    size: int | None = None
    """Side of the input in pixels; the native one when not given."""
    json: bool = False
    """Print one JSON object, and nothing else on standard output."""


def main(arguments: Arguments) -> None:
    """Print the list or one network's table."""
    from deeper.models import MODELS, Architecture, native_size
    from deeper.models.describe import describe

    def look(name: str) -> Description:
        small = name == "nielsen"
        side = arguments.size or native_size(name)[0]
        if side is None and name not in MODELS and ":" in name:
            raise UsageError(f"{name} states no input size; give one with --size")
        return describe(
            Architecture(
                model=name,
                classes=arguments.classes or (10 if small else 1000),
                channels=arguments.channels or (1 if small else 3),
                height=side or 1,
                width=side or 1,
            )
        )

    if arguments.name is not None:
        _print_layers(look(arguments.name), arguments.json)
        return
    rows: list[dict[str, Any]] = []
    for name, entry in MODELS.items():
        description = look(name)
        rows.append(
            {
                "name": name,
                "parameters": description.parameters,
                "multiply_adds": description.multiply_adds,
                "native_size": entry.native,
                "smallest_size": entry.smallest,
                "classes": description.architecture.classes,
                "presets": list(entry.presets),
                "source": entry.source,
            }
        )
    if arguments.json:
        print(json.dumps({"models": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for title in ("network", "input", "from", "parameters", "multiply-adds", "source"):
        table.add_column(
            title,
            justify="left" if title in ("network", "source") else "right",
            no_wrap=title == "network",
        )
    for row in rows:
        table.add_row(
            str(row["name"]),
            str(row["native_size"]),
            str(row["smallest_size"]),
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['multiply_adds'] / 1e9:.3f} G",
            str(row["source"]),
        )
    Console().print(table)


def _print_layers(description: Description, as_json: bool) -> None:
    if as_json:
        plain = {
            "architecture": description.architecture.to_plain(),
            "parameters": description.parameters,
            "multiply_adds": description.multiply_adds,
            "layers": [asdict(layer) for layer in description.layers],
        }
        print(json.dumps(plain))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for title in ("scope", "layer", "output", "parameters", "multiply-adds"):
        table.add_column(title, justify="left" if title in ("scope", "layer") else "right")
    for layer in description.layers:
        table.add_row(
            layer.scope,
            layer.kind,
            "×".join(map(str, layer.shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        )
    console = Console()
    console.print(table)
    console.print(f"{description.parameters:,} parameters, {description.multiply_adds:,} multiply-adds a picture")
