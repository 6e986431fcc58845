from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deeper.models.output import Output
from deeper.training.loss import class_weights, classification_loss


def loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None, smoothing: float) -> torch.Tensor:
    output = Output(logits=logits, features=logits, aux=())
    return classification_loss(output, labels, label_smoothing=smoothing, auxiliary_weight=0.4, weights=weights)[0]


def test_class_weights_let_each_class_count_the_same() -> None:
    weights = class_weights(np.array([0] * 8 + [2] * 2), 3)
    torch.testing.assert_close(weights, torch.tensor([10 / 16, 0.0, 10 / 4]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_picture_counts_as_much_as_its_class(smoothing: float) -> None:
    """Keras' class_weight: the loss of each picture times the weight of its own class, over the pictures."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(20, 3, generator=generator), torch.arange(20) % 3
    weights = torch.tensor([0.5, 1.0, 20.0])
    each = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    wanted = sum(weights[label] * one for label, one in zip(labels, each, strict=True)) / len(labels)
    torch.testing.assert_close(loss(logits, labels, weights, smoothing), wanted)
    torch.testing.assert_close(
        loss(logits, labels, None, smoothing), F.cross_entropy(logits, labels, label_smoothing=smoothing)
    )


def test_balanced_and_smoothed_a_frequent_class_stays_what_it_is() -> None:
    """A hundred to one: a picture of the frequent class is taught to be of it, not of the rare one."""
    labels = torch.tensor([0] * 100 + [1])
    weights = class_weights(labels.numpy(), 2)
    # Two pictures that can be told apart: the best logits of each are free.
    free = torch.zeros(2, 2, requires_grad=True)
    optimizer = torch.optim.SGD([free], lr=1.0)
    for _ in range(500):
        optimizer.zero_grad()
        loss(free[labels], labels, weights, 0.1).backward()
        optimizer.step()
    shares = free.softmax(1)
    torch.testing.assert_close(shares.diagonal(), torch.tensor([0.95, 0.95]), atol=0.01, rtol=0)


@pytest.mark.parametrize("batch", [1, 16, 128])
def test_classes_count_the_same_however_batches_are_cut(batch: int) -> None:
    """Over the weights of each batch a rare picture counted little more than another, and alone not at all."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 1000 + [1] * 24)[torch.randperm(1024, generator=generator)]
    weights = class_weights(labels.numpy(), 2)
    logits = torch.zeros(1024, 2, requires_grad=True)
    for first in range(0, 1024, batch):
        here = slice(first, first + batch)
        (loss(logits[here], labels[here], weights, 0.0) * len(labels[here])).backward()
    assert logits.grad is not None
    moved = [logits.grad[labels == label].abs().sum() for label in (0, 1)]
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-3, atol=0)
