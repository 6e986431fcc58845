"""Batch norm folded away: the same answers from fewer operators."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deeper.models import MODELS, Architecture, create
from deeper.models.blocks import Convolution, Style
from deeper.models.folding import folded


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_the_same(name: str) -> None:
    torch.manual_seed(0)
    side = MODELS[name].smallest
    model = create(Architecture(model=name, classes=5, channels=3, height=side, width=side))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.train()
    before = {key: one.clone() for key, one in model.state_dict().items()}
    lighter, images = folded(model), torch.rand(2, 3, side, side)
    assert model.training and all(torch.equal(one, before[key]) for key, one in model.state_dict().items())
    assert not any(isinstance(one, nn.BatchNorm2d) for one in lighter.modules())
    with torch.no_grad():
        wanted, given = model.eval()(images), lighter(images)
    assert given.logits.std() > 0
    torch.testing.assert_close(given.logits, wanted.logits, rtol=0, atol=1e-5 * wanted.logits.abs().max().item())
    torch.testing.assert_close(given.features, wanted.features, rtol=0, atol=1e-5 * wanted.features.abs().max().item())


class Doubled(Convolution):
    """Batch norm twice: no convolution alone gives that."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.norm is not None
        return self.norm(self.norm(self.convolution(x)))


def test_what_computes_something_else_is_left() -> None:
    model = nn.Sequential(Doubled(3, 4, 3, style=Style()), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).eval()
    images = torch.rand(2, 3, 8, 8)
    lighter = folded(model)
    assert sum(isinstance(one, nn.BatchNorm2d) for one in lighter.modules()) == 2
    assert torch.equal(lighter(images), model(images))
