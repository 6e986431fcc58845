"""Events → TensorBoard's event files.

    loss/*  accuracy/*  learning_rate  images_per_second            at every report and validation
    picture_height                                                  in pixels, which progressive resizing changes
    weights/*  biases/*  batch_norm/*  gradients/*                  histograms of a step, every `detail_every` steps
    activations/*  sparsity/*                                       the same step's layers, and their share of zeros
    pictures/training                                               that step's pictures as the model sees them
    confusion  precision_recall/*  pictures/misclassified           after a validation
    graph, config, hparams                                          once, at the start
    projector                                                       once, at the end

`step` is the number of steps done, so the details of the step that is under way bear the number it will have. What
takes long has a budget of the training's time each, and is left out while it is overdrawn; its last state is always
written at the end. A piece that fails is given up with one notice: monitoring never stops a training.
"""

from __future__ import annotations

import logging
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeper import files
from deeper.distortions.apply import as_bytes
from deeper.errors import printable
from deeper.training.events import (
    CheckpointDue,
    DetailDone,
    EpochDone,
    Event,
    Finished,
    Started,
    StepDone,
)
from deeper.values import to_plain

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Share of the training's time that each costly piece may take.
SHARES = {"details": 0.02, "confusion": 0.01, "curves": 0.005, "misclassified": 0.005}
# Pictures on the sheet of a step.
TRAINING_PICTURES = 30


def use_stub_of_tensorflow() -> None:
    """Keep TensorBoard from importing TensorFlow where it is installed: seconds of start, and of no use here.

    `tensorboard.compat` asks for a module of this name before it looks for TensorFlow.
    """
    name = "tensorboard.compat.notf"
    if name not in sys.modules and "tensorflow" not in sys.modules:
        sys.modules[name] = types.ModuleType(name)


class Budget:
    """Whether a piece may take time now: what it has taken so far must be within its share of the time that passed."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.spent = 0.0
        self.began = time.perf_counter()

    def allows(self) -> bool:
        return self.spent <= self.share * (time.perf_counter() - self.began)


def hyperparameters(started: Started) -> dict[str, str | float | int | bool]:
    """The options as TensorBoard's table takes them: flat, dotted names, lists as text."""
    flat: dict[str, str | float | int | bool] = {}

    def add(prefix: str, plain: Any) -> None:
        if isinstance(plain, Mapping):
            for key, value in plain.items():
                add(f"{prefix}.{key}" if prefix else str(key), value)
        elif isinstance(plain, list):
            names = [str(item.get("name", item)) if isinstance(item, Mapping) else str(item) for item in plain]
            flat[prefix] = ", ".join(names) or "none"
        elif plain is not None:
            flat[prefix] = plain

    add("", to_plain(started.options))
    return {**flat, "steps": started.steps, "precision": started.precision, "device": started.device}


