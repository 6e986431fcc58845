"""A run or bundle judged on a split; several runs compared on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deeper import bundle
from deeper.batches import Joined, Pictures, in_order, open_pictures
from deeper.errors import DatasetError, RunError, UsageError, nearest, printable
from deeper.evaluation import Comparison, Evaluation, compare, evaluate
from deeper.images import Preprocess
from deeper.inference import check_device, predictor
from deeper.records import Dataset, Part, Split
from deeper.runs.dataset import dataset_for, is_dataset
from deeper.runs.folder import Run, is_run
from deeper.runs.pictures import fold_members, share_members
from deeper.training.precision import choose_device

# Pictures decoded and judged at once.
_BATCH = 500
# Named like a split: every picture, whatever its split.
ALL = "all"


def evaluate_run(
    run: Run | str | Path,
    source: str | Path | Dataset | None = None,
    *,
    split: str | None = None,
    checkpoint: str | int | None = None,
    device: str = "auto",
    precision: str | None = None,
    workers: int | None = None,
    model: str | None = None,
    notice: Callable[[str], None] | None = None,
    features: bool = True,
) -> Evaluation:
    """Judge a run, interrupted ones included, or a bundle folder.

    `source`: a dataset or source, the run's own when None. `split`: `train`, `validation`, `test`, or `all` for every
    picture; when None `test`, or all pictures of a source that has no splits of its own and that the run was not trained
    on. Without a source, `validation` of a part of a cross-validation is what it held out. `notice`: told what was
    chosen, and how many of the pictures were trained on. `checkpoint`: `best`, `last` or a step; the bundle's weights
    when None, or the last checkpoint's where there is no bundle yet. Probabilities are at the bundle's temperature, as
    `predict` gives them, a checkpoint's at 1. `precision`: `fp32` or `bf16`, fp32 when None.
    `features`: whether those of the penultimate layer are kept; of a million pictures they are 10 GB.

    Raises: RunError, BundleError, DatasetError, SourceError; UsageError, for classes that do not match.
    """
    opened = run if isinstance(run, Run) else (Run(run) if is_run(Path(run)) else None)
    place = opened.path if opened else Path(str(run))
    check_device(choose_device(device))
    network, preprocess, classes, temperature = open_network(place, opened, checkpoint, model)
    held: list[Part] = []
    if source is None:
        if opened is None:
            raise UsageError(f"{printable(place)} is a bundle: say which dataset to judge it on")
        dataset, split = opened.dataset(), split or "test"
        if opened.config.fold is not None and split == "validation":
            held = _held_out(opened, dataset, notice or _unheard)
    else:
        dataset, split = _choice(source, split, notice or _unheard, [opened or place])
    if notice and opened and not held:
        # Of a run's own splits their names say it, but not where it was trained on a part of several.
        doubtful = source is not None or split == ALL or opened.config.fold is not None
        if doubtful and (learned := trained_on(opened, dataset, split)):
            notice(learned)
    to_ours = label_map(classes, dataset)
    device = choose_device(device)
    predict = predictor(network.to(device), preprocess, device=device, precision=precision or "fp32")
    names = _named(dataset, split)
    judged: Sequence[Split | Part] = held or [dataset.split(name) for name in names]
    parts = [open_pictures(one, preprocess, workers=workers) for one in judged]
    pictures: Pictures = parts[0] if len(parts) == 1 else Joined(parts)
    batches = (replace(batch, labels=to_ours[batch.labels]) for batch in in_order(pictures, _BATCH))
    found = replace(evaluate(predict, batches, classes, features=features), temperature=temperature)
    # What a fold held out is of two splits: which of those left out would be in it, nobody knows.
    return found if held else with_original(found, dataset, names)


def _held_out(run: Run, own: Dataset, notice: Callable[[str], None]) -> list[Part]:
    """The pictures that a part of a cross-validation did not train on, in the order in which it validated on them."""
    learned = learned_of(run, own)
    parts = [Part(own.split(name), np.flatnonzero(chosen)) for name, (_, chosen) in learned.items() if chosen.any()]
    total = sum(len(chosen) for _, chosen in learned.values())
    notice(
        f"validation of {printable(run.path)} is what it held out: {sum(map(len, parts)):,} of the {total:,} pictures of "
        f"{' and '.join(learned)}"
    )
    return parts


def judged_on(
    source: str | Path | Dataset,
    split: str | None,
    notice: Callable[[str], None],
    runs: Sequence[Run | str | Path] = (),
) -> tuple[Dataset, str]:
    """The dataset behind `source`, and which split of it is judged, as `evaluate_run` chooses: where the splits of a
    source are drawn, its test split is only a tenth of what the user meant. `runs`: runs and bundles to be judged there;
    of what one of them was trained on, test alone is chosen. `notice` is told, also how many of the pictures a run was
    trained on.

    Raises: as `dataset_for`; RunError, BundleError, for one of `runs` that cannot be read.
    """
    dataset, split = _choice(source, split, notice, runs)
    for run in runs:
        if isinstance(run, Run) or is_run(Path(run)):
            opened = run if isinstance(run, Run) else Run(run)
            if learned := trained_on(opened, dataset, split):
                notice(learned)
    return dataset, split


def _choice(
    source: str | Path | Dataset, split: str | None, notice: Callable[[str], None], runs: Sequence[Run | str | Path]
) -> tuple[Dataset, str]:
    dataset = dataset_for(source, notice=notice, judging=True)
    if isinstance(source, Dataset) or is_dataset(Path(source)):
        return dataset, split or "test"
    drawn, count = dataset.info.drawn, dataset.info.count
    sizes = {name: one.count for name, one in dataset.info.splits.items()}
    if split is None and {"validation", "test"} <= drawn.keys():
        taught = [run for run in runs if _trained_hash(run) == dataset.info.hash]
        if not taught or not sizes.get("test"):
            notice(f"{printable(source)} has no splits of its own: all of its {count:,} pictures are judged")
            return dataset, ALL
        notice(
            f"{printable(_place(taught[0]))} was trained on {printable(source)}: only its test pictures are judged, "
            f"{sizes['test']:,} of {count:,} (--split all: all)"
        )
        return dataset, "test"
    split = split or "test"
    if split in drawn and split in sizes:
        notice(
            f"{split} is drawn: {sizes[split]:,} of the {count:,} pictures of {printable(source)} are judged "
            "(--split all: all)"
        )
    return dataset, split


def _place(run: Run | str | Path) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def _trained_hash(run: Run | str | Path) -> str | None:
    """Of the dataset that a run or bundle was trained on; None where it does not say."""
    place = _place(run)
    if isinstance(run, Run) or is_run(place):
        return (run if isinstance(run, Run) else Run(place)).config.dataset_hash
    found: str | None = bundle.read_info(place).dataset.get("hash") if bundle.is_bundle(place) else None
    return found


def knows(run: Run | str | Path, dataset: Dataset) -> bool:
    """Whether a run or bundle was trained on this dataset, or, of a run, on pictures that are in it."""
    if dataset.info.hash == _trained_hash(run):
        return True
    place = _place(run)
    if not (isinstance(run, Run) or is_run(place)):
        return False
    return trained_on(run if isinstance(run, Run) else Run(place), dataset, ALL) is not None


def trained_on(run: Run, dataset: Dataset, split: str) -> str | None:
    """How many pictures of a split (or `all`) a run was trained on, in words; None for none, and where the run's own
    dataset is gone."""
    trained = validated = total = 0
    try:
        own = dataset if dataset.info.hash == run.config.dataset_hash else run.dataset()
        learned = learned_of(run, own)
        for name in _named(dataset, split):
            part = dataset.split(name)
            total += len(part)
            for known, (taught, chosen) in learned.items():
                places = positions_in(part, own.split(known))
                trained += int(taught[places[places >= 0]].sum())
                validated += int(chosen[places[places >= 0]].sum())
    except (DatasetError, RunError):
        return None
    if not trained:
        return None
    besides = f" ({validated:,} more chose its weights)" if validated else ""
    return (
        f"{trained:,} of these {total:,} pictures were trained on{besides}: {printable(run.path)} knows them better than "
        "new ones"
    )


def learned_of(run: Run, own: Dataset) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Of its dataset's training and validation pictures: which a run was trained on, and by which its weights were
    chosen."""
    splits = [own.split(name) for name in _teaching(own)]
    if run.config.fold is not None:
        ends = np.cumsum([len(one) for one in splits])[:-1]
        held = np.split(fold_members(splits, run.config.fold), ends)
        return {one.name: (~part, part) for one, part in zip(splits, held, strict=True)}
    found = {}
    for one in splits:
        taught = np.full(len(one), one.name == "train")
        chosen = ~taught
        if one.name == "train" and run.config.share is not None:
            taught = np.isin(np.arange(len(one)), share_members(one.labels, one.keys, run.config.share))
        found[one.name] = (taught, chosen)
    return found


