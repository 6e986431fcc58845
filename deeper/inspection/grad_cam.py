"""Where a network looked: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) of any network with maps of features.

The last layer whose map still has places to tell apart is taken: its channels, weighted by the mean gradient of a class's
logit, summed, negative sums cut off. It says where evidence for the class lay, coarsely; it is no proof of anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deeper.images import Preprocess
from deeper.inference import Normalise, evaluating

# A map of fewer places on a side shows nothing: Inception v3 ends with 8 × 8 at 299 pixels, but with 1 × 1 at 75.
LEAST_SIDE = 4
# Pictures at once: gradients are held for all layers behind the map.
_CUT = 16
# Of full heat: how much of the picture it hides, and its colour.
_HIDES, _COLOUR = 0.7, (255.0, 90.0, 0.0)


def grad_cam(
    network: nn.Module, preprocess: Preprocess, images: NDArray[np.uint8], targets: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Heat of each picture for one class each: float32 N × H × W in 0..1, 1 at the hottest place; all 0 where nothing speaks
    for the class. None for a network that has no map of `LEAST_SIDE` places on a side.

    `images`: uint8 N × H × W × C at the size of `preprocess`; `targets`: int64 N. The network is left as it was.
    """
    device = next(network.parameters()).device
    normalise = Normalise(preprocess).to(device)
    parts = []
    with evaluating(network), _last_map(network) as found:
        for first in range(0, len(images), _CUT):
            cut = torch.from_numpy(np.ascontiguousarray(images[first : first + _CUT])).to(device)
            # Its weights may be frozen: gradients start at the pixels.
            pixels = normalise(cut.permute(0, 3, 1, 2).to(torch.float32) / 255).requires_grad_(True)
            found.clear()
            with torch.enable_grad():
                logits = network(pixels).logits
                if not found or not found[0].requires_grad:
                    return None
                wanted = torch.from_numpy(targets[first : first + _CUT]).to(device)
                chosen = logits.gather(1, wanted[:, None]).sum()
                (slopes,) = torch.autograd.grad(chosen, found[0])
            weights = slopes.float().mean((2, 3), keepdim=True)
            # A map may be taken before its ReLU (NielsenNet pools first): what the ReLU cuts off reaches no logit.
            alive = found[0].detach().float().clamp(min=0)
            heat = (weights * alive).sum(1, keepdim=True).clamp_(min=0)
            heat = functional.interpolate(heat, images.shape[1:3], mode="bilinear", align_corners=False)[:, 0]
            hottest = heat.amax((1, 2), keepdim=True)
            parts.append((heat / hottest.clamp(min=1e-12)).cpu().numpy().astype(np.float32))
    return np.concatenate(parts) if parts else np.zeros(images.shape[:3], np.float32)


def overlaid(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """uint8 H × W × C (1 or 3) under its heat, float32 H × W → uint8 H × W × 3."""
    colours = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    share = _HIDES * heat[..., None]
    mixed: NDArray[np.uint8] = np.rint(colours * (1 - share) + np.asarray(_COLOUR) * share).astype(np.uint8)
    return mixed


@contextlib.contextmanager
def _last_map(network: nn.Module) -> Iterator[list[Tensor]]:
    """While it lasts, the latest output with places to tell apart stands in the list."""
    found: list[Tensor] = []

    def seen(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) >= LEAST_SIDE:
            found[:] = [output]

    hooks = [module.register_forward_hook(seen) for module in network.modules() if module is not network]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
