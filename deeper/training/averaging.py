"""The exponential average of the weights."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from deeper.models.tensors import holding, learned
from deeper.training.options import Averaging


class AveragedWeights:
    """Averages every floating-point parameter and buffer of `model`; integer buffers are copied, and of masks and the like
    what is not finite: between infinities there is no average.

    After n updates at a decay d per step: average ← d' · average + (1 − d') · weight with
    d' = min(d, (1 + n) / (10 + n)), raised to the number of steps since the last update.
    """

    def __init__(self, model: nn.Module, options: Averaging) -> None:
        self.options = options
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self._learned = learned(model)
        self.updated = 0
        """The step after which it was moved last."""

    @torch.no_grad()
    def update(self, model: nn.Module, steps_done: int, *, wanted: bool = False) -> None:
        """To be called after every step; moves only each `every` steps, and where it is `wanted`: before it is judged,
        and after the last step. Else the first weights, which are random, may be what is judged and kept."""
        if steps_done % self.options.every and not wanted:
            return
        decay = min(self.options.decay, (1 + steps_done) / (10 + steps_done)) ** (steps_done - self.updated)
        self.updated = steps_done
        averages: list[Tensor] = []
        currents: list[Tensor] = []
        unlearned: list[tuple[Tensor, Tensor]] = []
        for name, current in model.state_dict().items():
            if current.is_floating_point():
                averages.append(self.tensors[name])
                currents.append(current)
                if name not in self._learned:
                    unlearned.append((self.tensors[name], current))
            else:
                self.tensors[name].copy_(current)
        torch._foreach_lerp_(averages, currents, 1 - decay)
        for average, current in unlearned:
            average.copy_(torch.where(average.isfinite(), average, current))

    def applied(self, model: nn.Module) -> AbstractContextManager[None]:
        """Within the block `model` holds the averaged weights; afterwards its own again, bit for bit."""
        return holding(model, self.tensors)
