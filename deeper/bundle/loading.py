"""Reading a bundle: whatever is missing, damaged, changed, too new or does not agree is told in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from deeper import files
from deeper.bundle import folder
from deeper.bundle.folder import GOLDEN, WEIGHTS, damaged
from deeper.bundle.info import Info, info_from
from deeper.errors import BundleError, UsageError, printable
from deeper.inference import check_device, predictor
from deeper.models import Architecture, create
from deeper.models.tensors import flaw

# How often a bundle is read again because it was replaced while it was read: each time a writer was quicker than a reader
# whose processor is busy with others.
_ATTEMPTS = 100


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded bundle. `model` is in evaluation mode; `path` is where it was read; `golden` the bytes of
    `golden.safetensors`, of the same moment."""

    path: Path
    info: Info
    model: nn.Module
    golden: bytes


def load(path: str | Path, *, model: str | None = None, device: str = "cpu") -> Bundle:
    """Load and check a bundle; the model ends up on `device`.

    No code of whoever made the bundle runs: where it holds a network of someone's own, `model` must give its import
    path, and that is the user's word that the code may run.

    Raises: BundleError, in one line, for whatever is missing, damaged, changed, too new, or does not agree; UsageError,
    for a device that is not there.
    """
    path = Path(path)
    check_device(device)
    for attempt in range(_ATTEMPTS):
        with folder.opened(path) as handle:
            try:
                info, weights, golden = _read(path, handle)
            except BundleError:
                # Replaced under our hands, its files are being deleted: the new one is as good.
                if attempt + 1 < _ATTEMPTS and folder.was_replaced(path, handle):
                    continue
                raise
        break
    network = _build(path, info, weights, model)
    _check_golden(path, info, network, _tensors(path, GOLDEN, golden))
    return Bundle(path, info, network.to(device), golden)


def _read(path: Path, handle: int) -> tuple[Info, dict[str, Tensor], bytes]:
    info = info_from(path, handle)
    weights = _tensors(path, WEIGHTS, _checked(path, handle, WEIGHTS, info.weights_sha256))
    return info, weights, _checked(path, handle, GOLDEN, info.golden_sha256)


def _checked(path: Path, handle: int, name: str, sha256: str) -> bytes:
    data = folder.read(path, handle, name)
    if files.sha256(data) != sha256:
        raise damaged(path, f"{name} was changed or cut off (its hash does not match)")
    return data


def _tensors(path: Path, name: str, data: bytes) -> dict[str, Tensor]:
    try:
        return dict(safetensors.torch.load(data))
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise damaged(path, f"{name} is no safetensors file ({printable(error, 80)})") from None


def _build(path: Path, info: Info, weights: Mapping[str, Tensor], model: str | None) -> nn.Module:
    architecture = info.architecture
    own = ":" in architecture.model
    if own and model is None:
        raise BundleError(
            f"the bundle {printable(path)} holds a network of someone's own, {printable(architecture.model)}, whose code "
            f"would run; if you trust it, say so: --model {printable(architecture.model)} "
            f"(in Python: model={printable(architecture.model)!r})"
        )
    if model is not None and model != architecture.model:
        raise BundleError(
            f"the bundle {printable(path)} holds {printable(architecture.model)}, not {printable(model)}; "
            "give that name, or leave it out"
        )
    if not own:
        # Shapes without memory: a description that asks for a network of terabytes is refused before it is built.
        with torch.device("meta"):
            _check_shapes(path, _create(path, architecture), weights)
    with torch.random.fork_rng([]):
        network = _create(path, architecture)
    _check_shapes(path, network, weights)
    if (wrong := flaw(network, weights)) is not None:
        raise damaged(path, wrong)
    network.load_state_dict(weights)
    return network.eval()


def _create(path: Path, architecture: Architecture) -> nn.Module:
    try:
        return create(architecture)
    except UsageError as error:
        raise BundleError(f"the network of the bundle {printable(path)} cannot be built: {error}") from None
    except (RuntimeError, OverflowError, TypeError, ValueError, MemoryError) as error:
        # Numbers that no layer can have; torch's words for them take many lines.
        raise damaged(path, f"no such network can be built ({printable(' '.join(str(error).split()), 120)})") from None


def _check_shapes(path: Path, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights:
            raise damaged(path, f"its weights lack {name}")
        if name not in wanted:
            raise damaged(path, f"its weights hold {printable(name)}, which its architecture has not")
        given, right = weights[name], wanted[name]
        if given.shape != right.shape or given.dtype != right.dtype:
            raise damaged(path, f"{name} is {_described(given)}, its architecture wants {_described(right)}")


def _described(tensor: Tensor) -> str:
    shape = "×".join(map(str, tensor.shape)) or "a single number"
    return f"{str(tensor.dtype).removeprefix('torch.')} {shape}"


def _check_golden(path: Path, info: Info, network: nn.Module, golden: Mapping[str, Tensor]) -> None:
    fit = info.preprocess
    images, wanted = golden.get("images"), golden.get("logits")
    if images is None or wanted is None or len(golden) != 2:
        raise damaged(path, f"{GOLDEN} does not hold images and logits")
    count = len(images) if images.ndim else 0
    if images.dtype != torch.uint8 or images.shape != (count, fit.height, fit.width, fit.channels) or count == 0:
        raise damaged(path, f"its golden images are {_described(images)}, which its network does not take")
    if wanted.dtype != torch.float32 or wanted.shape != (count, len(info.classes)):
        raise damaged(
            path, f"its golden logits are {_described(wanted)} for {count} pictures of {len(info.classes)} classes"
        )
    try:
        given = predictor(network, fit)(images.numpy()).logits
    except Exception as error:  # a user's own forward may raise anything
        raise damaged(path, f"its network fails on the golden images ({printable(error, 120)})") from None
    right = wanted.numpy()
    if given.shape != right.shape:
        raise damaged(path, f"its network answers {given.shape[1]} logits for {len(info.classes)} classes")
    difference = float(np.abs(given - right).max())
    allowed = info.golden_tolerance * max(1.0, float(np.abs(right).max()))
    # Not `difference > allowed`: NaN must not pass.
    if not difference <= allowed:
        raise damaged(path, f"it answers its golden images differently (by {difference:.3g}; {allowed:.3g} is allowed)")
