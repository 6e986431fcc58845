"""Everything that decides a training run, in one frozen value: what a recipe sets and `config.toml` stores."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from deeper.distortions import AnyDistortion
from deeper.errors import UsageError
from deeper.training.optimizers import AdamW, AnyOptimizer
from deeper.training.schedules import AnySchedule, OneCycle
from deeper.training.stages import Stage, check_shares


class _Nothing:
    def __repr__(self) -> str:
        return "null"


NOTHING = _Nothing()
"""Given for an option, takes away what the recipe sets. None, there, is an option that was not given."""


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """An exponential average of the weights, which is what is evaluated and kept.

    The effective decay warms up as TensorFlow's `num_updates` does, min(decay, (1 + n) / (10 + n)), so that the first
    random weights are forgotten. Batch-norm statistics are averaged too. The decay is
    per step, whatever `every` is.
    """

    decay: float = 0.999
    """Share of the average that one step keeps, in (0, 1)."""
    every: int = 4
    """Steps between two updates."""

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1 or self.every < 1:
            raise UsageError(
                f"averaging: decay must be in (0, 1) and every at least 1, got {self.decay} and {self.every}"
            )


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How weights that were trained before are trained on. The defaults train every layer alike from the first step.

    What is frozen stays as it is to the bit, batch norm's running statistics included, and computes as in evaluation.
    """

    freeze_epochs: float | None = None
    """For so many epochs at first only the head trains: the last layer and auxiliary heads. None: see freeze_share."""
    freeze_share: float = 0.0
    """The same as a share of the training, for recipes; freeze_epochs decides where it is given."""
    freeze_until: str | None = None
    """Layers before this endpoint (such as Mixed_6a; `deeper models NAME` lists them) stay frozen to the end."""
    layer_decay: float = 1.0
    """The rate is multiplied by this for each block between a layer and the head, in (0, 1]; 1: one rate for all."""
    batch_norm: Literal["train", "frozen_statistics", "frozen"] = "train"
    """`frozen_statistics`: batch norm normalises by the running statistics that were loaded and never moves them;
    `frozen`: its scale and shift do not train either. `train`: by each batch's, as in any training."""

    def __post_init__(self) -> None:
        if self.freeze_epochs is not None and not 0 <= self.freeze_epochs < math.inf:
            raise UsageError(f"freeze_epochs must be finite and not negative, got {self.freeze_epochs}")
        if not 0 <= self.freeze_share <= 1:
            raise UsageError(f"freeze_share must be in [0, 1], got {self.freeze_share}")
        if not 0 < self.layer_decay <= 1:
            raise UsageError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}")


def thawed(options: FineTuning) -> FineTuning:
    """The same without the steps at the beginning that train the head alone."""
    return replace(options, freeze_epochs=None, freeze_share=0.0)


