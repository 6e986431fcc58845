"""Histograms of tensors, binned where the tensors live, in the shape that event files store.

`SummaryWriter.add_histogram` copies every tensor to the host, sorts it into 1,549 exponential buckets by NumPy and
merges them again; here 64 equal buckets between the smallest and the largest value are counted by one kernel, and all
histograms of a step reach the host in one transfer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeper.monitor.scopes import layer_name, normalising_layers, own_part

# TensorBoard's own summaries use 30; 64 show a second peak that 30 would swallow, for 1 kB each.
BUCKETS = 64
# float32 counters are exact below 2^24, so larger tensors are counted in pieces.
_EXACT = 1 << 23


@dataclass(frozen=True)
class Histogram:
    """`limits` are the upper edges of the buckets. Values that are NaN or infinite are left out and counted."""

    minimum: float
    maximum: float
    count: int
    total: float
    squares: float
    limits: tuple[float, ...]
    counts: tuple[float, ...]
    not_finite: int


def _counted(values: Tensor, low: float, high: float) -> Tensor:
    counts = torch.zeros(BUCKETS, dtype=torch.float64, device=values.device)
    for piece in torch.split(values, _EXACT):
        counts += torch.histc(piece, BUCKETS, low, high)
    return counts


@torch.no_grad()
def histograms(tensors: Mapping[str, Tensor]) -> dict[str, Histogram]:
    """A histogram of every tensor; names of empty tensors and of tensors without finite values are left out."""
    flat: dict[str, Tensor] = {}
    not_finite: dict[str, int] = {}
    for name, tensor in tensors.items():
        if tensor.numel() == 0:
            continue
        # Any order of the values will do: a view where the memory is dense, in whichever memory format.
        flat[name] = tensor.detach().float().reshape(-1) if tensor.is_contiguous() else dense(tensor).float()
    if not flat:
        return {}
    facts = torch.stack([_facts(values) for values in flat.values()]).cpu().tolist()
    bounds: dict[str, tuple[float, float, float, float]] = {}
    for (name, values), row in zip(list(flat.items()), facts, strict=True):
        if not all(map(math.isfinite, row)):
            finite = values[values.isfinite()]
            not_finite[name] = values.numel() - finite.numel()
            if finite.numel() == 0:
                continue
            flat[name] = finite
            row = _facts(finite).tolist()
        low, high, total, squares = row
        if low == high:
            # TensorBoard draws a bucket of no width as nothing.
            low, high = low - 0.5, high + 0.5
        bounds[name] = (low, high, total, squares)
    if not bounds:
        return {}
    counted = torch.stack([_counted(flat[name], low, high) for name, (low, high, _, _) in bounds.items()]).cpu()
    result = {}
    for (name, (low, high, total, squares)), counts in zip(bounds.items(), counted.tolist(), strict=True):
        width = (high - low) / BUCKETS
        limits = (*(low + width * (bucket + 1) for bucket in range(BUCKETS - 1)), high)
        result[name] = Histogram(
            low, high, flat[name].numel(), total, squares, limits, tuple(counts), not_finite.get(name, 0)
        )
    return result


def _facts(values: Tensor) -> Tensor:
    """Smallest, largest, sum and sum of squares."""
    low, high = values.aminmax()
    return torch.stack([low, high, values.sum(), torch.dot(values, values)])


def dense(tensor: Tensor) -> Tensor:
    """The values of a channels-last tensor without moving them; a copy of anything stranger."""
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda dimension: -strides[dimension])
    return tensor.detach().permute(order).reshape(-1)


def parameter_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Tag and tensor of weights, biases, batch-norm parameters and statistics, and gradients.

    `weights/LAYER`, `biases/LAYER`, `batch_norm/LAYER/gamma` (beta, running_mean, running_variance),
    `gradients/LAYER/weight`: LAYER is the module's path with slashes.
    """
    model = own_part(model)
    normalising = normalising_layers(model)
    for name, parameter in model.named_parameters():
        owner, _, kind = name.rpartition(".")
        layer = layer_name(owner)
        if owner in normalising:
            yield f"batch_norm/{layer}/{ {'weight': 'gamma', 'bias': 'beta'}.get(kind, kind) }", parameter
        elif kind == "weight":
            yield f"weights/{layer}", parameter
        elif kind == "bias":
            yield f"biases/{layer}", parameter
        else:
            yield f"weights/{layer}/{kind}", parameter
        if parameter.grad is not None:
            yield f"gradients/{layer}/{kind}", parameter.grad
    for name, buffer in model.named_buffers():
        owner, _, kind = name.rpartition(".")
        if owner in normalising and kind in ("running_mean", "running_var"):
            layer = layer_name(owner)
            yield f"batch_norm/{layer}/{kind.replace('running_var', 'running_variance')}", buffer
