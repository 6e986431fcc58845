"""A small real training that sends the loop's events, so that this room's tests need none of the rooms below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from deeper.evaluation import Evaluation
from deeper.models.output import Output
from deeper.training.events import (
    CheckpointDue,
    DetailDone,
    EpochDone,
    Event,
    Finished,
    Started,
    StepDone,
)


@dataclass(frozen=True)
class Optimizer:
    name = "sgd"
    rate: float = 0.05


@dataclass(frozen=True)
class Options:
    """As much of the loop's options as is shown."""

    recipe: str = "fast"
    model: str = "small"
    seed: int = 7
    optimizer: Optimizer = Optimizer()
    distortions: tuple[str, ...] = ("rotation", "scale")


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.activation(self.norm(self.convolution(images)))
        return result


class SmallNet(nn.Module):
    """Batch norm, a rectifier as module and one as function, dropout, an auxiliary head: all that can be watched."""

    def __init__(self, classes: int = 3, channels: int = 1) -> None:
        super().__init__()
        self.first = Block(channels, 8)
        self.second = Block(8, 12)
        self.hidden = nn.Linear(12, 16)
        self.dropout = nn.Dropout(0.25)
        self.logits = nn.Linear(16, classes)
        self.auxiliary = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Output:
        low = self.first(images)
        high = F.max_pool2d(self.second(low), 2)
        features = F.relu(self.hidden(high.mean((2, 3))))
        aux = (self.auxiliary(low.mean((2, 3))),) if self.training else ()
        return Output(self.logits(self.dropout(features)), aux, features)


def squares(
    count: int, classes: int = 3, seed: int = 0, channels: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noisy pictures 12 × 12 whose brightness tells the class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    centre = (40 + 180 * labels / max(1, classes - 1))[:, None, None, None]
    pictures = np.clip(generator.normal(centre, 250, (count, 12, 12, channels)), 0, 255).astype(np.uint8)
    return pictures, labels


@torch.no_grad()
def forward_again(model: nn.Module, images: Tensor) -> None:
    """As the loop does it: without a trace."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.random.fork_rng([]):
        model(images)
    model.load_state_dict(before)


def train(
    *,
    model: nn.Module,
    training: tuple[NDArray[np.uint8], NDArray[np.int64]],
    validation: tuple[NDArray[np.uint8], NDArray[np.int64]],
    classes: tuple[str, ...],
    steps: int,
    first_step: int = 0,
    per_epoch: int = 10,
    detail_every: int = 10,
    batch: int = 32,
    reason: Any = "done",
    picture_seconds: Callable[[], None] = lambda: None,
) -> Iterator[Event]:
    """The events of the steps `first_step` + 1 … `steps`."""
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)

    def tensor(pictures: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255

    yield Started(
        model=model,
        options=Options(),  # type: ignore[arg-type]
        steps=steps,
        first_step=first_step,
        steps_per_epoch=per_epoch,
        precision="fp32",
        device="cpu",
        sample=tensor(training[0][:1]) - 0.5,
    )
    for step in range(first_step, steps):
        chosen = np.random.default_rng(step).integers(0, len(training[1]), batch)
        images, labels = tensor(training[0][chosen]), torch.from_numpy(training[1][chosen])
        model.train()
        output = model(images - 0.5)
        loss = F.cross_entropy(output.logits, labels)
        auxiliary = sum((F.cross_entropy(head, labels) for head in output.aux), torch.zeros(()))
        optimizer.zero_grad()
        (loss + 0.4 * auxiliary).backward()  # type: ignore[no-untyped-call]
        if step % detail_every == 0:
            ids = [f"train/{i:05}" for i in chosen]
            again = partial(forward_again, model, images - 0.5)
            yield DetailDone(step=step, model=model, images=images, labels=labels, ids=ids, again=again)
        optimizer.step()
        done = step + 1
        if done % 5 == 0:
            yield StepDone(
                step=done,
                epoch=step // per_epoch,
                images=5 * batch,
                loss=float((loss + 0.4 * auxiliary).detach()) + 0.01,
                parts={
                    "cross_entropy": float(loss.detach()),
                    "auxiliary": 0.4 * float(auxiliary.detach()),
                    "regularisation": 0.01,
                },
                accuracy=float((output.logits.argmax(1) == labels).float().mean()),
                learning_rate=0.05,
                images_per_second=1234.0,
                seconds=done * 0.1,
                size=tuple(images.shape[2:]),  # type: ignore[arg-type]
            )
        if done % per_epoch == 0:
            model.eval()
            with torch.no_grad():
                judged = [model(tensor(validation[0][i : i + 500]) - 0.5) for i in range(0, len(validation[1]), 500)]
            evaluation = Evaluation(
                classes,
                tuple(f"validation/{i:05}" for i in range(len(validation[1]))),
                validation[1],
                torch.cat([part.logits for part in judged]).numpy(),
                torch.cat([part.features for part in judged]).numpy(),
            )
            yield EpochDone(
                epoch=step // per_epoch,
                step=done,
                seconds=done * 0.1,
                evaluation=evaluation,
                averaged=False,
                best=True,
                pictures=lambda positions: validation[0][np.asarray(positions, np.int64)],
                size=validation[0].shape[1:3],
            )
            yield CheckpointDue(step=done, state=None, best=True)  # type: ignore[arg-type]
    yield Finished(step=steps, seconds=steps * 0.1, reason=reason, best_step=steps)
