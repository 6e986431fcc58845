"""What computes a run. On something else a run that is resumed goes on, but not to the bit."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from deeper.runs.folder import Config


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`threads`, `kernels`: on a processor alone; the latter says whether compiled kernels were used, None where the
    network has no use for them."""

    processor: str
    threads: int | None = None
    kernels: bool | None = None


def prepared(model: nn.Module, device: str, say: Callable[[str], None]) -> Machine:
    """What `model` will be trained on, with the compiled kernels switched on where it has use for them."""
    from deeper.models import kernels

    if device != "cpu":
        return Machine(processor=torch.cuda.get_device_name(device) if device.startswith("cuda") else device)
    used = None
    if any(getattr(layer, "has_kernel", False) for layer in model.modules()):
        missing = kernels.prepare()
        used = missing is None
        if missing is not None:
            say(f"training without compiled kernels, which takes longer: {missing}")
    return Machine(processor=_processor(), threads=torch.get_num_threads(), kernels=used)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of what is installed here."""
    return {"python": platform.python_version(), "torch": torch.__version__}


def changes(config: Config, machine: Machine, device: str) -> list[str]:
    """How what a run would go on with differs from what it was begun with, as far as `config` noted that."""
    found = []
    installed = versions()["torch"]
    if config.versions.get("torch", installed) != installed:
        found.append(f"torch {installed} instead of {config.versions['torch']}")
    then = config.machine
    if device != config.device:
        found.append(f"{device} instead of {config.device}")
    elif then is not None:
        if machine.processor != then.processor:
            found.append(f"{machine.processor} instead of {then.processor}")
        if machine.threads != then.threads:
            found.append(f"{machine.threads} instead of {then.threads} threads")
        # None: before the network had use for them it was trained without.
        if bool(machine.kernels) != bool(then.kernels):
            found.append("compiled kernels" if machine.kernels else "PyTorch's operators instead of compiled kernels")
    return found
