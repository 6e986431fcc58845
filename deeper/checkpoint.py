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
from deeper.models.tensors import separate

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
    """Write one checkpoint; `facts` must hold `step`. A sound one of the same state stays as it is. Raises: StorageError."""
    target = _folder(checkpoints, int(facts["step"]))
    # The format stores plain contiguous tensors; which memory layout they had is the model's business at load time.
    data = safetensors.torch.save(separate(tensors))
    if target.exists():
        # A run that was resumed and interrupted at once comes by the same step again, with the same state.
        if _holds(target, files.sha256(data)):
            return target
        shutil.rmtree(target)
    with files.new_folder(target) as folder:
        files.write_bytes(folder / "tensors.safetensors", data)
        described = {"format_version": FORMAT_VERSION, **facts, "tensors_sha256": files.sha256(data)}
        files.write_json(folder / "checkpoint.json", described)
    return target


def _holds(folder: Path, tensors_sha256: str) -> bool:
    try:
        return files.sha256(folder / "tensors.safetensors") == tensors_sha256 and (
            files.read_json(folder / "checkpoint.json")["tensors_sha256"] == tensors_sha256
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


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
        facts = files.read_json(folder / "checkpoint.json")
        data = (folder / "tensors.safetensors").read_bytes()
    except (OSError, ValueError) as error:
        raise RunError(f"{damaged} ({type(error).__name__}); {advice}") from None
    if not isinstance(facts, dict):
        raise RunError(f"{damaged} (checkpoint.json holds no object); {advice}")
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


def weights(checkpoints: Path, step: int) -> dict[str, Tensor]:
    """The network's weights of one checkpoint: the averaged ones where the run averages. Raises: as `read`."""
    _, tensors = read(checkpoints, step)
    prefix = "averaged/" if any(name.startswith("averaged/") for name in tensors) else "model/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def prune(checkpoints: Path, keep: int, best: int | None, *, saved: int) -> None:
    """After a save at step `saved`: delete all but the last `keep` checkpoints up to there, and the best one.

    One that is cut off counts for nothing and goes. Those of later steps, which could not be gone on from, stay and
    count for nothing either: going on, the run replaces them.
    """
    known = [step for step in steps(checkpoints) if step <= saved]
    whole = [step for step in known if step == saved or _is_whole(_folder(checkpoints, step))]
    for step in set(known) - set(whole[-keep:]) - {best}:
        shutil.rmtree(_folder(checkpoints, step), ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether nothing of it is missing, told by lengths alone: a few bytes are read."""
    try:
        files.read_json(folder / "checkpoint.json")
        with open(folder / "tensors.safetensors", "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return (folder / "tensors.safetensors").stat().st_size == 8 + length + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError):
        return False
