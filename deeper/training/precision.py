"""Which arithmetic a machine really has."""

from __future__ import annotations

import torch


def has_bf16(device: str) -> bool:
    """Whether `device` multiplies bf16 in hardware: AVX-512 BF16 or AMX on a processor, compute capability 8 on a GPU.

    Elsewhere bf16 is emulated and slower than fp32.
    """
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("amx_tile"))
    return False


def choose_device(wanted: str = "auto") -> str:
    """`cuda` where there is a GPU, else `cpu`; a name is taken as it is."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_precision(wanted: str, device: str) -> tuple[str, str]:
    """The precision (`bf16` or `fp32`) and one line that says why."""
    if wanted == "auto":
        if has_bf16(device):
            return "bf16", f"bf16: this {_noun(device)} multiplies it in hardware"
        return "fp32", f"fp32: this {_noun(device)} has no bf16 arithmetic"
    if wanted == "bf16" and not has_bf16(device):
        return "bf16", f"bf16 as asked, emulated: this {_noun(device)} has no bf16 arithmetic and fp32 would be faster"
    return wanted, f"{wanted}, as asked"


def _noun(device: str) -> str:
    return "GPU" if device.startswith("cuda") else "processor"
