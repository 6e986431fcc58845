"""A run under way: pictures, network and state; its events handed to monitors, checkpoints and bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from deeper import checkpoint, draws, files
from deeper.batches import Pictures, Selected, in_order
from deeper.distortions import Policy
from deeper.distortions.apply import Distorter
from deeper.errors import RunError
from deeper.evaluation import Evaluation, evaluate
from deeper.inference import Normalise, predictor
from deeper.inference.shortage import is_shortage
from deeper.models import create
from deeper.models.batch_norm import layers_of
from deeper.models.tensors import holding
from deeper.monitor import Console
from deeper.records import Dataset
from deeper.runs import estimate
from deeper.runs.artefact import Artefact
from deeper.runs.folder import Config, PictureFacts, Run, write_config
from deeper.runs.initial import begin, reopened
from deeper.runs.interrupts import Interrupts
from deeper.runs.machine import prepared
from deeper.runs.origin import Origin
from deeper.runs.pictures import Opener, at_size, evaluation_batch, open_both
from deeper.runs.plan import architecture_of, preprocess_of, stages_of
from deeper.runs.recalibration import Settled, pictures_forward, settle, sure
from deeper.runs.restoring import restore, training_facts
from deeper.runs.result import Handler, Result
from deeper.runs.watching import watching
from deeper.training.budget import steps_within
from deeper.training.course import Course, Sized, describe_stages, steps_of
from deeper.training.events import BatchNormChecked, CheckpointDue, EpochDone, Event, Finished, Notice
from deeper.training.headroom import shortage
from deeper.training.loop import train as loop
from deeper.training.memory import keep_memory
from deeper.training.resident import resident
from deeper.training.state import State
from deeper.training.stepping import Feed

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of the minutes that the user gives, this share goes to steps and validations; the rest to starting and saving.
USABLE_SHARE = 0.97
# Of the minutes given: seconds after which timing a stage's first steps ends, and pictures that validation is timed on.
TIMING_LIMIT, TIMED_PICTURES = 9.0, 200
# Of the time of a validation, picture by picture, what batch norm's checks take.
CHECKING = 1.5
# Steps that are timed, and steps before them that are not, for the estimate of a run counted in epochs.
ESTIMATE_STEPS = (3, 2)


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
        begun: bool = False,
    ) -> None:
        self.path, self.config, self.dataset, self.workers, self.console = path, config, dataset, workers, console
        self.handlers = list(handlers)
        began = time.perf_counter()
        options = config.options
        keep_memory()
        pictures = PictureFacts.of(dataset)
        self.preprocess = preprocess_of(config, pictures)
        self.architecture = architecture_of(config, pictures)
        self.artefact = Artefact(path / "bundle", config, dataset, self.preprocess, self.architecture)
        # The initial weights are a function of the seed alone.
        with torch.random.fork_rng([]):
            torch.manual_seed(draws.derive(options.seed, 0, "weights"))
            model = create(self.architecture)
        # Where a checkpoint is, it has them; `begun`: where the caller has.
        if config.weights is not None and not (begun or checkpoint.steps(path / "checkpoints")):
            self._begin_with(model, config.weights)
        self.machine = prepared(model, config.device, self.say)
        self.model = model.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.training, self.validation = self._pictures()
        self.feed = Feed(
            pictures=self.training,
            distorter=Distorter(
                options.distortions,
                seed=options.seed,
                size=(config.height, config.width),
                classes=dataset.classes,
                policy=Policy.from_plain(config.policy) if config.policy else None,
                fill=options.fill,
            ),
            normalise=Normalise(self.preprocess).to(config.device),
            sample=self._sample(),
            classes=len(dataset.classes),
            precision=config.precision,
            resident=resident(self.training, config.device),
            notice=self.say,
        )
        self.size = (config.height, config.width)
        self.stages = stages_of(config)
        self.state = State(self.model, options, steps=config.steps, device=config.device)
        if config.counts:
            self._set_course(config.counts)
        self.last: Evaluation | None = None
        self.best: Evaluation | None = None
        # Of the last weights, once it is known.
        self.settled: Settled | None = None
        self.opening = time.perf_counter() - began

    def _begin_with(self, model: nn.Module, origin: Origin) -> None:
        """Load the weights that the run begins with; a new last layer keeps the seed's."""
        initial = reopened(origin, self.config.options.weights or origin.name, self.architecture.model)
        channels = self.architecture.channels
        fitted = begin(model, initial, self.dataset.classes, channels)
        self.say(fitted.describe(initial.weights, len(self.dataset.classes), channels))

    def say(self, text: str) -> None:
        """Show one line."""
        self.console.handle(Notice(text=text))

    def _pictures(self) -> tuple[Pictures, Pictures | None]:
        """Training pictures at store size and validation pictures at the network's size."""
        config = self.config
        progress, whole = self.console.progress("decoding"), self.preprocess.crop < 1
        opener = Opener(self.dataset, self.preprocess, workers=self.workers, progress=progress, whole=whole)
        training, validation = open_both(opener, config.options.store, config.fold, config.share)
        if config.fold is None:
            self.say(f"training on {training.kind}")
            if validation is None:
                self.say("no validation split: the last weights are kept, unjudged")
        return training, validation

    def _sample(self) -> torch.Tensor:
        return torch.from_numpy(self.preprocess.normalise(self.artefact.fitted([0]))).to(self.config.device)

    def begin(self) -> None:
        """Fix the number of steps of each stage, say what it will cost, write `config.toml`."""
        options, stages, pictures = self.config.options, self.stages, len(self.training)
        began = time.perf_counter()
        if layers_of(self.model):
            self.say(estimate.timing(stages))
        self.state.steps = max(1, pictures // options.batch)  # a schedule needs a length while steps are timed
        # Fixed already where a run is trained again, or is one of a series.
        counts = self.config.counts or steps_of(stages, epochs=options.epochs, pictures=pictures)
        if options.minutes is None or self.config.counts:
            few = sum(counts) <= sum(ESTIMATE_STEPS)  # not worth telling their time; one is tried, for it may fail
            steps = (1, 0) if few else ESTIMATE_STEPS
            pace = estimate.measured_pace(self.state, self.feed, stages, *steps)
            expected = 0.0 if few else estimate.seconds_of_training(stages, counts, pace, pictures)
        else:
            pace = estimate.measured_pace(self.state, self.feed, stages, limit=TIMING_LIMIT)
            judging = estimate.measured_once(lambda stage: self._seconds_per_validation(stage.size), stages)
            expected = options.minutes * 60
            # What is measured here is a part of the training's time, and so is what comes after the last step.
            spent = (
                self.opening + time.perf_counter() - began + estimate.seconds_of_choosing(stages, pace.each, pictures)
            )
            last = judging[-1] + self._seconds_of_checks(pace.each[-1] / stages[-1].batch, judging[-1])
            usable = expected * USABLE_SHARE - min(spent, expected / 3) - min(last, expected / 3)
            counts = steps_within(
                stages,
                seconds=usable,
                pace=pace,
                judging=judging,
                validate_every=options.validate_every,
                pictures=pictures,
            )
            if usable < expected / 2:
                self.say(estimate.cramped(options.minutes, usable / expected, sum(counts)))
        if (
            layers_of(self.model)
            and not self.config.weights
            and (warning := estimate.few_steps(options.minutes, sum(counts)))
        ):
            self.say(warning)
        self.say(estimate.estimate(self.state, stages, counts, pictures=pictures, seconds=expected))
        if len(stages) > 1:
            self.say(describe_stages(stages, counts, pace.per_step(Course(stages, counts, pictures=pictures))))
        stage_steps = counts if len(stages) > 1 else ()
        self.config = replace(self.config, steps=sum(counts), stage_steps=stage_steps, machine=self.machine)
        self._set_course(counts)
        with files.storage(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_config(self.path, self.config)

    def _set_course(self, counts: Sequence[int]) -> None:
        if len(counts) != len(self.stages):
            raise RunError(
                f"config.toml has {len(self.stages)} stages and steps for {len(counts)}; put the old config.toml back, or train "
                "again into a new folder"
            )
        course = Course(self.stages, counts, pictures=len(self.training))
        self.feed = replace(self.feed, course=course)
        self.state.steps = course.steps

    def _seconds_per_validation(self, size: tuple[int, int]) -> float:
        """From the first pictures of the split, after a batch that prepares for the size."""
        if self.validation is None:
            return 0.0
        batch = evaluation_batch(*size)
        count = len(self.validation)
        timed = np.arange(min(count, max(batch, TIMED_PICTURES)))
        self._evaluate(self.model, size, timed[:batch])
        began = time.perf_counter()
        self._evaluate(self.model, size, timed)
        return (time.perf_counter() - began) * count / len(timed)

    def _seconds_of_checks(self, per_picture: float, judging: float) -> float:
        """Of batch norm's at the end. `per_picture`: seconds of a training step there; `judging`: of a validation."""
        if not layers_of(self.model, self.state.freezing.by_batch()):
            return 0.0
        staged = len({stage.size for stage in self.stages}) > 1
        judged = len(self.validation) if self.validation is not None else 0
        count = pictures_forward(self.config.options, staged=staged, judged=judged, training=len(self.training))
        return count * max(per_picture / 3, CHECKING * judging / max(1, judged))

    def _norms(self, step: int) -> tuple[str, ...]:
        """The batch-norm layers that trained on batches until `step`."""
        freezing = self.state.freezing
        return freezing.by_batch(head_only=step <= freezing.frozen_steps(self.feed.course_of(self.state)))

    def restore(self, run: Run) -> None:
        """Load the newest checkpoint that can be read; without any, begin at step 0. Raises: RunError."""
        restore(self.state, run, self.config, self.say)

    def _evaluate(
        self, model: nn.Module, size: tuple[int, int], positions: NDArray[np.int64] | None = None
    ) -> Evaluation:
        """On the validation pictures, or some of them, at the run's input size or a stage's."""
        assert self.validation is not None
        fit, pictures, batch = self.preprocess.at(*size), self.validation, evaluation_batch(*size)
        if fit != self.preprocess:
            pictures = at_size(pictures, fit)
        if positions is not None:
            pictures = Selected(pictures, positions)
        predict = predictor(model, fit, device=self.config.device, precision=self.config.precision, batch=batch)
        return evaluate(predict, in_order(pictures, batch), self.dataset.classes)

    def _judge(self, model: nn.Module, size: tuple[int, int]) -> Evaluation:
        """As the loop asks for it. Where statistics will be measured anew whatever is found, that is done before the
        last validation: at full size one more would cost minutes. Not where the best is kept: its rivals were judged
        as they were."""
        options = self.config.options
        if self.state.step == self.state.steps and sure(self.feed, options) and not options.keep_best:
            self.settled = self._settle(self._norms(self.state.step), None)
            if self.settled is not None and self.settled.evaluation is not None:
                return self.settled.evaluation
        return self._evaluate(model, size)

    def _settle(self, layers: Sequence[str], before: Evaluation | None) -> Settled | None:
        """Check the batch norm of the weights that the model holds now; `before`: their evaluation, where known."""
        return settle(
            self.model,
            self.feed,
            self.config.options,
            layers,
            validation=self.validation,
            evaluate=lambda model: self._evaluate(model, self.size),
            before=before,
            say=self.say,
        )

    def _fetch(self, positions: Sequence[int]) -> NDArray[np.uint8]:
        assert self.validation is not None
        return self.validation.take(np.asarray(positions, np.int64))

    def events(self, stop: Callable[[], bool]) -> Generator[Event]:
        judge = self._judge if self.validation is not None else None
        try:
            yield from loop(self.state, self.feed, evaluate=judge, pictures=self._fetch, stop=stop)
            return
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
        leg = self.feed.course_of(self.state).leg(self.state.step)
        stage = Sized(height=leg.height, width=leg.width, batch=leg.batch, share=1.0)
        raise shortage(self.state, self.feed, stage, begun=True)

    def go(self) -> Result:
        """Run the loop to its end, handing every event to monitor, checkpoints and bundle."""
        for folder in (self.path, self.path / "checkpoints"):
            files.remove_leftovers(folder)
        finished: Finished | None = None
        settled: Settled | None = None
        with (
            watching(self.path, self.dataset.classes, self.console, self.state.step, self.say) as monitors,
            Interrupts() as interrupts,
        ):

            def tell(event: Event) -> None:
                for monitor in monitors:
                    monitor.handle(event)
                for handler in self.handlers:
                    handler(event)

            with closing(self.events(interrupts.asked)) as events:
                for event in events:
                    if isinstance(event, EpochDone):
                        self.last = event.evaluation or self.last
                        if event.best:
                            self.best = event.evaluation
                            self._write_bundle(event.evaluation, self.state.weights())
                    elif isinstance(event, Finished):
                        finished = event
                        if event.reason != "interrupted" and (settled := self._finish(event)) is not None:
                            tell(BatchNormChecked(step=event.step, found=settled.to_plain()))
                    tell(event)
                    if isinstance(event, CheckpointDue):
                        self._save(event)
        assert finished is not None
        if finished.reason == "done" and (overrun := estimate.late(self.config, finished.seconds)):
            self.say(overrun)
        return Result(
            Run(self.path),
            finished.reason,
            finished.step,
            finished.seconds,
            self.last,
            settled.to_plain() if settled else None,
        )

    def _finish(self, finished: Finished) -> Settled | None:
        """Write the last bundle, its batch norm checked: of the last weights, or of the best where those are kept."""
        best = finished.best_step if self.config.options.keep_best else None
        layers = self._norms(self.state.step if best is None else best)
        weights, evaluation, settled = self.state.weights(), self.last, self.settled
        if layers and best is not None and best != self.state.step:
            try:
                weights, evaluation = checkpoint.weights(self.path / "checkpoints", best), None
            except RunError as error:
                self.say(f"{str(error).partition('; ')[0]}; the bundle keeps the best weights as they were")
                layers = ()
        if layers and settled is None:
            with holding(self.model, weights):
                settled = self._settle(layers, evaluation)
        if settled is None and best is not None:
            self._judge_best(best)
            return None  # their bundle was written when they were the best
        if settled is None:
            self._judge_last()
        else:
            self.last = settled.evaluation
        evaluation = self.last
        if settled is not None and settled.kept:
            weights = {**weights, **settled.statistics}
        self._write_bundle(evaluation, weights, settled, step=best)
        return settled

    def _judge_best(self, step: int) -> None:
        """What the bundle holds is the result, not the weights that the run ended with."""
        if self.best is None and self.validation is not None:
            with holding(self.model, self.artefact.weights_of(step)):
                self.best = self._evaluate(self.model, self.size)
        self.last = self.best or self.last
        self._judge_last()

    def _judge_last(self) -> None:
        """Of a finished run that was resumed: nothing was left to train, but its result is wanted."""
        if self.last is None and self.validation is not None:
            with holding(self.model, self.state.weights()):
                self.last = self._evaluate(self.model, self.size)

    def _save(self, event: CheckpointDue) -> None:
        folder = self.path / "checkpoints"
        facts = {**event.state.facts(), "training": training_facts(self.config)}
        checkpoint.save(folder, facts, event.state.tensors())
        checkpoint.prune(folder, self.config.options.keep, event.state.best_step, saved=event.step)

    def _write_bundle(
        self,
        evaluation: Evaluation | None,
        weights: Mapping[str, torch.Tensor],
        settled: Settled | None = None,
        step: int | None = None,
    ) -> None:
        self.artefact.write(
            weights,
            evaluation,
            step=self.state.step if step is None else step,
            course=self.feed.course_of(self.state),
            batch_norm=settled.to_plain() if settled else None,
        )
