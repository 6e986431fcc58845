"""A run under way: pictures, network and state; its events handed to monitors, checkpoints and bundle."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import nn

from deeper import bundle, checkpoint, draws, files
from deeper.batches import Joined, Pictures, Selected, in_order, open_pictures
from deeper.distortions import Policy
from deeper.distortions.apply import Distorter
from deeper.errors import RunError, printable
from deeper.evaluation import Evaluation, evaluate
from deeper.images import Preprocess
from deeper.inference import Normalise, predictor
from deeper.models import create
from deeper.monitor import Console, MetricsFile, TensorBoard
from deeper.monitor.position import clock
from deeper.records import Dataset
from deeper.runs.folder import Config, Fold, Run, write_config
from deeper.runs.interrupts import Interrupts
from deeper.runs.plan import architecture_of, preprocess_of
from deeper.training.events import CheckpointDue, EpochDone, Event, Finished, Notice
from deeper.training.loop import Feed, seconds_per_step
from deeper.training.loop import train as loop
from deeper.training.memory import keep_memory
from deeper.training.state import State
from deeper.values import to_plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pictures in one inference batch of a validation: large enough to be fast, small enough for any memory.
EVALUATION_BATCH = 500
# Of the minutes that the user gives, this share goes to steps and validations; the rest to starting and saving.
USABLE_SHARE = 0.97
# Steps that are timed, and steps before them that are not, for the estimate of a run counted in epochs.
ESTIMATE_STEPS = (3, 2)


@dataclass(frozen=True)
class Result:
    """What a finished (or interrupted) run amounts to. `validation` is the last validation's evaluation."""

    run: Run
    reason: str
    step: int
    seconds: float
    validation: Evaluation | None


Handler = Callable[[Event], None]


class Monitor(Protocol):
    """What consumes events for as long as a run lasts."""

    def handle(self, event: Event) -> None: ...

    def close(self) -> None: ...


def fold_members(keys: NDArray[np.uint64], fold: Fold) -> NDArray[np.bool_]:
    """Which examples validate in this fold: equal parts by rank of a draw of their ids, whatever the run's seed."""
    rank = np.empty(len(keys), np.int64)
    rank[draws.order(0, 0, keys)] = np.arange(len(keys))
    members: NDArray[np.bool_] = rank % fold.count == fold.index
    return members


