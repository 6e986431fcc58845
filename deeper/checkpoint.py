"""Checkpoints: a run's state on disk.

    checkpoints/step-00001720/
        checkpoint.json       format version, counters, what the file below must hash to
        tensors.safetensors   weights, averaged weights, optimizer state, meter

A checkpoint is written aside, fsynced and renamed into place, and the folder above is fsynced: after a crash at any
moment it is there whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from deeper import files
from deeper.errors import RunError, printable

FORMAT_VERSION = 1
_PREFIX = "step-"


def _folder(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"{_PREFIX}{step:08d}"


def steps(checkpoints: Path) -> list[int]:
    """The steps that have a checkpoint, rising."""
    if not checkpoints.is_dir():
        return []
    names = (entry.name.removeprefix(_PREFIX) for entry in checkpoints.iterdir() if entry.name.startswith(_PREFIX))
    return sorted(int(name) for name in names if name.isdigit())


def save(checkpoints: Path, facts: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    """Write one checkpoint; `facts` must hold `step`. Raises: StorageError."""
    target = _folder(checkpoints, int(facts["step"]))
    # The format stores plain contiguous tensors; which memory layout they had is the model's business at load time.
    data = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    if target.exists():
        shutil.rmtree(target)
    with files.new_folder(target) as folder:
        files.write_bytes(folder / "tensors.safetensors", data)
        described = {"format_version": FORMAT_VERSION, **facts, "tensors_sha256": files.sha256(data)}
        files.write_json(folder / "checkpoint.json", described)
    return target


def read(checkpoints: Path, step: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and tensors of one checkpoint. Raises: RunError, when it is missing, damaged or cut off."""
    folder = _folder(checkpoints, step)
    known = steps(checkpoints)
    if step not in known:
        listed = ", ".join(f"{known_step}" for known_step in known) or "none"
        raise RunError(f"no checkpoint of step {step} in {printable(checkpoints)}; there are: {listed}")
    damaged = f"the checkpoint {printable(folder)} is damaged"
    advice = "delete that folder to go on from the one before"
    try:
        facts = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        data = (folder / "tensors.safetensors").read_bytes()
    except (OSError, ValueError) as error:
        raise RunError(f"{damaged} ({type(error).__name__}); {advice}") from None
    if facts.get("format_version") != FORMAT_VERSION:
        raise RunError(
            f"{printable(folder)} has format {facts.get('format_version')!r}, this version reads {FORMAT_VERSION}; "
            "resume with the version that wrote it"
        )
    if files.sha256(data) != facts.get("tensors_sha256"):
        raise RunError(f"{damaged} (tensors.safetensors was changed or cut off); {advice}")
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise RunError(f"{damaged} ({error}); {advice}") from None
    return facts, tensors


def prune(checkpoints: Path, keep: int, best: int | None) -> None:
    """Delete all but the last `keep` checkpoints and the best one."""
    known = steps(checkpoints)
    for step in known[:-keep]:
        if step != best:
            shutil.rmtree(_folder(checkpoints, step), ignore_errors=True)