class TensorBoard:
    """Writes event files into `folder`.

    `classes`: names by index. `first_step`: the step that the run goes on from; what an earlier, killed process wrote
    beyond it is hidden by TensorBoard. `notice`: called with one line when a piece had to be given up.

    Raises: StorageError, when `folder` cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        classes: Sequence[str],
        *,
        first_step: int = 0,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        use_stub_of_tensorflow()
        from deeper.monitor.event_file import open_writer

        self.folder, self.classes = Path(folder), tuple(classes)
        self._notice = notice or logging.getLogger("deeper").warning
        with files.storage(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            others = any(self.folder.glob("events.out.tfevents.*"))
            self._fresh = first_step == 0 or not others
            purge = first_step + 1 if first_step else 0
            self._writer: SummaryWriter | None
            self._writer, self._file = open_writer(self.folder, purge if others else None)
        self._budgets = {name: Budget(share) for name, share in SHARES.items()}
        self._given_up: set[str] = set()
        self._validated: EpochDone | None = None
        self._drawn: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        """Time spent in each piece so far, for whoever measures."""

    @property
    def writer(self) -> SummaryWriter:
        assert self._writer is not None, "closed"
        return self._writer

    def handle(self, event: Event) -> None:
        """Write what the event says. Never raises."""
        if self._writer is None or self._is_lost():
            return
        match event:
            case Started():
                for budget in self._budgets.values():
                    budget.began = time.perf_counter()
                if self._fresh:
                    self._piece("config", lambda: self._config(event))
                    self._piece("hparams", lambda: self._hparams(event))
                    self._piece("graph", lambda: self._graph(event))
            case StepDone():
                self._piece("scalars", lambda: self._step(event))
            case DetailDone():
                if self._budgets["details"].allows():
                    self._piece("details", lambda: self._details(event))
            case EpochDone():
                self._epoch(event)
            case CheckpointDue():
                # What a resumed run will not write again must be in the file before the checkpoint is.
                self._piece("scalars", self.writer.flush)
            case Finished():
                self._finish(event)

    def _is_lost(self) -> bool:
        """Whether the file can no longer be written; said once."""
        error = self._file.error
        if error is not None and "file" not in self._given_up:
            self._given_up.add("file")
            what = printable(error.strerror or error, 160)
            self._notice(f"TensorBoard's events can no longer be written ({what}); the training is not affected")
        return error is not None

    def _piece(self, name: str, work: Callable[[], None]) -> None:
        """Do one piece of work, timed, on its budget; give the piece up when it fails."""
        if name in self._given_up:
            return
        began = time.perf_counter()
        try:
            work()
        except Exception as error:
            self._given_up.add(name)
            what = printable(" ".join(str(error).split()) or type(error).__name__, 160)
            self._notice(f"TensorBoard goes without {name} from here on ({what}); the training is not affected")
        spent = time.perf_counter() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + spent
        if name in self._budgets:
            self._budgets[name].spent += spent

    # At the start

    def _config(self, event: Started) -> None:
        import tomli_w

        text = tomli_w.dumps(to_plain(event.options))
        facts = f"{event.steps:,} steps, {event.steps_per_epoch:,} per epoch, {event.precision} on {event.device}"
        # Indented by four: a block of code, whatever it contains.
        self.writer.add_text("config", f"{facts}\n\n" + "\n".join(f"    {line}" for line in text.splitlines()), 0)

    def _hparams(self, event: Started) -> None:
        from torch.utils.tensorboard.summary import hparams

        results = {"accuracy/validation": 0.0, "loss/total": 0.0}
        chosen = hyperparameters(event)
        # The page complains about a text without a list of its possible values.
        texts = {name: [value] for name, value in chosen.items() if isinstance(value, str)}
        experiment, start, _ = hparams(chosen, results, texts)  # type: ignore[no-untyped-call]
        self._summary(experiment)
        self._summary(start)

    def _summary(self, summary: Any) -> None:
        self.writer._get_file_writer().add_summary(summary, 0)  # type: ignore[no-untyped-call]

    def _graph(self, event: Started) -> None:
        from deeper.monitor.graph import write_graph

        write_graph(self.writer, event.model, event.sample)

    # While it trains

    def _step(self, event: StepDone) -> None:
        scalars = {
            "loss/total": event.loss,
            **{f"loss/{name}": value for name, value in event.parts.items()},
            "accuracy/train": event.accuracy,
            "learning_rate": event.learning_rate,
            "images_per_second": event.images_per_second,
            "picture_height": float(event.size[0]),
        }
        for tag, value in scalars.items():
            self.writer.add_scalar(tag, value, event.step)

    def _details(self, event: DetailDone) -> None:
        from deeper.monitor.activations import watched
        from deeper.monitor.histograms import histograms, parameter_tensors

        activations, shares = watched(event)
        step = event.step + 1
        for tag, histogram in histograms({**dict(parameter_tensors(event.model)), **activations}).items():
            self.writer.add_histogram_raw(
                tag,
                min=histogram.minimum,
                max=histogram.maximum,
                num=histogram.count,
                sum=histogram.total,
                sum_squares=histogram.squares,
                bucket_limits=histogram.limits,
                bucket_counts=histogram.counts,
                global_step=step,
            )
        for tag, share in shares.items():
            self.writer.add_scalar(tag, share, step)
        self._training_pictures(event, step)

    def _training_pictures(self, event: DetailDone, step: int) -> None:
        from deeper.monitor.grids import sheet

        pictures = as_bytes(event.images[:TRAINING_PICTURES].float())
        captions = [(self._class(label),) for label in event.labels[: len(pictures)].tolist()]
        title = (f"step {step:,}: training pictures", "as the network sees them")
        self._image("pictures/training", sheet(pictures, captions, title=title), step)

    def _class(self, index: int) -> str:
        return self.classes[index] if 0 <= index < len(self.classes) else str(index)

    def _image(self, tag: str, picture: Any, step: int) -> None:
        self.writer.add_image(tag, picture, step, dataformats="HWC")

    # After a validation

    def _epoch(self, event: EpochDone) -> None:
        if event.evaluation is None:
            return
        self._validated = event
        self._piece("scalars", lambda: self._validation(event))
        for name, work in self._after_validation(event).items():
            if self._budgets[name].allows():
                self._piece(name, work)
                self._drawn[name] = event.step

    def _validation(self, event: EpochDone) -> None:
        self.writer.add_scalar("accuracy/validation", event.evaluation.accuracy, event.step)
        self.writer.add_scalar("loss/validation", event.evaluation.negative_log_likelihood, event.step)

    def _after_validation(self, event: EpochDone) -> dict[str, Callable[[], None]]:
        from deeper.monitor import validated

        return {
            "confusion": lambda: validated.write_confusion(self.writer, event),
            "curves": lambda: validated.write_curves(self.writer, event),
            "misclassified": lambda: validated.write_misclassified(self.writer, event),
        }

    # At the end

    def _finish(self, event: Finished) -> None:
        # After an interrupt the user waits for the prompt, and the resumed run will come here again.
        if event.reason != "interrupted":
            if self._validated is not None:
                from deeper.monitor.validated import write_projector

                validated = self._validated
                for name, work in self._after_validation(validated).items():
                    if self._drawn.get(name) != validated.step:
                        self._piece(name, work)
                self._piece("projector", lambda: write_projector(self.folder, validated))
            self._piece("hparams", self._end_session)
        self._piece("scalars", self.writer.flush)

    def _end_session(self) -> None:
        from torch.utils.tensorboard.summary import hparams

        self._summary(hparams({}, {})[2])  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Write what is pending and close; closing again does nothing."""
        writer, self._writer = self._writer, None
        self._validated = None
        if writer is not None:
            try:
                writer.close()
            except Exception as error:
                self._notice(f"TensorBoard's events could not all be written ({printable(error, 160)})")
            self._is_lost()
