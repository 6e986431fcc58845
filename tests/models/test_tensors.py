from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from deeper.models.tensors import flaw, learned, separate


class Aliased(nn.Module):
    """One layer under two names, and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.both = nn.Sequential(self.norm, nn.Linear(3, 2))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))


def test_tensors_of_one_memory_are_written_under_both_names() -> None:
    whole = torch.arange(6.0)
    tensors = {"first": whole, "again": whole, "part": whole[2:], "turned": whole.view(2, 3).T, "none": torch.zeros(0)}
    read = load(save(separate(tensors)))
    assert read.keys() == tensors.keys() and all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_what_shares_nothing_is_not_copied() -> None:
    tensors = {"one": torch.rand(3), "other": torch.rand(3)}
    assert all(separate(tensors)[name].data_ptr() == tensor.data_ptr() for name, tensor in tensors.items())


def test_what_is_learned_stands_under_all_of_its_names() -> None:
    names = {"weight", "bias", "running_mean", "running_var"}
    assert learned(Aliased()) == {f"{place}.{name}" for place in ("norm", "both.0") for name in names} | {
        "both.1.weight",
        "both.1.bias",
    }
    assert learned(nn.BatchNorm1d(3)) == names


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("mask", -torch.inf, None),
        ("mask", torch.nan, "mask holds NaN"),
        ("both.1.weight", torch.inf, "both.1.weight holds NaN or infinity"),
        ("both.0.running_var", torch.inf, "both.0.running_var holds NaN or infinity"),
        ("norm.bias", torch.nan, "norm.bias holds NaN or infinity"),
    ],
)
def test_masks_may_hold_infinities_and_nothing_else(name: str, value: float, wrong: str | None) -> None:
    model = Aliased()
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state[name].view(-1)[0] = value
    assert flaw(model, state) == wrong
