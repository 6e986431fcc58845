"""A run's bundle: written at each best validation, and at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeper import bundle, checkpoint
from deeper.errors import RunError
from deeper.evaluation import Evaluation
from deeper.evaluation.calibration import fitted_temperature, unfamiliar_below, unsure_below
from deeper.images import Appearance, Preprocess
from deeper.inference import softmax
from deeper.models.architecture import Architecture
from deeper.records import Dataset
from deeper.runs.folder import Config
from deeper.training.course import Course
from deeper.values import to_plain

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Training pictures whose appearance is measured, for the bundle.
SEEN = 500


def _threshold(evaluation: Evaluation) -> float:
    """Below which probability, after the fitted temperature, an answer is called unsure."""
    temperature = fitted_temperature(evaluation.logits, evaluation.labels)
    confidence = softmax(evaluation.logits / np.float32(temperature)).max(axis=1)
    return unsure_below(confidence, evaluation.right)


class Artefact:
    """What a run's bundle at `path` always holds, whichever weights are written into it."""

    def __init__(
        self, path: Path, config: Config, dataset: Dataset, preprocess: Preprocess, architecture: Architecture
    ) -> None:
        self.path, self.config, self.dataset = path, config, dataset
        self.preprocess, self.architecture = preprocess, architecture

    def weights_of(self, best: int) -> Mapping[str, Tensor]:
        """The best weights, of the checkpoint of that step, or of the bundle where it is lost. Raises: BundleError."""
        try:
            return checkpoint.weights(self.path.parent / "checkpoints", best)
        except RunError:
            model = self.architecture.model
            return bundle.load(self.path, model=model if ":" in model else None).model.state_dict()

    def write(
        self,
        weights: Mapping[str, Tensor],
        evaluation: Evaluation | None,
        *,
        step: int,
        course: Course,
        batch_norm: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace the bundle. `evaluation`: of these weights on the validation pictures. `batch_norm`: what the check
        at the end of the training found. Raises: StorageError, BundleError."""
        info, options = self.dataset.info, self.config.options
        bundle.save(
            self.path,
            weights=weights,
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
            temperature=fitted_temperature(evaluation.logits, evaluation.labels) if evaluation else None,
            threshold=_threshold(evaluation) if evaluation else None,
            familiarity=unfamiliar_below(evaluation.logits, evaluation.right) if evaluation else None,
            appearance=self._appearance,
            metrics={"validation": evaluation.summary()} if evaluation else {},
            training={
                "recipe": options.recipe,
                "step": step,
                "steps": course.steps,
                "seed": options.seed,
                "precision": self.config.precision,
                "stages": [
                    {
                        "height": leg.height,
                        "width": leg.width,
                        "batch": leg.batch,
                        "steps": leg.last - leg.first,
                        **({} if leg.hardest is None else {"hardest": leg.hardest}),
                    }
                    for leg in course.legs
                ],
                "batch_norm": batch_norm,
            },
        )

    @cached_property
    def _appearance(self) -> Appearance:
        """Of the training pictures, from a sample of them."""
        count = len(self.dataset.split("train"))
        return Appearance.of(self.fitted(np.unique(np.linspace(0, count - 1, num=SEEN).astype(int)).tolist()))

    def _golden(self) -> NDArray[np.uint8]:
        """A few real inputs that every copy and export of the bundle must answer alike."""
        count = len(self.dataset.split("train"))
        return self.fitted(np.linspace(0, count - 1, num=min(4, count)).astype(int).tolist())

    def fitted(self, positions: Sequence[int]) -> NDArray[np.uint8]:
        """Training pictures at the network's size, undistorted."""
        split, fit = self.dataset.split("train"), self.preprocess
        return np.stack([fit.fit(split.picture(position, at_least=fit.needed)) for position in positions])