@dataclass(frozen=True, kw_only=True)
class Options:
    """A training run. Defaults suit a small network; recipes set what they reach results with."""

    recipe: str = "custom"
    """The recipe these options started from, for the record."""
    model: str = "nielsen"
    """A built-in network or the import path of your own, `package.module:Class`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments for the network, for example `{"dropout": 0.4}`."""
    weights: str | None = None
    """Begin with these weights instead of random ones: a file of torch, safetensors, Keras or TF-Slim, a published name
    such as `torchvision/inception_v3`, or the folder of a run or bundle."""
    height: int | None = None
    """Input height in pixels; the network's native size when None."""
    width: int | None = None
    """Input width, likewise."""
    fit: Literal["crop", "letterbox", "squash"] = "crop"
    """How a picture of another shape becomes the input: centre crop, padded whole, or squashed whole."""
    crop: float = 1.0
    """Central share of each side that evaluations keep (0.875 in research/inception). Training sees whole pictures then:
    meant beside a distortion that cuts parts out."""
    mean: tuple[float, ...] | None = None
    """What is taken off pixels on the 0..1 scale, a list of one number for each channel or of one for all
    (`[0.5]`); the dataset's own when None."""
    deviation: tuple[float, ...] | None = None
    """What they are divided by then, likewise. With mean 0.5, deviation 0.5 scales to −1..1."""
    store: float = 1.0
    """Pictures are kept at this multiple of the input size until they are distorted (1.15 leaves room for crops)."""
    stages: tuple[Stage, ...] = ()
    """Progressive resizing: picture sizes to train at one after the other, the last of which is the input's. Without
    any, all training is at the input's size."""
    epochs: float = 6.0
    """Passes over the training pictures; a fraction is allowed."""
    least_steps: int = 0
    """A recipe's epochs are raised on small datasets until they make so many steps, and its batch halved until an epoch
    makes twenty; neither where you give --epochs, --minutes or --batch yourself."""
    minutes: float | None = None
    """Instead of epochs: time the first steps, then fix the number of steps that fit."""
    batch: int = 256
    """Pictures in one step."""
    optimizer: AnyOptimizer = field(default_factory=AdamW)
    """What a step makes of the gradient, and the peak rate."""
    schedule: AnySchedule = field(default_factory=OneCycle)
    """How the rate goes over the training."""
    averaging: Averaging | None = None
    """An average of the weights that is judged and kept in the place of the last ones; None: no average."""
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    """How layers that begin with somebody's weights are trained on."""
    recalibrate: Literal["auto", "always", "never"] = "auto"
    """Whether batch norm's running statistics are measured anew at the end, and kept if validation is not worse. `auto`:
    where evaluation would differ from training because they are off, and where picture sizes changed on the way."""
    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes, in [0, 1)."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: each class weighs the same in the loss, however many pictures it has."""
    auxiliary_weight: float = 0.4
    """Weight of each auxiliary head's loss (0.4 in research/inception and slim)."""
    clip_norm: float | None = None
    """Largest allowed norm of the whole gradient; None: no clipping."""
    distortions: tuple[AnyDistortion, ...] = ()
    """What happens to training pictures. Nothing flips unless a flip stands here."""
    fill: Literal["zeros", "border", "reflect"] = "border"
    """What lies outside a picture that is rotated or moved."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 where the processor or GPU has bf16 arithmetic, fp32 elsewhere."""
    compile: bool = False
    """Train by torch.compile, which takes minutes to begin, for each picture size; meant for GPUs."""
    validate_every: float = 1.0
    """Epochs between two validations."""
    early_stopping: int | None = None
    """Stop after this many validations without a better one and, unless keep_best is given, finish with the best weights;
    None: run to the end."""
    keep_best: bool = False
    """Finish with the weights that validated best rather than with the last ones."""
    checkpoint_every: float = 1.0
    """Epochs between two checkpoints. Where that takes longer than ten minutes, one is written every ten minutes too; where
    they would take more than a fiftieth of the time, fewer are. Weights that validate best are written in any case."""
    keep: int = 2
    """How many of the last checkpoints stay; the best one stays besides."""
    report_every: int = 50
    """Steps between two reports of loss and accuracy."""
    detail_every: int = 500
    """Steps between two records of histograms, activations and distorted pictures."""
    seed: int = 0
    """Decides initial weights, order, distortions and dropout; in [0, 2^63)."""

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self)):
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{name} must be a finite number, got {value}")
        checks: tuple[tuple[bool, str, object], ...] = (
            (self.epochs > 0, "epochs must be above 0", self.epochs),
            (self.minutes is None or self.minutes > 0, "minutes must be above 0", self.minutes),
            (self.least_steps >= 0, "least_steps must not be negative", self.least_steps),
            (self.batch >= 1, "batch must be at least 1", self.batch),
            (0 < self.crop <= 1, "crop must be above 0 and at most 1", self.crop),
            (self.store >= 1, "store must be at least 1", self.store),
            (0 <= self.label_smoothing < 1, "label_smoothing must be in [0, 1)", self.label_smoothing),
            (self.auxiliary_weight >= 0, "auxiliary_weight must not be negative", self.auxiliary_weight),
            (self.clip_norm is None or self.clip_norm > 0, "clip_norm must be above 0", self.clip_norm),
            (self.validate_every > 0, "validate_every must be above 0", self.validate_every),
            (self.checkpoint_every > 0, "checkpoint_every must be above 0", self.checkpoint_every),
            (
                self.early_stopping is None or self.early_stopping >= 1,
                "early_stopping must be at least 1",
                self.early_stopping,
            ),
            (self.keep >= 1, "keep must be at least 1", self.keep),
            (self.report_every >= 1, "report_every must be at least 1", self.report_every),
            (self.detail_every >= 1, "detail_every must be at least 1", self.detail_every),
            (0 <= self.seed < 2**63, "seed must be in [0, 2^63)", self.seed),
            (self.height is None or self.height >= 1, "height must be at least 1", self.height),
            (self.width is None or self.width >= 1, "width must be at least 1", self.width),
        )
        for holds, wanted, given in checks:
            if not holds:
                raise UsageError(f"{wanted}, got {given}")
        check_shares(self.stages)
        names = [distortion.name for distortion in self.distortions]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UsageError(f"distortion {sorted(twice)[0]!r} stands twice in the recipe: keep one")
