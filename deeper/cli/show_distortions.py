"""`deeper show-distortions`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from deeper.errors import UsageError, printable
from deeper.figures import kind_of


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Draw a sheet of what the training distortions do to your pictures, before any training.

    Example: deeper show-distortions datasets/mine --distort horizontal_flip --out sheet.png
    """

    source: tyro.conf.Positional[str]
    """A dataset folder, or anything that `deeper build` takes."""
    out: Path = Path("distortions.png")
    """Where the sheet goes: .png, .svg or .pdf."""
    recipe: str = "fast"
    """The recipe whose distortions are shown."""
    model: str | None = None
    """The network whose recipe it is, and whose input size; chosen by the pictures when not given."""
    distort: tuple[str, ...] = ()
    """Add distortions, e.g. horizontal_flip or rotation=15."""
    no_distort: tuple[str, ...] = ()
    """Take distortions out; `all` takes out the recipe's."""
    pictures: int = 6
    """How many pictures, of as many classes as possible."""
    seed: int = 0
    """Of the distortions that are drawn."""


def main(arguments: Arguments) -> None:
    """Draw the sheet."""
    kind_of(arguments.out)
    if arguments.pictures < 1:
        raise UsageError(f"--pictures: wanted at least 1, got {arguments.pictures}")
    import numpy as np

    from deeper.distortions.sheet import draw_sheet
    from deeper.images import Preprocess
    from deeper.runs import dataset_for
    from deeper.runs.plan import make_plan

    dataset = dataset_for(arguments.source, notice=print)
    plan = make_plan(
        dataset,
        model=arguments.model,
        recipe=arguments.recipe,
        distort=arguments.distort,
        no_distort=arguments.no_distort,
    )
    options = plan.options
    if not options.distortions:
        raise UsageError("nothing to show: the recipe has no distortions; add one with --distort")
    split = dataset.split("train")
    # One picture of each class in turn: the first of the class, then the second, and so on.
    seen: dict[int, int] = {}
    rank = np.empty(len(split), np.int64)
    for position, label in enumerate(split.labels):
        rank[position] = seen.get(int(label), 0)
        seen[int(label)] = int(rank[position]) + 1
    chosen = np.lexsort((split.labels, rank))[: arguments.pictures]
    fit = Preprocess(
        height=round(plan.height * options.store),
        width=round(plan.width * options.store),
        channels=dataset.info.channels,
        mode=options.fit,
        mean=dataset.info.mean,
        deviation=dataset.info.deviation,
    )
    pictures = np.stack([fit.fit(split.picture(int(position))) for position in chosen])
    captions = [printable(dataset.classes[split.labels[position]], 28) for position in chosen]
    draw_sheet(
        pictures,
        captions,
        options.distortions,
        arguments.out,
        size=(plan.height, plan.width),
        fill=options.fill,
        seed=arguments.seed,
        title=_title(dataset.info.name, options.recipe, arguments.distort, arguments.no_distort),
    )
    print(f"{printable(arguments.out)}: {len(captions)} pictures, {len(options.distortions)} distortions")


def _title(dataset: str, recipe: str, added: tuple[str, ...], removed: tuple[str, ...]) -> str:
    changes = [f"without {one}" for one in removed if one != "all"] + [f"with {one}" for one in added]
    base = "no recipe's" if "all" in removed else f"recipe {recipe}"
    return printable(" · ".join([f"training distortions, {dataset}", base, *changes]), 160)
