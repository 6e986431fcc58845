"""The judge's networks, trained by the same loop as every other, without validation, distortion or file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deeper import draws
from deeper.audit.folds import assign_folds
from deeper.audit.network import PHOTOGRAPH, network
from deeper.audit.options import LARGEST_SIDE, REDUCED_SIDE, JudgeOptions, folds_for, training_options
from deeper.batches import Pictures, Selected, in_order, open_pictures, steps_per_epoch
from deeper.distortions.apply import Distorter
from deeper.errors import DatasetError, printable
from deeper.images import Preprocess
from deeper.inference import Normalise, predictor, softmax
from deeper.models import kernels
from deeper.models.architecture import Architecture
from deeper.records import Dataset
from deeper.training.events import Finished
from deeper.training.loop import train
from deeper.training.memory import keep_memory
from deeper.training.options import Options
from deeper.training.precision import choose_device, choose_precision
from deeper.training.state import State
from deeper.training.stepping import Feed

# Pictures that go through a network at once.
BATCH = 500
# Between two calls of `progress`.
_REPORT_STEPS = 10


@dataclass(frozen=True, eq=False)
class Fitted:
    """What training the judge yields, and what the cache keeps. See `Judge` for the fields."""

    architecture: Architecture
    preprocess: Preprocess
    networks: tuple[tuple[nn.Module, ...], ...]
    folds: NDArray[np.int64]
    out_of_fold: NDArray[np.float32]
    training: str


def preprocess_for(dataset: Dataset, options: JudgeOptions) -> Preprocess:
    """From picture to the judge's input: small pictures at their own size, larger ones reduced."""
    side = max(dataset.info.sizes.largest)
    size = options.size or (max(12, side) if side <= LARGEST_SIDE else REDUCED_SIDE)
    return Preprocess(
        height=size,
        width=size,
        channels=dataset.info.channels,
        mean=dataset.info.mean,
        deviation=dataset.info.deviation,
    )


def architecture_for(dataset: Dataset, preprocess: Preprocess) -> Architecture:
    """The network that every fold trains."""
    small = preprocess.height <= LARGEST_SIDE
    return Architecture(
        model="nielsen" if small else PHOTOGRAPH,
        classes=len(dataset.classes),
        channels=preprocess.channels,
        height=preprocess.height,
        width=preprocess.width,
        arguments={"dropout": 0.4 if small else 0.2},
    )


def unjudgeable(dataset: Dataset, options: JudgeOptions) -> str:
    """Why a dataset can have no judge, whatever the training does; empty where it can."""
    if len(dataset.classes) < 2:
        return f"{printable(dataset.path)} has {len(dataset.classes)} classes; a judge needs at least two"
    train = dataset.info.splits.get("train")
    if train is None or not train.count:
        return f"{printable(dataset.path)} has no training pictures for a judge to learn from"
    if sum(count > 0 for count in train.per_class) < 2:
        return f"{printable(dataset.path)} has training pictures of one class only; a judge needs at least two"
    split = dataset.split("train")
    units = len({(group is None, group or identifier) for identifier, group in zip(split.ids, split.groups)})
    folds = folds_for(options, len(split))
    few = f"{units} pictures or groups cannot be judged in {folds} folds; build the dataset from more pictures"
    return few if units < folds else ""


