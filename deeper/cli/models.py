"""`deeper models`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from deeper.cli.screen import results
from deeper.errors import DeeperError, UsageError, printable, typed
from deeper.figures import kind_of

if TYPE_CHECKING:
    from deeper.models import Architecture
    from deeper.models.describe import Description


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the networks; print one layer by layer with its scopes, or draw its annotated architecture.

    Example: deeper models inception_v3 --out inception_v3.svg
    """

    name: tyro.conf.Positional[str | None] = None
    """A network of the list, or your own as package.module:Class; all of them when not given."""
    classes: int | None = None
    """Number of classes; 10 for NielsenNet, 1000 for the others when not given."""
    channels: int | None = None
    """1 for grey, 3 for colour pictures."""
    size: int | None = None
    """Side of the input in pixels; the native one when not given."""
    weights: str | None = None
    """Tell what a weights file (or a published name, a run, a bundle) holds, and how a network would begin with it."""
    out: Path | None = None
    """Draw it on one page: .svg, .pdf or .png."""
    json: bool = False
    """Print one JSON object, and nothing else on standard output."""


def main(arguments: Arguments) -> None:
    """Print the list or one network's table."""
    if arguments.weights is not None and arguments.out is not None:
        raise UsageError("--out draws a network, --weights tells of a file: give one of them")
    if arguments.out is not None:
        if arguments.name is None:
            raise UsageError("--out: name the network to draw, e.g. deeper models inception_v3 --out inception_v3.svg")
        kind_of(arguments.out)
    if arguments.weights is not None:
        _print_weights(arguments, arguments.weights)
        return
    from deeper.models import MODELS, Architecture, native_size
    from deeper.models.describe import describe

    def architecture(name: str) -> Architecture:
        small = name == "nielsen"
        side = arguments.size if arguments.size is not None else native_size(name)[0]
        if side is None and name not in MODELS and ":" in name:
            raise UsageError(f"{name} states no input size; give one with --size")
        return Architecture(
            model=name,
            classes=arguments.classes if arguments.classes is not None else 10 if small else 1000,
            channels=arguments.channels if arguments.channels is not None else 1 if small else 3,
            height=1 if side is None else side,
            width=1 if side is None else side,
        )

    if arguments.name is not None:
        one = architecture(arguments.name)
        if arguments.out is not None:
            _draw(one, arguments.out, arguments.json)
        else:
            _print_layers(describe(one), arguments.json)
        return
    rows: list[dict[str, Any]] = []
    for name, entry in MODELS.items():
        description = describe(architecture(name))
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
    from rich.table import Table

    table, papers = Table(box=None), Table(box=None)
    for title in ("network", "input", "from", "parameters", "multiply-adds", "presets"):
        words = title in ("network", "presets")
        table.add_column(title, justify="left" if words else "right", no_wrap=title != "presets", overflow="fold")
    # In a table of their own: beside the numbers they would have room for one word a line.
    papers.add_column("network", no_wrap=True)
    papers.add_column("source", overflow="fold")
    for row in rows:
        papers.add_row(str(row["name"]), str(row["source"]))
        table.add_row(
            str(row["name"]),
            str(row["native_size"]),
            str(row["smallest_size"]),
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['multiply_adds'] / 1e9:.3f} G",
            ", ".join(row["presets"]),
        )
    console = results()
    console.print(table)
    console.print()
    console.print(papers)


def _print_weights(arguments: Arguments, name: str) -> None:
    from deeper.models import MODELS, create
    from deeper.models.weights.fitting import fit
    from deeper.runs.initial import open_initial

    try:
        initial = open_initial(name, model=arguments.name)
    except DeeperError as error:
        if "--model" not in str(error):
            raise
        # Of the verbs that train; this one takes the network's name by itself.
        raise type(error)(f"{error} (here without the flag: deeper models NETWORK --weights {typed(name)})") from None
    weights = initial.weights
    classes = arguments.classes if arguments.classes is not None else weights.classes or 1000
    channels = arguments.channels if arguments.channels is not None else weights.channels
    height, width = initial.size or (MODELS[weights.model].native,) * 2
    if arguments.size is not None:
        height = width = arguments.size
    architecture = weights.architecture(classes=classes, channels=channels, height=height, width=width)
    fitted = fit(create(architecture), weights, classes=classes, channels=channels)
    preprocess = weights.look.preprocess(height, width, channels)
    if arguments.json:
        account = asdict(fitted)
        plain = {
            "name": weights.name,
            "sha256": weights.sha256,
            "source": weights.source,
            "form": weights.form,
            "classes": weights.classes,
            "channels": weights.channels,
            "not_read": len(weights.left),
            "architecture": architecture.to_plain(),
            "preprocess": asdict(preprocess),
            "loaded": len(account["loaded"]),
            **{kind: list(names) for kind, names in account.items() if kind != "loaded"},
        }
        print(json.dumps(plain))
        return
    print(weights.describe())
    print(f"pictures: {preprocess.describe()}; mean {preprocess.mean}, deviation {preprocess.deviation}")
    print(f"for {classes} classes and {channels} channels: {fitted.describe(weights, classes, channels)}")


def _draw(architecture: Architecture, out: Path, as_json: bool) -> None:
    from deeper.models.drawing import draw
    from deeper.models.structure import structure

    found = structure(architecture)
    draw(found, out)
    if as_json:
        print(json.dumps({"drawing": str(out), **found.to_plain()}))
        return
    heads = sum(block.role == "auxiliary" for block in found.blocks)
    print(
        f"{printable(out)}: {len(found.blocks) - heads} blocks, {heads} auxiliary heads, {found.parameters:,} parameters, "
        f"{found.multiply_adds:,} multiply-adds a picture"
    )


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
    from rich.table import Table

    table = Table(box=None)
    for title in ("scope", "layer", "output", "parameters", "multiply-adds"):
        left = title in ("scope", "layer")
        # Scopes are names to copy: folded where the terminal is narrow, never cut.
        table.add_column(title, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    for layer in description.layers:
        table.add_row(
            layer.scope,
            layer.kind,
            "×".join(map(str, layer.shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        )
    console = results()
    console.print(table)
    console.print(f"{description.parameters:,} parameters, {description.multiply_adds:,} multiply-adds a picture")
