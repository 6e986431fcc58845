"""Normalisation and model as one graph, and the function over it that everyone calls."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeper.errors import MemoryShortageError, UsageError, printable
from deeper.images import Preprocess
from deeper.inference.pictures import check_pictures
from deeper.inference.scores import BATCH, Predict, Scores
from deeper.inference.shortage import in_words, is_shortage, room


class Normalise(nn.Module):
    """Floats in 0..1, N × C × H × W → (pixel − mean) / deviation.

    Its buffers stand in no state dict: `Preprocess` is where they are kept, and a checkpoint of the model stays one of
    the model.
    """

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
    """uint8 N × H × W × C at the model's size → (logits N × K, features N × D), float32.

    Normalisation is inside: what exports write and engines run is this graph.
    """

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

    The model moves to `device` and its weights are laid out channels last (no value changes; one layout for all callers
    is what makes their answers bit-equal). It is put into evaluation mode for each call and every module is left in the
    mode it was in. Pictures pass in cuts of `batch`, so memory is bounded. `precision`: `fp32`, or `bf16` by autocast.

    Answers agree bit for bit at equal cuts on one machine. Between cuts of different size sums are taken in another
    order: the class is the same and probabilities differ by at most 1e-5 in fp32, 1e-2 in bf16. Where a cut does not fit
    into memory, this and the later ones are half as large.

    Raises: UsageError, for a device or precision that is not there; the function, for another shape or dtype, and
    MemoryShortageError, where not even one picture fits.
    """
    if precision not in ("fp32", "bf16"):
        raise UsageError(f"precision {precision!r}; wanted fp32 or bf16")
    if batch < 1:
        raise UsageError(f"batches of {batch} pictures; wanted at least 1")
    kind = check_device(device)
    network = Network(model, preprocess).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fitting = batch

    def predict(images: NDArray[np.uint8]) -> Scores:
        nonlocal fitting
        count, pictures = len(images), check_pictures(images, preprocess)
        logits, features = [], []
        autocast = torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16")
        with evaluating(network), torch.inference_mode(), plain_fp32(kind, precision), autocast:
            start = 0
            while start < len(pictures):
                cut = torch.from_numpy(np.require(pictures[start : start + fitting], requirements=["C", "W"]))
                try:
                    one, other = network(cut.to(device))
                except (MemoryError, RuntimeError) as error:
                    if not is_shortage(error):
                        raise
                    if len(cut) > 1:
                        fitting = len(cut) // 2
                        continue
                    raise MemoryShortageError(
                        f"out of memory: not even one picture of {preprocess.height}×{preprocess.width} passes the network, with "
                        f"{in_words(room(device))} free; free memory, or train a network for smaller pictures (--size)"
                    ) from None
                logits.append(one.cpu().numpy())
                features.append(other.cpu().numpy())
                start += len(cut)
        return Scores(np.concatenate(logits)[:count], np.concatenate(features)[:count])

    return predict


def check_device(device: str) -> str:
    """The kind of a device that is there, `cpu` or `cuda`. Raises: UsageError."""
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cpu", "cuda"):
        raise UsageError(f"no device {printable(device)!r}; wanted cpu, cuda or cuda:N")
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {printable(device)!r}, but torch finds no GPU here; use cpu")
    if wanted.type == "cuda" and (wanted.index or 0) >= (count := torch.cuda.device_count()):
        raise UsageError(f"device {printable(device)!r}, but torch finds {count} here, counted from 0")
    return wanted.type


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """In evaluation mode within the block; each module is in its own mode again after it."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


_TF32 = threading.Lock()
_found: list[bool] = []


@contextlib.contextmanager
def plain_fp32(kind: str, precision: str) -> Iterator[None]:
    """fp32 means fp32: cuDNN rounds the factors of convolutions to 10 bits (TF32) unless told not to."""
    if kind != "cuda" or precision != "fp32":
        yield
        return
    # The switch is the process's: of several threads the first turns it and the last turns it back.
    with _TF32:
        _found.append(torch.backends.cudnn.allow_tf32)
        torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        with _TF32:
            # What the first found stays first, whoever leaves.
            if len(_found) == 1:
                torch.backends.cudnn.allow_tf32 = _found[0]
            _found.pop()
