"""Where a judge is kept: `judge/KEY/` in the dataset's folder, or in the cache folder where that is read-only.

    judge.json             format version, key, options, training, accuracy, architecture, preprocess, hash of the file below
    judge.safetensors      networks/FOLD/SEED/NAME, folds (int64 N), out_of_fold (float32 N × K)

KEY is a hash of the dataset's hash, the options and the way of training. A folder is there whole or not
at all; one that does not match its hashes is thrown away and made again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from deeper import files
from deeper.audit.fitting import Fitted, architecture_for, preprocess_for
from deeper.audit.network import network
from deeper.audit.options import JudgeOptions, way_of_training
from deeper.download import cache_folder
from deeper.errors import DeeperError, StorageError, printable
from deeper.images import Preprocess
from deeper.models.architecture import Architecture
from deeper.records import Dataset
from deeper.statistics import wilson_interval
from deeper.values import from_plain, to_plain

FOLDER = "judge"
FORMAT_VERSION = 1
_FACTS, _TENSORS = "judge.json", "judge.safetensors"


class _Damaged(Exception):
    """Why a stored judge cannot be used."""


def key(dataset: Dataset, options: JudgeOptions) -> str:
    """Names the judge of a dataset's content by its options: 16 hexadecimal digits."""
    text = json.dumps([dataset.info.hash, *way_of_training(), to_plain(options)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def places(dataset: Dataset, options: JudgeOptions) -> tuple[Path, Path]:
    """Where the judge may lie, the dataset's own folder first."""
    name = key(dataset, options)
    return dataset.path / FOLDER / name, cache_folder() / FOLDER / name


def read(dataset: Dataset, options: JudgeOptions, say: Callable[[str], None]) -> Fitted | None:
    """The judge that was stored, or None; says so when one is there and damaged."""
    for place in places(dataset, options):
        if not place.is_dir():
            continue
        try:
            return _read(place, dataset, options)
        except _Damaged as reason:
            say(f"judge: {printable(place)} is damaged ({reason}); training it again")
    return None


def _read(place: Path, dataset: Dataset, options: JudgeOptions) -> Fitted:
    try:
        facts = files.read_json(place / _FACTS)
        data = (place / _TENSORS).read_bytes()
    except (OSError, ValueError) as error:
        raise _Damaged(type(error).__name__) from None
    if not isinstance(facts, dict) or facts.get("format_version") != FORMAT_VERSION:
        raise _Damaged("another format")
    if facts.get("key") != key(dataset, options) or facts.get("sha256") != files.sha256(data):
        raise _Damaged("its hash does not match")
    try:
        tensors = safetensors.torch.load(data)
        folds, out_of_fold = tensors["folds"].numpy(), tensors["out_of_fold"].numpy()
        preprocess = from_plain(Preprocess, facts["preprocess"], _FACTS)
        architecture = architecture_for(dataset, preprocess)
        networks: list[tuple[nn.Module, ...]] = []
        for fold in range(int(folds.max()) + 1):
            networks.append(tuple(_network(tensors, fold, number, architecture) for number in range(options.seeds)))
        training = str(facts["training"])
    except (SafetensorError, DeeperError, KeyError, ValueError, RuntimeError) as error:
        raise _Damaged(printable(error, 80)) from None
    count, classes = len(dataset.split("train")), len(dataset.classes)
    sound = folds.shape == (count,) and out_of_fold.shape == (count, classes)
    if not sound or folds.dtype != np.int64 or out_of_fold.dtype != np.float32 or not np.isfinite(out_of_fold).all():
        raise _Damaged("its readings are not of this dataset")
    if preprocess != preprocess_for(dataset, options):
        raise _Damaged("another preprocessing")
    return Fitted(architecture, preprocess, tuple(networks), folds, out_of_fold, training)


def _network(tensors: Mapping[str, Tensor], fold: int, number: int, architecture: Architecture) -> nn.Module:
    prefix = f"networks/{fold}/{number}/"
    with torch.random.fork_rng([]):
        model = network(architecture)
    model.load_state_dict(
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    )
    return model.requires_grad_(False).eval()


def write(dataset: Dataset, options: JudgeOptions, fitted: Fitted, say: Callable[[str], None]) -> None:
    """Store a judge; where nothing can be written, say so and go on: it is only dearer the next time."""
    tensors = {
        f"networks/{fold}/{number}/{name}": tensor.detach().cpu().contiguous()
        for fold, each in enumerate(fitted.networks)
        for number, model in enumerate(each)
        for name, tensor in model.state_dict().items()
    }
    tensors["folds"] = torch.from_numpy(fitted.folds)
    tensors["out_of_fold"] = torch.from_numpy(fitted.out_of_fold)
    data = safetensors.torch.save(tensors)
    facts = {
        "format_version": FORMAT_VERSION,
        "key": key(dataset, options),
        "dataset_hash": dataset.info.hash,
        "options": to_plain(options),
        "training": fitted.training,
        **_accuracy(dataset, fitted),
        "architecture": fitted.architecture.to_plain(),
        "preprocess": to_plain(fitted.preprocess),
        "sha256": files.sha256(data),
    }
    failed: StorageError | None = None
    for place in places(dataset, options):
        try:
            if place.exists():
                shutil.rmtree(place, ignore_errors=True)
            with files.new_folder(place) as folder:
                files.write_bytes(folder / _TENSORS, data)
                files.write_json(folder / _FACTS, facts)
        except StorageError as error:
            failed = error
            continue
        if place.is_relative_to(dataset.path):
            _forget_others(place.parent, dataset)
        return
    say(f"judge: not kept ({failed})")


def _accuracy(dataset: Dataset, fitted: Fitted) -> dict[str, object]:
    """Out-of-fold on the training pictures, for people who look into the file; a judge counts for itself."""
    right = int((fitted.out_of_fold.argmax(1) == dataset.split("train").labels).sum())
    total = len(fitted.out_of_fold)
    return {"accuracy": right / total, "interval": list(wilson_interval(right, total))}


def _forget_others(folder: Path, dataset: Dataset) -> None:
    """Delete judges of what the dataset was before it grew."""
    for entry in folder.iterdir():
        try:
            facts = files.read_json(entry / _FACTS)
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict) and facts.get("dataset_hash") != dataset.info.hash:
            shutil.rmtree(entry, ignore_errors=True)
