"""Into networks of one's own, whose last layer may have any name (`test_loading.py` has those of the catalog)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from deeper.models.custom import Wrapped
from deeper.models.weights.fitting import fit
from deeper.models.weights.foreign import Weights
from deeper.models.weights.look import Look

CLASSES = 3


class Own(nn.Module):
    """`last` comes before `body` in the order of names, after it in that of layers; one layer of it is as wide."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, CLASSES, 3), nn.BatchNorm2d(CLASSES), nn.Conv2d(CLASSES, 4, 3))
        self.last = last
        self.again = nn.Sequential(self.body, self.last)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.body(x).mean((2, 3), keepdim=isinstance(self.last, nn.Conv2d)))
        return logits.flatten(1)


def weights_of(model: nn.Module) -> Weights:
    return Weights(
        name="mine",
        sha256="0" * 64,
        source="deeper",
        form="bundle",
        model="mine:Own",
        classes=CLASSES,
        channels=1,
        arguments={},
        look=Look(),
        tensors={name: torch.full_like(tensor, 7) for name, tensor in model.state_dict().items()},
    )


@pytest.mark.parametrize(
    "last",
    [
        nn.Linear(4, CLASSES),
        nn.Conv2d(4, CLASSES, 1),
        weight_norm(nn.Linear(4, CLASSES)),
        nn.Sequential(nn.Linear(4, CLASSES), nn.ReLU(), nn.Linear(CLASSES, CLASSES)),
    ],
    ids=["linear", "convolution", "weight norm", "two"],
)
def test_the_last_layer_for_other_classes_is_replaced_whatever_its_name(last: nn.Module) -> None:
    model = Wrapped("mine:Own", Own(last), CLASSES)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    outermost = "last.2" if isinstance(last, nn.Sequential) else "last"
    wanted = {name for name in before if name.startswith((f"module.{outermost}.", f"module.again.1{outermost[4:]}."))}
    fitted = fit(model, weights_of(model), classes=CLASSES, channels=1, head=False)
    assert set(fitted.replaced) == wanted and set(fitted.loaded) == before.keys() - wanted
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) if name in wanted else bool((tensor == 7).all()), name
    assert f"module.{outermost}" in fitted.describe(weights_of(model), CLASSES, 1)
    assert not fit(model, weights_of(model), classes=CLASSES, channels=1).replaced
