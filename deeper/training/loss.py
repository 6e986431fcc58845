"""The loss and its parts."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deeper.models.output import Output


def class_weights(labels: NDArray[np.int64], classes: int) -> Tensor:
    """Weights that let each class count the same: N / (K · count). Shape: K. A class without pictures gets 0."""
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    present = counts > 0
    weights = np.zeros(classes)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return torch.from_numpy(weights).float()


def classification_loss(
    output: Output, labels: Tensor, *, label_smoothing: float, auxiliary_weight: float, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the main head, and the weighted sum over auxiliary heads (0 without any). Both fp32 scalars.

    Smoothing applies to all heads, as in research/inception. `weights`: K, of the classes; a picture counts as much as its
    own class does, as in Keras.
    """
    main = _cross_entropy(output.logits, labels, label_smoothing, weights)
    auxiliary = torch.zeros_like(main)
    for logits in output.aux:
        auxiliary = auxiliary + auxiliary_weight * _cross_entropy(logits, labels, label_smoothing, weights)
    return main, auxiliary


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float, weights: Tensor | None) -> Tensor:
    if weights is None:
        return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
    # Not PyTorch's own `weight`: it gives each class's share of the smoothed target that class's weight, so that from
    # twenty to one on pictures of the frequent class are taught to be of the rare one.
    each = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="none")
    # And not over the weights of this batch, which would take a rare picture's weight away again where it is alone; over
    # the training pictures weights are 1 on average.
    return (each * weights[labels]).mean()