def fit_networks(
    dataset: Dataset,
    options: JudgeOptions,
    progress: Callable[[int, int], None] | None,
    say: Callable[[str], None],
) -> tuple[Fitted, float]:
    """Train all networks and judge every training picture out-of-fold; returns the seconds that training took too.

    Raises: DatasetError, for fewer than two classes or fewer pictures than folds.
    """
    reason = unjudgeable(dataset, options)
    if reason:
        raise DatasetError(reason)
    began = time.perf_counter()
    split = dataset.split("train")
    count = folds_for(options, len(split))
    folds = assign_folds(split.ids, split.labels, split.groups, count, options.seed)
    preprocess = preprocess_for(dataset, options)
    architecture = architecture_for(dataset, preprocess)
    keep_memory()
    pictures = open_pictures(split, preprocess)
    plans = [
        [
            training_options(
                options, int((folds != fold).sum()), count * options.seeds, options.seed + 1000 * fold + number
            )
            for number in range(options.seeds)
        ]
        for fold in range(count)
    ]
    total = sum(_steps(plan, int((folds != fold).sum())) for fold, each in enumerate(plans) for plan in each)
    say(f"judge: training {count * options.seeds} small networks without distortions, {total:,} steps")
    done = 0
    networks: list[tuple[nn.Module, ...]] = []
    out_of_fold = np.zeros((len(split), len(dataset.classes)), np.float32)
    for fold, each in enumerate(plans):
        learned = Selected(pictures, np.flatnonzero(folds != fold))
        fitted = []
        for plan in each:
            steps = _steps(plan, len(learned))
            fitted.append(_fit(learned, plan, architecture, preprocess, steps, _shifted(progress, done, total)))
            done += steps
        networks.append(tuple(fitted))
        held = np.flatnonzero(folds == fold)
        out_of_fold[held] = _judged(fitted, preprocess, Selected(pictures, held))
    plan = plans[0][0]
    name = "NielsenNet" if architecture.model == "nielsen" else "four convolutions"
    described = f"{name} without distortions, {plan.epochs:.3g} epochs of {plan.batch}, {count} folds"
    fitted_all = Fitted(architecture, preprocess, tuple(networks), folds, out_of_fold, described)
    return fitted_all, time.perf_counter() - began


def _steps(options: Options, pictures: int) -> int:
    return max(1, round(options.epochs * steps_per_epoch(pictures, options.batch)))


def _shifted(progress: Callable[[int, int], None] | None, first: int, total: int) -> Callable[[int], None]:
    return (lambda step: None) if progress is None else (lambda step: progress(first + step, total))


def _fit(
    pictures: Pictures,
    options: Options,
    architecture: Architecture,
    preprocess: Preprocess,
    steps: int,
    report: Callable[[int], None],
) -> nn.Module:
    """One network, with its averaged weights, in evaluation mode. By PyTorch's own operators, whatever the process has
    switched on before: a judge is kept, and shall not depend on that."""
    device = choose_device()
    with torch.random.fork_rng([]):
        torch.manual_seed(draws.derive(options.seed, 0, "weights"))
        model = network(architecture)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = State(model, options, steps=steps, device=device)
    normalise = Normalise(preprocess).to(device)
    size = (preprocess.height, preprocess.width)
    feed = Feed(
        pictures=pictures,
        distorter=Distorter((), seed=options.seed, size=size),
        normalise=normalise,
        sample=torch.from_numpy(preprocess.normalise(pictures.take(np.zeros(1, np.int64)))),
        classes=architecture.classes,
        precision=choose_precision("auto", device)[0],
    )
    reported = 0

    def never() -> bool:
        # Asked after every step: the only word the loop gives between its rare events.
        nonlocal reported
        if state.step - reported >= _REPORT_STEPS:
            reported = state.step
            report(state.step)
        return False

    with kernels.switched_off():
        for event in train(
            state, feed, evaluate=None, pictures=lambda positions: pictures.take(np.asarray(positions)), stop=never
        ):
            if isinstance(event, Finished):
                report(event.step)
    model.load_state_dict(state.weights())
    fitted: nn.Module = model.requires_grad_(False).eval()
    return fitted


def _judged(networks: Sequence[nn.Module], preprocess: Preprocess, pictures: Pictures) -> NDArray[np.float32]:
    """Mean probabilities of pictures that the networks did not train on. Shape: N × K."""
    device = choose_device()
    precision = choose_precision("auto", device)[0]
    predictors = [predictor(one, preprocess, device=device, precision=precision, batch=BATCH) for one in networks]
    parts = [
        np.mean([softmax(predict(batch.images).logits) for predict in predictors], axis=0)
        for batch in in_order(pictures, BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)
