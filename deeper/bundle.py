"""The bundle: a trained network as a finished artefact, in a folder of three files that a person can read about.

    bundle.json             architecture, classes, Preprocess, what it was trained with and on, metrics, hashes, a card
    weights.safetensors     float32 (and integer counters)
    golden.safetensors      a few uint8 inputs at model size and their fp32 logits

Loading checks everything: format, hashes, shapes, and that the golden inputs still give the golden logits. It runs no
code of whoever made it: a network of a user's own is built only when its import path is given by the loading user.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from deeper import files
from deeper.errors import BundleError, UsageError, printable
from deeper.images import Preprocess
from deeper.inference import predictor
from deeper.models import Architecture, create
from deeper.values import from_plain, to_plain

FORMAT_VERSION = 1
# Between machines and thread counts fp32 sums differ in the last bits; a wrong preprocessing or a damaged weight
# differs by far more.
GOLDEN_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Info:
    """What `bundle.json` holds. Fields that are None are filled by later steps (calibration, audit)."""

    format_version: int = FORMAT_VERSION
    architecture: Architecture
    classes: tuple[str, ...]
    preprocess: Preprocess
    distortions: list[dict[str, Any]] = field(default_factory=list)
    """What the training pictures went through, in order."""
    policy: dict[str, Any] | None = None
    """Which classes each distortion left alone."""
    temperature: float | None = None
    """Divides the logits before the softmax; fitted on validation pictures."""
    threshold: float | None = None
    """Below this probability the answer is "unsure"."""
    dataset: dict[str, Any] = field(default_factory=dict)
    """Name, hash and counts per split of what it was trained on."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Headline numbers by split."""
    training: dict[str, Any] = field(default_factory=dict)
    """Recipe, step, seed, precision."""
    versions: dict[str, str] = field(default_factory=dict)
    weights_sha256: str = ""
    golden_sha256: str = ""
    golden_tolerance: float = GOLDEN_TOLERANCE
    """Largest allowed difference of a golden logit."""
    card: str = ""
    """A short model card, in words."""


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. `model` is in evaluation mode on the processor."""

    path: Path
    info: Info
    model: nn.Module


def save(
    path: Path,
    *,
    weights: Mapping[str, Tensor],
    architecture: Architecture,
    preprocess: Preprocess,
    classes: Sequence[str],
    pictures: NDArray[np.uint8],
    distortions: Sequence[Mapping[str, Any]] = (),
    policy: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a bundle to `path`, replacing one that is there.

    `weights`: the network's state dict. `pictures`: uint8 N × H × W × C at model size; their logits are computed here,
    by the loading path itself, on the processor in fp32.

    The new folder is filled aside and fsynced, the old one moved aside, the new one moved in, the old one deleted. A
    crash between the two moves leaves the old bundle beside, under `.bundle.old`, and `load` takes it from there.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with torch.random.fork_rng([]):
        model = create(architecture)
    model.load_state_dict(state)
    golden = {
        "images": torch.from_numpy(np.ascontiguousarray(pictures)),
        "logits": torch.from_numpy(predictor(model, preprocess)(pictures).logits),
    }
    weights_data, golden_data = safetensors.torch.save(state), safetensors.torch.save(golden)
    info = Info(
        architecture=architecture,
        classes=tuple(classes),
        preprocess=preprocess,
        distortions=[dict(distortion) for distortion in distortions],
        policy=dict(policy) if policy else None,
        dataset=dict(dataset or {}),
        metrics=dict(metrics or {}),
        training=dict(training or {}),
        versions={"deeper": _version(), "torch": torch.__version__, "python": platform.python_version()},
        weights_sha256=files.sha256(weights_data),
        golden_sha256=files.sha256(golden_data),
    )
    info = Info(**{**info.__dict__, "card": _card(info)})
    aside, old = path.with_name(f".{path.name}.new"), _old(path)
    shutil.rmtree(aside, ignore_errors=True)
    with files.new_folder(aside) as folder:
        files.write_bytes(folder / "weights.safetensors", weights_data)
        files.write_bytes(folder / "golden.safetensors", golden_data)
        files.write_json(folder / "bundle.json", to_plain(info))
    with files.storage(path):
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(path, old)
        os.rename(aside, path)
        files.fsync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _version() -> str:
    from deeper import __version__

    return __version__


def _card(info: Info) -> str:
    architecture, training, dataset = info.architecture, info.training, info.dataset
    lines = [
        f"A {architecture.model} network that tells {len(info.classes)} classes apart.",
        f"Input: {info.preprocess.describe()}.",
    ]
    if dataset:
        counts = ", ".join(f"{count} {name}" for name, count in dataset.get("counts", {}).items())
        lines.append(f"Trained on {dataset.get('name')} ({counts} pictures), recipe {training.get('recipe')}.")
    names = [str(distortion.get("name")) for distortion in info.distortions]
    lines.append(f"Training distortions: {', '.join(names) or 'none'}.")
    for split, numbers in info.metrics.items():
        low, high = numbers["interval"]
        lines.append(f"Accuracy on {split}: {numbers['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}).")
    lines.append("It answers with one of its classes whatever it is shown: pictures of anything else are misread.")
    return " ".join(lines)


def is_bundle(path: Path) -> bool:
    """Whether `path` holds a bundle."""
    return (path / "bundle.json").is_file()


def read_info(path: Path) -> Info:
    """`bundle.json`, checked. Raises: BundleError."""
    try:
        plain = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{printable(path)} is no bundle: it has no bundle.json; give a run or bundle folder") from None
    except (OSError, ValueError, RecursionError):
        raise _damaged(path, "bundle.json cannot be read") from None
    version = plain.get("format_version") if isinstance(plain, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(
            f"the bundle {printable(path)} has format {version!r}, this version of deeper reads {FORMAT_VERSION}; "
            "update deeper, or use the version that wrote it"
        )
    try:
        return from_plain(Info, plain, "bundle.json")
    except UsageError as error:
        raise _damaged(path, str(error)) from None


def load(path: str | Path, *, model: str | None = None) -> Bundle:
    """Load and check a bundle. `model`: the import path of the network, where the bundle needs a user's own.

    Raises: BundleError, in one line, for whatever is missing, damaged, changed, too new, or does not agree.
    """
    path = Path(path)
    if not is_bundle(path) and is_bundle(_old(path)):
        path = _old(path)
    info = read_info(path)
    _check_custom(path, info, model)
    weights = _tensors(path, "weights.safetensors", info.weights_sha256)
    golden = _tensors(path, "golden.safetensors", info.golden_sha256)
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise _damaged(path, f"{printable(name)} holds NaN or infinity")
    if len(info.classes) != info.architecture.classes:
        raise _damaged(path, f"{len(info.classes)} class names for {info.architecture.classes} classes")
    try:
        with torch.random.fork_rng([]):
            network = create(info.architecture)
    except UsageError as error:
        raise BundleError(f"the bundle {printable(path)} cannot be built: {error}") from None
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise _damaged(path, f"its weights do not fit its architecture ({printable(reason, 120)})") from None
    network.eval()
    _check_golden(path, info, network, golden)
    return Bundle(path, info, network)


def _damaged(path: Path, what: str) -> BundleError:
    return BundleError(f"the bundle {printable(path)} is damaged: {what}; take a sound copy, or export the run again")


def _check_custom(path: Path, info: Info, model: str | None) -> None:
    own = info.architecture.model
    if ":" in own and model != own:
        raise BundleError(
            f"the bundle {printable(path)} holds a network of someone's own, {printable(own)}, whose code would run; "
            f"if you trust it, say so with --model {printable(own)}"
        )


def _tensors(path: Path, name: str, sha256: str) -> dict[str, Tensor]:
    try:
        data = (path / name).read_bytes()
    except OSError:
        raise _damaged(path, f"{name} is missing or unreadable") from None
    if files.sha256(data) != sha256:
        raise _damaged(path, f"{name} was changed or cut off (its hash does not match)")
    try:
        return dict(safetensors.torch.load(data))
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, f"{name} is no safetensors file ({printable(error, 80)})") from None


def _check_golden(path: Path, info: Info, network: nn.Module, golden: Mapping[str, Tensor]) -> None:
    if set(golden) != {"images", "logits"}:
        raise _damaged(path, "golden.safetensors does not hold images and logits")
    try:
        logits = predictor(network, info.preprocess)(golden["images"].numpy()).logits
    except (UsageError, RuntimeError) as error:
        raise _damaged(path, f"its golden inputs do not fit ({printable(error, 120)})") from None
    wanted = golden["logits"].numpy()
    if logits.shape != wanted.shape:
        raise _damaged(path, "its golden logits have another shape")
    difference = float(np.abs(logits - wanted).max(initial=0.0))
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    if not difference <= info.golden_tolerance * scale:
        raise _damaged(path, f"it answers its golden inputs differently (by {difference:.3g})")
