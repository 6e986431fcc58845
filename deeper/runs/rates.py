"""The learning-rate search as a user calls it: the steps of a real training, and no run left behind."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from deeper import files
from deeper.distortions import Policy
from deeper.errors import UsageError, printable
from deeper.monitor import Console
from deeper.records import Dataset
from deeper.runs.dataset import dataset_for
from deeper.runs.folder import is_run
from deeper.runs.interrupts import Interrupted, Interrupts
from deeper.runs.plan import make_plan, stages_for
from deeper.runs.training import configure
from deeper.runs.work import Work
from deeper.training.events import Notice
from deeper.training.headroom import tried
from deeper.training.options import thawed
from deeper.training.rates import RateSearch, read, sweep
from deeper.training.schedules import ExponentialSweep


@dataclass(frozen=True, kw_only=True)
class FoundRate:
    """A search, and what it was made on."""

    search: RateSearch
    dataset: str
    model: str
    recipe: str
    optimizer: str
    batch: int
    recipe_rate: float
    """The peak rate that the recipe would use."""

    def to_plain(self) -> dict[str, Any]:
        """For rates.json and --json."""
        search = self.search
        return {
            "suggestion": search.suggestion,
            "reason": search.reason,
            "steepest": search.steepest,
            "lowest": search.lowest,
            "diverged": search.diverged,
            "recipe_rate": self.recipe_rate,
            "dataset": self.dataset,
            "model": self.model,
            "recipe": self.recipe,
            "optimizer": self.optimizer,
            "batch": self.batch,
            "rates": search.rates.tolist(),
            "losses": search.losses.tolist(),
            "smoothed": search.smoothed.tolist(),
            "slopes": search.slopes.tolist(),
        }


def find_rate(
    source: str | Path | Dataset,
    *,
    model: str | None = None,
    recipe: str | Path | None = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 140,
    seed: int | None = None,
    weights: str | Path | None = None,
    distort: Sequence[str] = (),
    no_distort: Sequence[str] = (),
    policy: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | None = None,
    out: str | Path | None = None,
    quiet: bool | Literal["progress"] = False,
) -> FoundRate:
    """Search the learning rate that `deeper.train` with the same arguments should peak at.

    Takes up to `steps` steps of that training (its distortions, precision, optimizer, order), while the rate rises
    from `low` to `high` by the same factor each step, and stops early when the loss diverges. The same seed gives the
    same result. `out`: a folder for `rates.png`, `rates.svg`, `rates.csv` and `rates.json`; without it nothing is
    written.

    Raises: UsageError, for what cannot be meant or a loss that diverges at once; SourceError, DatasetError, StorageError.
    """
    if not 0 < low < high < float("inf"):
        raise UsageError(f"the search needs 0 < low < high, got low {low:g} and high {high:g}")
    if steps < 40:
        raise UsageError(f"--steps: wanted at least 40, got {steps}; with fewer nothing can be read off")
    folder = Path(out) if out is not None else None
    if folder is not None and is_run(folder):
        raise UsageError(f"{printable(folder)} is a run; give another --out for the search")
    console = Console(quiet=quiet)

    def say(text: str) -> None:
        console.handle(Notice(text=text))

    dataset = dataset_for(source, notice=say, progress=console.progress("building"))
    given = dict(options or {})
    if seed is not None:
        given["seed"] = seed
    if weights is not None:
        given["weights"] = str(weights)
    plan = make_plan(
        dataset,
        model=model,
        recipe=recipe,
        distort=distort,
        no_distort=no_distort,
        overrides=given,
        progress=console.progress("downloading weights"),
    )
    asked = plan.options
    # One sweep needs one size: the last, which bears the lowest rates, in its own batches.
    stage = stages_for(asked, plan.height, plan.width)[-1]
    swept = replace(
        asked,
        optimizer=replace(asked.optimizer, rate=high),
        schedule=ExponentialSweep(start=low / high),
        stages=(),
        batch=stage.batch,
        fine_tuning=thawed(asked.fine_tuning),
        averaging=None,  # an average of weights is made beside the training and changes nothing in it
    )
    chosen = Policy.load(policy) if policy else None
    # No file is written there: a run's folder is made when it begins, and this one never does.
    nowhere = Path("learning-rate-search")
    config = configure(replace(plan, options=swept), dataset, nowhere, device=device, policy=chosen, notice=say)
    work = Work(nowhere, replace(config, steps=steps), dataset, workers, console, ())
    try:
        with Interrupts() as interrupts:
            shown = console.progress("searching the rate")
            rates, losses, diverged = tried(
                work.state,
                work.feed,
                stage,
                lambda: sweep(work.state, work.feed, progress=shown, stop=interrupts.asked),
            )
    except KeyboardInterrupt:
        if Interrupts.received == signal.SIGTERM:
            raise Interrupted("interrupted; nothing was kept of the search") from None
        raise
    finally:
        console.close()
    found = FoundRate(
        search=read(rates, losses, diverged),
        dataset=dataset.info.name,
        model=asked.model,
        recipe=asked.recipe,
        optimizer=asked.optimizer.name,
        batch=stage.batch,
        recipe_rate=asked.optimizer.rate,
    )
    if folder is not None:
        write(found, folder)
    return found


def write(found: FoundRate, folder: Path) -> None:
    """Write the search as figure, table and JSON into `folder`. Raises: StorageError."""
    from deeper.runs.rate_figure import draw

    with files.storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for ending in ("png", "svg"):
        draw(found, folder / f"rates.{ending}")
    lines = [files.csv_line(["step", "rate", "loss", "smoothed", "slope"])]
    search = found.search
    for step, row in enumerate(zip(search.rates, search.losses, search.smoothed, search.slopes, strict=True)):
        lines.append(files.csv_line([step, *(f"{value:.6g}" for value in row)]))
    files.write_text(folder / "rates.csv", "".join(lines))
    files.write_json(folder / "rates.json", found.to_plain())
