"""THE path from a uint8 batch to logits and features in torch. Training's evaluation and everything later go through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeper.errors import UsageError
from deeper.images import Preprocess

# Pictures that go through the network at once: the same cut for everyone, so that equal pictures in equal order get
# bit-equal answers.
BATCH = 250


@dataclass(frozen=True)
class Scores:
    """`logits`: float32 N × K. `features`: float32 N × D, the penultimate layer."""

    logits: NDArray[np.float32]
    features: NDArray[np.float32]


Predict: TypeAlias = Callable[[NDArray[np.uint8]], Scores]


class Normalise(nn.Module):
    """Floats in 0..1, N × C × H × W → (pixel − mean) / deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        shape = (1, preprocess.channels, 1, 1)
        self.register_buffer("mean", torch.tensor(preprocess.mean, dtype=torch.float32).view(shape), persistent=False)
        deviation = torch.tensor(preprocess.deviation, dtype=torch.float32).view(shape)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.deviation


class Network(nn.Module):
    """Normalisation and model as one graph: uint8 N × H × W × C at the model's size → (logits, features), float32."""

    def __init__(self, model: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.normalise = Normalise(preprocess)
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # Channels last is how the bytes lie already: permuting moves nothing.
        pixels = images.permute(0, 3, 1, 2).to(torch.float32) / 255
        output = self.model(self.normalise(pixels))
        return output.logits.float(), output.features.float()


def predictor(
    model: nn.Module,
    preprocess: Preprocess,
    *,
    device: str = "cpu",
    precision: str = "fp32",
    batch: int = BATCH,
) -> Predict:
    """A function from uint8 N × H × W × C pictures at the model's size to `Scores`.

    The model is put into evaluation mode for the call and left as it was after it. Pictures pass in cuts of `batch`, so
    memory is bounded. `precision`: `fp32`, or `bf16` for autocast.

    The function raises UsageError for another shape or dtype.
    """
    network = Network(model, preprocess).to(device)
    wanted = (preprocess.height, preprocess.width, preprocess.channels)

    def predict(images: NDArray[np.uint8]) -> Scores:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != wanted:
            raise UsageError(
                f"the model takes uint8 N×{wanted[0]}×{wanted[1]}×{wanted[2]}, got {images.dtype} "
                f"{'×'.join(map(str, images.shape))}; use Preprocess.fit"
            )
        modes = {module: module.training for module in model.modules()}
        network.eval()
        logits, features = [], []
        try:
            with torch.inference_mode(), torch.autocast(device.split(":")[0], torch.bfloat16, enabled=precision == "bf16"):
                for start in range(0, len(images), batch):
                    cut = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).to(device)
                    one, other = network(cut)
                    logits.append(one.cpu().numpy())
                    features.append(other.cpu().numpy())
        finally:
            for module, mode in modes.items():
                module.training = mode
        if not logits:
            return Scores(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
        return Scores(np.concatenate(logits), np.concatenate(features))

    return predict


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities, computed in float64. Shape: N × K."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result
