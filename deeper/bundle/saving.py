"""Writing a bundle."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeper import files
from deeper.bundle import folder
from deeper.bundle.folder import DESCRIPTION, GOLDEN, WEIGHTS
from deeper.bundle.info import Info
from deeper.errors import BundleError, printable
from deeper.images import Appearance, Preprocess
from deeper.inference import predictor
from deeper.models import Architecture, create
from deeper.models.tensors import flaw, separate


def save(
    path: str | Path,
    *,
    weights: Mapping[str, Tensor],
    architecture: Architecture,
    preprocess: Preprocess,
    classes: Sequence[str],
    pictures: NDArray[np.uint8],
    distortions: Sequence[Mapping[str, Any]] = (),
    policy: Mapping[str, Any] | None = None,
    temperature: float | None = None,
    threshold: float | None = None,
    familiarity: float | None = None,
    appearance: Appearance | None = None,
    dataset: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a bundle to `path`, replacing one that is there without a moment in which there is none (see `folder`).

    `weights`: the network's state dict. `pictures`: uint8 N × H × W × C at model size, N ≥ 1; their logits are computed
    here, by the loading path itself, on the processor in fp32. `metrics`: split → `Evaluation.summary()`.

    Raises: BundleError, for weights that hold NaN or do not fit, and where `path` is something else than a bundle;
    UsageError, for parts that contradict each other; StorageError. What was at `path` then stays as it was.
    """
    path = Path(path)
    with torch.random.fork_rng([]):
        model = create(architecture)
    try:
        model.load_state_dict({name: tensor.detach().cpu() for name, tensor in weights.items()})
    except RuntimeError as error:
        reason = printable(" ".join(str(error).split()), 160)
        raise BundleError(f"the weights for {printable(path)} do not fit {architecture.model}: {reason}") from None
    # Taken back from the model: its dtypes, its names.
    state = separate(model.state_dict())
    if (wrong := flaw(model, state)) is not None:
        raise BundleError(f"no bundle is written to {printable(path)}: {wrong}, training diverged")
    if len(pictures) == 0:
        raise BundleError(f"no bundle is written to {printable(path)}: it needs at least one golden picture")
    golden = {
        "images": torch.from_numpy(np.require(pictures, requirements=["C", "W"])),
        "logits": torch.from_numpy(predictor(model, preprocess)(pictures).logits),
    }
    weights_data, golden_data = safetensors.torch.save(state), safetensors.torch.save(golden)
    info = Info(
        architecture=architecture,
        classes=tuple(classes),
        preprocess=preprocess,
        distortions=[dict(distortion) for distortion in distortions],
        policy=dict(policy) if policy else None,
        temperature=temperature,
        threshold=threshold,
        familiarity=familiarity,
        appearance=appearance,
        dataset=dict(dataset or {}),
        metrics=dict(metrics or {}),
        training=dict(training or {}),
        versions={"deeper": _version(), "torch": torch.__version__, "python": platform.python_version()},
        weights_sha256=files.sha256(weights_data),
        golden_sha256=files.sha256(golden_data),
    )
    description = info.with_card().to_bytes()
    folder.replace(path, {WEIGHTS: weights_data, GOLDEN: golden_data, DESCRIPTION: description})


def _version() -> str:
    from deeper import __version__

    return __version__