def _teaching(own: Dataset) -> list[str]:
    """The splits that a training takes its pictures from."""
    return [name for name in ("train", "validation") if name in _named(own, ALL)]


def positions_in(part: Split, other: Split) -> NDArray[np.int64]:
    """Where each picture of `part` stands in `other`, −1 where it does not. Shape: N. The same picture has the same id
    and the same bytes: photographs of two folders may well have the same names.

    Raises: DatasetError, for a damaged record.
    """
    if part is other:
        return np.arange(len(part))
    known = {identifier: position for position, identifier in enumerate(other.ids)}
    places = np.fromiter((known.get(identifier, -1) for identifier in part.ids), np.int64, len(part))
    for position in np.flatnonzero(places >= 0).tolist():
        if part.encoded(position) != other.encoded(int(places[position])):
            places[position] = -1
    return places


def _named(dataset: Dataset, split: str) -> list[str]:
    """The splits that `split` means."""
    return [name for name, one in dataset.info.splits.items() if one.count] if split == ALL else [split]


def with_original(evaluation: Evaluation, dataset: Dataset, splits: Sequence[str]) -> Evaluation:
    """With the labels before corrections, where the split has some: a result must be comparable with older ones."""
    corrections = dataset.info.corrections
    was = {one.id: one.was for one in corrections.relabelled if one.split in splits} if corrections else {}
    excluded = sum(one.split in splits for one in corrections.excluded) if corrections else 0
    if not was and not excluded:
        return evaluation
    original = evaluation.labels.copy()
    for position, identifier in enumerate(evaluation.ids):
        if identifier in was:
            # A class that the network does not know can be answered by nobody.
            known = was[identifier] in evaluation.classes
            original[position] = evaluation.classes.index(was[identifier]) if known else -1
    return replace(evaluation, original=original, excluded=excluded)


