"""The state of a training run: all that a checkpoint must hold for a bit-identical resume.

Everything else (order, distortions, dropout, learning rate) is a function of the seed and the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deeper.errors import RunError
from deeper.training.averaging import AveragedWeights
from deeper.training.fine_tuning import Freezing
from deeper.training.optimization import build_optimizer
from deeper.training.options import Options

# What the meter sums since the last report, in float64: pictures, total loss, cross-entropy, auxiliary loss, correct
# answers, each weighted by pictures. Part of the state, so that a report that spans a resume is exact.
METER = ("images", "loss", "cross_entropy", "auxiliary", "correct")


class State:
    """Model, optimizer, averaged weights, counters and meter of a run on one device."""

    def __init__(self, model: nn.Module, options: Options, *, steps: int, device: str) -> None:
        self.model = model
        self.options = options
        self.device = device
        self.freezing = Freezing(model, options.fine_tuning)
        self.optimizer = build_optimizer(model, options.optimizer, self.freezing.groups(options.optimizer.weight_decay))
        self.averaged = AveragedWeights(model, options.averaging) if options.averaging else None
        self.meter = torch.zeros(len(METER), dtype=torch.float64, device=device)
        self.steps = steps
        self.step = 0
        self.best_score: float | None = None
        self.best_step: int | None = None
        self.validations_without_better = 0
        # What each training picture cost when all were judged, float32 N; see `deeper.training.difficulty`.
        self.costs: Tensor | None = None

    @property
    def stops_early(self) -> bool:
        """Whether validation has not become better for as long as early stopping waits."""
        patience = self.options.early_stopping
        return patience is not None and self.validations_without_better >= patience

    def facts(self) -> dict[str, Any]:
        """The counters, as plain data."""
        return {
            "step": self.step,
            "steps": self.steps,
            "best_score": self.best_score,
            "best_step": self.best_step,
            "validations_without_better": self.validations_without_better,
            **({"averaged_step": self.averaged.updated} if self.averaged else {}),
        }

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; they are the live ones, not copies."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.averaged:
            tensors.update({f"averaged/{name}": tensor for name, tensor in self.averaged.tensors.items()})
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{key}/{name}"] = value
        tensors["meter"] = self.meter
        if self.costs is not None:
            tensors["costs"] = self.costs
        return tensors

    def is_finite(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether the trained weights in `tensors`, named as `tensors()` names them, are numbers, averaged ones too.
        Buffers may hold infinities on purpose, as masks do."""
        names = [name for name, _ in self.model.named_parameters()]
        kept = (tensors.get(f"{kind}/{name}") for kind in ("model", "averaged") for name in names)
        return all(bool(tensor.isfinite().all()) for tensor in kept if tensor is not None)

    def weights(self) -> dict[str, Tensor]:
        """The weights to keep: the averaged ones where there are any."""
        return self.averaged.tensors if self.averaged else self.model.state_dict()

    @torch.no_grad()
    def load(self, facts: dict[str, Any], tensors: dict[str, Tensor], *, planned: int = 0) -> None:
        """Become the state that was saved. `planned`: the steps of the whole training, where they are fixed already.

        Raises: RunError, when it belongs to another network, or to another training than the options say.
        """
        if planned not in (0, int(facts["steps"])):
            raise RunError(
                f"config.toml says {planned:,} steps and its checkpoint {facts['steps']:,}; put the old config.toml back, "
                "or train again into a new folder"
            )
        model = {name.removeprefix("model/"): value for name, value in tensors.items() if name.startswith("model/")}
        try:
            self.model.load_state_dict(model)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise RunError(
                f"the checkpoint belongs to another network ({reason}); resume with the run's own code"
            ) from None
        if bool(self.averaged) != any(name.startswith("averaged/") for name in tensors):
            raise RunError(
                "the checkpoint and config.toml disagree on whether weights are averaged; put the old config.toml back"
            )
        if self.averaged:
            for name, tensor in self.averaged.tensors.items():
                tensor.copy_(tensors[f"averaged/{name}"])
        parameters = dict(self.model.named_parameters())
        for name, value in tensors.items():
            if not name.startswith("optimizer/"):
                continue
            _, key, parameter_name = name.split("/", 2)
            parameter = parameters[parameter_name]
            # The step counters of the fused optimizers live where the parameter lives; moments keep its memory format.
            moved = (
                torch.empty_like(parameter)
                if value.shape == parameter.shape
                else torch.empty_like(value, device=self.device)
            )
            moved.copy_(value)
            self.optimizer.state[parameter][key] = moved
        self.meter.copy_(tensors["meter"])
        self.costs = tensors["costs"].cpu() if "costs" in tensors else None
        self.step = int(facts["step"])
        self.steps = int(facts["steps"])
        self.best_score = facts["best_score"]
        self.best_step = facts["best_step"]
        self.validations_without_better = int(facts["validations_without_better"])
        if self.averaged:
            # A checkpoint of an older version does not say; there only each `every`-th step moved the average.
            before = self.step - self.step % self.averaged.options.every
            self.averaged.updated = int(facts.get("averaged_step", before))

    def read_meter(self) -> dict[str, float]:
        """Means since the last reading, and `images`."""
        images, *sums = self.meter.tolist()
        count = max(images, 1.0)
        return {"images": images, **{name: value / count for name, value in zip(METER[1:], sums, strict=True)}}
