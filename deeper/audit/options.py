"""How the judge is trained, as values. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass

from deeper.errors import UsageError
from deeper.training.optimizers import AdamW
from deeper.training.options import Averaging, Options
from deeper.training.schedules import OneCycle

# To be raised when the networks or their training change.
VERSION = 2
# Pictures that all networks together see: about 50 seconds of NielsenNet on one core with bf16 arithmetic.
PICTURES_SEEN = 240_000
# From so many training pictures on, half of them are enough to learn from.
MANY = 20_000
# Pictures larger than this are judged at a reduced size: the judge must be quick, and may be weak, which it says.
LARGEST_SIDE, REDUCED_SIDE = 40, 48


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """What may be chosen of the judge; the defaults are fixed so that judges can be compared."""

    folds: int | None = None
    """Parts of the training split, each judged by networks that did not train on it; None: 2 from 20,000 pictures on,
    else 5."""
    seeds: int = 1
    """Networks per fold."""
    epochs: float | None = None
    """Passes over a network's pictures; None: so many that all networks together see 240,000, at most 30."""
    size: int | None = None
    """Side of the judge's input in pixels; None: that of the pictures up to 40, else 48."""
    seed: int = 0

    def __post_init__(self) -> None:
        checks: tuple[tuple[bool, str, object], ...] = (
            (self.folds is None or self.folds >= 2, "folds must be at least 2", self.folds),
            (self.seeds >= 1, "seeds must be at least 1", self.seeds),
            (self.epochs is None or self.epochs > 0, "epochs must be above 0", self.epochs),
            (self.size is None or 12 <= self.size <= 128, "size must be from 12 to 128", self.size),
            (0 <= self.seed < 2**63, "seed must be in [0, 2^63)", self.seed),
        )
        for holds, wanted, given in checks:
            if not holds:
                raise UsageError(f"judge: {wanted}, got {given}")


def way_of_training() -> tuple[int, ...]:
    """What besides dataset and options makes a judge what it is; part of the key it is kept by."""
    return VERSION, PICTURES_SEEN


def folds_for(options: JudgeOptions, pictures: int) -> int:
    """The number of folds for a training split of so many pictures."""
    return options.folds or (2 if pictures >= MANY else 5)


def training_options(options: JudgeOptions, pictures: int, networks: int, seed: int) -> Options:
    """How one of the judge's `networks` trains on `pictures`: no distortion of any kind."""
    # Small sets need enough steps, large ones large batches.
    batch = next((size for size in (256, 128, 64) if pictures >= 64 * size), 32)
    epochs = options.epochs or min(30.0, PICTURES_SEEN / (networks * max(1, pictures)))
    return Options(
        recipe="judge",
        epochs=epochs,
        batch=min(batch, max(1, pictures)),
        optimizer=AdamW(rate=0.003, beta2=0.99, weight_decay=0.01),
        schedule=OneCycle(peak_at=0.2),
        averaging=Averaging(decay=0.99, every=2),
        distortions=(),
        detail_every=10**9,
        report_every=10**9,
        validate_every=10**9,
        checkpoint_every=10**9,
        seed=seed,
    )