class Opened(NamedTuple):
    """A network, how it is shown pictures, what it tells apart, and the temperature that was fitted to its answers: a
    bundle's; 1 for a checkpoint."""

    network: nn.Module
    preprocess: Preprocess
    classes: tuple[str, ...]
    temperature: float = 1.0


def open_network(place: Path, run: Run | None, checkpoint: str | int | None, model: str | None) -> Opened:
    """The network of a run, or of the bundle at `place`, where `run` is None.

    Raises: RunError, BundleError.
    """
    folder = run.bundle_path if run else place
    if checkpoint is None and (run is None or bundle.is_bundle(folder)):
        trusted = model or (run.config.options.model if run else None)
        loaded = bundle.load(folder, model=trusted)
        info = loaded.info
        return Opened(loaded.model, info.preprocess, info.classes, info.temperature or 1.0)
    if run is None:
        raise RunError(f"{printable(place)} is a bundle and has no checkpoints; leave --checkpoint out")
    state = run.load(checkpoint or "last")
    return Opened(state.model, state.preprocess, state.classes)


def label_map(classes: Sequence[str], dataset: Dataset) -> NDArray[np.int64]:
    """For each of the dataset's labels the network's, by class name. Shape: K of the dataset.

    Raises: UsageError, for a class that the network does not know.
    """
    for name in dataset.classes:
        if name not in classes:
            raise UsageError(
                f"the dataset {printable(dataset.path)} has a class {printable(name)!r} that the network does not "
                f"know{nearest(name, classes)}"
            )
    return np.array([classes.index(name) for name in dataset.classes], dtype=np.int64)