class Work:
    """A run under way: everything that lives from its first step to its last."""

    def __init__(
        self,
        path: Path,
        config: Config,
        dataset: Dataset,
        workers: int | None,
        console: Console,
        handlers: Sequence[Handler],
    ) -> None:
        self.path, self.config, self.dataset, self.workers, self.console = path, config, dataset, workers, console
        self.handlers = list(handlers)
        options = config.options
        keep_memory()
        self.preprocess = preprocess_of(config, dataset)
        self.architecture = architecture_of(config, dataset)
        # The initial weights are a function of the seed alone.
        with torch.random.fork_rng([]):
            torch.manual_seed(draws.derive(options.seed, 0, "weights"))
            model = create(self.architecture)
        self.model = model.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.training, self.validation = self._pictures()
        policy = Policy.from_plain(config.policy) if config.policy else None
        self.feed = Feed(
            pictures=self.training,
            distorter=Distorter(
                options.distortions,
                seed=options.seed,
                size=(config.height, config.width),
                classes=dataset.classes,
                policy=policy,
                fill=options.fill,
            ),
            normalise=Normalise(self.preprocess).to(config.device),
            sample=self._sample(),
            classes=len(dataset.classes),
            precision=config.precision,
        )
        self.state = State(self.model, options, steps=config.steps, device=config.device)
        self.last: Evaluation | None = None

    def say(self, text: str) -> None:
        """Show one line."""
        self.console.handle(Notice(text=text))

    def _pictures(self) -> tuple[Pictures, Pictures | None]:
        """Training pictures at store size and validation pictures at the network's size."""
        config, dataset = self.config, self.dataset
        store = self.preprocess.at(
            round(config.height * config.options.store), round(config.width * config.options.store)
        )
        progress = self.console.progress("decoding")

        def opened(name: str, fit: Preprocess) -> Pictures:
            return open_pictures(dataset.split(name), fit, workers=self.workers, progress=progress)

        has_validation = "validation" in dataset.info.splits and dataset.info.splits["validation"].count > 0
        training = opened("train", store)
        if config.fold is None:
            validation = opened("validation", self.preprocess) if has_validation else None
            self.say(f"training on {training.kind}")
            if validation is None:
                self.say("no validation split: the last weights are kept, unjudged")
            return training, validation
        names = ["train", "validation"] if has_validation else ["train"]
        at_store = Joined([training, *(opened(name, store) for name in names[1:])])
        at_size = Joined([opened(name, self.preprocess) for name in names])
        chosen = fold_members(at_store.keys, config.fold)
        return Selected(at_store, np.flatnonzero(~chosen)), Selected(at_size, np.flatnonzero(chosen))

    def _sample(self) -> torch.Tensor:
        batch = self._fitted([0])
        return torch.from_numpy(self.preprocess.normalise(batch)).to(self.config.device)

    def begin(self) -> None:
        """Fix the number of steps, say what it will cost, write `config.toml`."""
        options = self.config.options
        per_epoch = max(1, len(self.training) // options.batch)
        self.state.steps = per_epoch  # a schedule needs a length while the first steps are timed
        if options.minutes is None:
            steps = max(1, round(options.epochs * per_epoch))
            each = seconds_per_step(self.state, self.feed, *ESTIMATE_STEPS) if steps > sum(ESTIMATE_STEPS) else 0.0
            expected = each * steps
        else:
            each = seconds_per_step(self.state, self.feed)
            validation = self._seconds_per_validation()
            per_step = each + validation / max(1, round(options.validate_every * per_epoch))
            steps = max(1, int(options.minutes * 60 * USABLE_SHARE / per_step))
            expected = options.minutes * 60
        self.say(self._estimate(steps, per_epoch, expected))
        self.config = replace(self.config, steps=steps)
        self.state.steps = steps
        with files.storage(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_config(self.path, self.config)

    def _estimate(self, steps: int, per_epoch: int, expected: float) -> str:
        """What the run will take, in words. The steps that were timed have taken the memory that all will."""
        parameters = sum(weight.numel() for weight in self.model.parameters())
        state = sum(tensor.numel() * tensor.element_size() for tensor in self.state.tensors().values())
        # Weights, averages and two moments are in a checkpoint; the last few and the best are kept, and the bundle.
        disk = state * (self.config.options.keep + 1) + parameters * 4
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        about = f"about {clock(expected)} of training, " if expected else ""
        return (
            f"{parameters:,} parameters, {steps:,} steps ({steps / per_epoch:.3g} epochs): {about}"
            f"{memory / 1e9:.1f} GB of memory, up to {disk / 1e6:,.0f} MB on disk"
        )

    def _seconds_per_validation(self) -> float:
        if self.validation is None:
            return 0.0
        began = time.perf_counter()
        self._evaluate(self.model)
        return time.perf_counter() - began

    def restore(self, run: Run) -> None:
        """Load the newest checkpoint that can be read; without any, begin at step 0."""
        for step in reversed(run.steps()):
            try:
                facts, tensors = checkpoint.read(run.checkpoints, step)
            except RunError as error:
                self.say(f"{error}; taking the one before")
                continue
            self.state.load(facts, tensors)
            self.say(f"going on from step {step:,} of {self.state.steps:,}")
            return
        if self.config.steps == 0:
            raise RunError(f"{printable(run.path)} was never begun; delete it and train again")
        self.say("no checkpoint can be read: beginning at step 0")

    def _evaluate(self, model: nn.Module) -> Evaluation:
        assert self.validation is not None
        predict = predictor(
            model, self.preprocess, device=self.config.device, precision=self.config.precision, batch=EVALUATION_BATCH
        )
        return evaluate(predict, in_order(self.validation, EVALUATION_BATCH), self.dataset.classes)

    def _fetch(self, positions: Sequence[int]) -> NDArray[np.uint8]:
        assert self.validation is not None
        return self.validation.take(np.asarray(positions, np.int64))

    def events(self, stop: Callable[[], bool]) -> Iterator[Event]:
        judge = self._evaluate if self.validation is not None else None
        return loop(self.state, self.feed, evaluate=judge, pictures=self._fetch, stop=stop)

    def go(self) -> Result:
        """Run the loop to its end, handing every event to monitor, checkpoints and bundle."""
        board = TensorBoard(
            self.path / "tensorboard", self.dataset.classes, first_step=self.state.step, notice=self.say
        )
        metrics = MetricsFile(self.path / "metrics.jsonl", first_step=self.state.step)
        monitors: list[Monitor] = [metrics, board, self.console]
        finished: Finished | None = None
        try:
            with Interrupts() as interrupts:
                for event in self.events(interrupts.asked):
                    if isinstance(event, EpochDone):
                        self.last = event.evaluation or self.last
                        if event.best:
                            self._write_bundle(event.evaluation)
                    for monitor in monitors:
                        monitor.handle(event)
                    for handler in self.handlers:
                        handler(event)
                    if isinstance(event, CheckpointDue):
                        self._save(event)
                    elif isinstance(event, Finished):
                        finished = event
        finally:
            for monitor in monitors:
                monitor.close()
        assert finished is not None
        if self.last is None and self.validation is not None and finished.reason != "interrupted":
            # A finished run that was resumed: nothing was left to train, but its result is wanted.
            with self.state.averaged.applied(self.model) if self.state.averaged else contextlib.nullcontext():
                self.last = self._evaluate(self.model)
        if finished.reason != "interrupted" and not (self.config.options.keep_best and finished.best_step):
            self._write_bundle(self.last)
        return Result(Run(self.path), finished.reason, finished.step, finished.seconds, self.last)

    def _save(self, event: CheckpointDue) -> None:
        folder = self.path / "checkpoints"
        checkpoint.save(folder, event.state.facts(), event.state.tensors())
        checkpoint.prune(folder, self.config.options.keep, event.state.best_step)

    def _write_bundle(self, evaluation: Evaluation | None) -> None:
        info = self.dataset.info
        options = self.config.options
        bundle.save(
            self.path / "bundle",
            weights=self.state.weights(),
            architecture=self.architecture,
            preprocess=self.preprocess,
            classes=self.dataset.classes,
            pictures=self._golden(),
            distortions=to_plain(options.distortions),
            policy=self.config.policy,
            dataset={
                "name": info.name,
                "hash": info.hash,
                "counts": {name: split.count for name, split in info.splits.items()},
            },
            metrics={"validation": evaluation.summary()} if evaluation else {},
            training={
                "recipe": options.recipe,
                "step": self.state.step,
                "steps": self.state.steps,
                "seed": options.seed,
                "precision": self.config.precision,
            },
        )

    def _golden(self) -> NDArray[np.uint8]:
        """A few real inputs that every copy and export of the bundle must answer alike."""
        count = len(self.dataset.split("train"))
        return self._fitted(np.linspace(0, count - 1, num=min(4, count)).astype(int).tolist())

    def _fitted(self, positions: Sequence[int]) -> NDArray[np.uint8]:
        """Training pictures at the network's size, undistorted."""
        split, fit = self.dataset.split("train"), self.preprocess
        return np.stack([fit.fit(split.picture(position, at_least=fit.needed)) for position in positions])
