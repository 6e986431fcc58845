"""Averaging over several views of a picture, at the price of as many passes.

A view is the picture as one of the run's own training distortions might have shown it. Only distortions that are known
to leave the class alone take part: one that the policy forbids for any class never does, and one that can turn a class
into another (a flip, a quarter turn, a far rotation) only where a policy exists that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeper.bundle import Info
from deeper.distortions import AnyDistortion, Policy, flipping
from deeper.distortions.geometry import HorizontalFlip, QuarterTurns, Rotation, Scale, Shear, Translation, VerticalFlip
from deeper.errors import UsageError
from deeper.inference.scores import Predict, Scores, familiarity, softmax
from deeper.values import from_plain

VIEWS = 8
# What moves a picture without losing any of it: colour, crops, noise and erasing make answers worse, not steadier.
_TAKEN = (Rotation, Scale, Shear, Translation, HorizontalFlip, VerticalFlip, QuarterTurns)
# All pictures are seen through the same views.
_KEY = np.zeros(1, np.uint64)


@dataclass(frozen=True)
class _Trained:
    distortions: tuple[AnyDistortion, ...]


def safe_distortions(info: Info) -> tuple[AnyDistortion, ...]:
    """Those training distortions of a bundle that its answers may be averaged over. Raises: UsageError."""
    trained = from_plain(_Trained, {"distortions": info.distortions}, "the bundle").distortions
    policy = Policy.from_plain(info.policy) if info.policy else None
    forbidden = {name for rule in policy.classes.values() for name in rule.never} if policy else set(flipping(trained))
    return tuple(one for one in trained if isinstance(one, _TAKEN) and one.name not in forbidden)


def averaged(predict: Predict, info: Info, views: int = VIEWS) -> Predict:
    """`predict` averaged over the picture itself and `views` − 1 others: logits are the logarithms of the mean
    probabilities (at the bundle's temperature), shifted so that the familiarity is the mean of the views', and features
    the mean features.

    Raises: UsageError, where no training distortion is safe to average over.
    """
    safe = safe_distortions(info)
    if not safe:
        raise UsageError(
            "no view to average over: the run was trained with no geometric distortion that a policy calls safe; "
            "leave --tta out, or train with a policy (deeper audit)"
        )
    import torch

    from deeper.distortions.apply import as_bytes, distort

    size = (info.preprocess.height, info.preprocess.width)
    temperature = info.temperature or 1.0
    seen = [_parameters(safe, view) for view in range(1, views)]

    def predict_averaged(images: NDArray[np.uint8]) -> Scores:
        first = predict(images)
        probabilities, features = softmax(first.logits / np.float32(temperature)), first.features.astype(np.float64)
        familiar = familiarity(first.logits)
        for drawn in seen:
            rows = [(one, np.repeat(values, len(images), axis=0)) for one, values in drawn]
            view = distort(torch.from_numpy(np.ascontiguousarray(images)), rows, size, "border")
            scores = predict(as_bytes(view))
            probabilities += softmax(scores.logits / np.float32(temperature))
            features += scores.features
            familiar += familiarity(scores.logits)
        mean = np.maximum(probabilities / views, np.finfo(np.float32).tiny)
        logits = (np.log(mean) * temperature).astype(np.float32)
        # The same number for all classes leaves the probabilities as they are.
        logits += (familiar / views - familiarity(logits)).astype(np.float32)[:, None]
        return Scores(logits, (features / views).astype(np.float32))

    return predict_averaged


def _parameters(safe: Sequence[AnyDistortion], view: int) -> list[tuple[AnyDistortion, NDArray[np.float64]]]:
    from deeper import draws

    return [(one, one.draw(draws.uniforms(0, view, _KEY, f"view:{one.name}", one.uniforms))) for one in safe]