def compare_runs(
    runs: Sequence[str | Path],
    *,
    split: str | None = None,
    source: str | Path | Dataset | None = None,
    device: str = "auto",
    precision: str | None = None,
    model: str | None = None,
    notice: Callable[[str], None] | None = None,
) -> Comparison:
    """Judge runs on one split (as `evaluate_run` chooses it) and compare them; each goes by its folder's name, or by its
    path where names repeat. `notice`: told what was chosen, and how many of the pictures a run was trained on.

    Raises: RunError, BundleError, DatasetError, SourceError, for what cannot be read; UsageError, for fewer than two runs
    or the same run twice, classes that do not match, or runs whose own datasets have other pictures under the same names.
    """
    if len(runs) < 2:
        raise UsageError("name at least two runs to compare")
    places = [Path(run).resolve() for run in runs]
    for place in places:
        if places.count(place) > 1:
            raise UsageError(f"{printable(place.name)} was named twice; compare different runs")
    names = [place.name for place in places]
    shown = [str(run) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]
    if source is not None and all(place.is_dir() for place in places):
        # Once for all: of its own dataset a run alone would be judged on test, another on all pictures.
        source, split = _choice(source, split, notice or _unheard, runs)
    if source is None:
        _refuse_namesakes({name: Run(run) for name, run in zip(shown, runs) if is_run(Path(run))}, split or "test")
    return compare(
        {
            name: evaluate_run(
                run,
                source,
                split=split,
                device=device,
                precision=precision,
                model=model,
                notice=notice,
                features=False,
            )
            for name, run in zip(shown, runs, strict=True)
        }
    )


def _refuse_namesakes(runs: Mapping[str, Run], split: str) -> None:
    """Raises: UsageError, where a picture of one run's own dataset is another in another run's: photographs of two
    folders may well have the same names, and a paired test would pair them."""
    if len({run.config.dataset_hash for run in runs.values()}) < 2:
        return
    (first_name, first), *others = runs.items()
    ours = _own_splits(first, split)
    for name, other in others:
        if other.config.dataset_hash == first.config.dataset_hash:
            continue
        theirs = _own_splits(other, split)
        named = {identifier for one in theirs for identifier in one.ids}
        for part in ours:
            same = np.logical_or.reduce([positions_in(part, one) >= 0 for one in theirs])
            odd = [identifier for identifier, alike in zip(part.ids, same) if not alike and identifier in named]
            if odd:
                raise UsageError(
                    f"{printable(first_name)} and {printable(name)} were trained on datasets of their own, in which "
                    f"{len(odd):,} pictures have the same names and are others, {printable(min(odd))} among them; compare "
                    "them on one dataset (--source)"
                )


def _own_splits(run: Run, split: str) -> list[Split]:
    """Those of a run's dataset that the pictures judged are in."""
    own = run.dataset()
    held = run.config.fold is not None and split == "validation"
    return [own.split(name) for name in (_teaching(own) if held else _named(own, split))]


def _unheard(text: str) -> None:
    """What becomes of notices where nobody listens."""
