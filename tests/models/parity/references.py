"""torchvision and timm on a CPU torch, for parity tests only.

They are installed without dependencies into a folder of their own:

    python -m pip install --no-deps --target .venv/parity torchvision==0.28.0 timm==1.0.31

torchvision's wheel wants CUDA libraries: its own operators are missing on a CPU torch, and importing it fails where it
registers them. Declaring them first, without implementations, lets the import through; the Inceptions use none.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

FOLDER = Path(sys.prefix) / "parity"


def references() -> tuple[ModuleType, ModuleType]:
    """(torchvision, timm). Skips the test where they are not installed."""
    if not (FOLDER / "torchvision").is_dir():
        pytest.skip(f"no torchvision and timm in {FOLDER}; see tests/models/parity/references.py")
    if "torchvision" not in sys.modules:
        registrations = (FOLDER / "torchvision" / "_meta_registrations.py").read_text()
        for operator in sorted(set(re.findall(r"torchvision::(\w+)|register_meta\(\"(\w+)\"", registrations))):
            torch.library.define(f"torchvision::{''.join(operator)}", "(Tensor x) -> Tensor")
    sys.path.append(str(FOLDER))
    try:
        import timm
        import torchvision
    finally:
        sys.path.remove(str(FOLDER))
    return torchvision, timm


@torch.no_grad()
def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights that keep activations in range, and random batch-norm statistics, scales and shifts."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.uniform_(0.6, 1.4, generator=generator)
            module.bias.normal_(0, 0.2, generator=generator)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0, 0.1, generator=generator)
    return model.eval()


def pictures(size: int, count: int = 2) -> Tensor:
    """Smooth shapes under noise, each picture more contrasted than the last: deep layers of a random network see
    little else of a picture. Shape: N × 3 × size × size."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(count, 3, 5, 5, generator=generator)
    smooth = nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    contrast = torch.linspace(0.5, 10, count).view(-1, 1, 1, 1)
    return contrast * (smooth + 0.3 * torch.randn(count, 3, size, size, generator=generator))


def assert_parity(ours: Tensor, reference: Tensor) -> None:
    """Relative error ≤ 1e-4 in fp32, of the logits and of what differs between pictures, and logits that vary."""
    assert ours.shape == reference.shape
    assert reference.std() >= 0.5
    error = ((ours - reference).norm() / reference.norm()).item()
    spread = reference - reference.mean(0)
    assert spread.std() >= 0.5
    spread_error = (((ours - ours.mean(0)) - spread).norm() / spread.norm()).item()
    print(f"relative error {error:.2g}, of the differences {spread_error:.2g}; deviation {reference.std():.3g}")
    assert error <= 1e-4
    assert spread_error <= 1e-4
