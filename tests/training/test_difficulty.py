"""Which pictures a stage of the hardest shows: judged by a network whose answers are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeper import draws
from deeper.distortions import Rotation
from deeper.distortions.apply import Distorter
from deeper.models.output import Output
from deeper.training import difficulty
from deeper.training.course import Course, Sized
from deeper.training.difficulty import UNKNOWN, hardest, judged
from deeper.training.events import CheckpointDue, Event, Finished
from deeper.training.loop import train
from deeper.training.options import Averaging, Options
from deeper.training.state import State
from deeper.training.stepping import Feed, Stepper, seconds_per_step, unchanged

COUNT = 40


class Greys:
    """Forty pictures, each of a grey of its own, all of class 0."""

    kind = "40 pictures"
    ids = tuple(f"picture {number}" for number in range(COUNT))
    keys = draws.keys(ids)
    labels = np.zeros(COUNT, np.int64)

    def __len__(self) -> int:
        return COUNT

    def take(self, positions):
        return np.repeat(positions.astype(np.uint8), 16).reshape(-1, 4, 4, 1)


class Darker(nn.Module):
    """The lighter a picture, the surer it is of class 1, which is wrong. Wrong about everything while training."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(100.0))

    def forward(self, images: Tensor) -> Output:
        lightness = images.mean((1, 2, 3))
        wrong = self.slope * (-lightness if self.training else lightness)
        return Output(torch.stack([torch.zeros_like(wrong), wrong], 1), (), lightness[:, None])


def feed(stages, counts) -> Feed:
    return Feed(
        pictures=Greys(),
        distorter=Distorter((Rotation(degrees=30),), seed=0, size=(4, 4), fill="zeros"),
        normalise=lambda images: images,
        sample=torch.zeros(1, 1, 4, 4),
        classes=2,
        precision="fp32",
        course=Course(stages, counts, pictures=COUNT),
    )


def stage(batch: int = 4, hardest: float | None = None) -> Sized:
    return Sized(height=4, width=4, batch=batch, share=0.5, hardest=hardest)


def state_of(steps: int, **changes) -> State:
    return State(Darker(), Options(batch=4, **changes), steps=steps, device="cpu")


def test_the_costliest_come_out_and_of_equal_ones_the_earlier() -> None:
    costs = torch.tensor([0.5, UNKNOWN, 2.0, 0.5, math.inf, 0.5])
    assert hardest(costs, 2).tolist() == [2, 4]
    assert hardest(costs, 4).tolist() == [0, 2, 3, 4]
    assert hardest(costs, 6).tolist() == [0, 1, 2, 3, 4, 5]


def test_costs_are_cross_entropies_in_evaluation_mode_of_undistorted_pictures() -> None:
    model, pictures = Darker().train(), Greys()

    def shown(positions):
        return torch.from_numpy(pictures.take(positions)).permute(0, 3, 1, 2) / 255

    costs = judged(model, pictures, shown, seed=0, most=COUNT, batch=7)
    wanted = [math.log1p(math.exp(100 * grey / 255)) for grey in range(COUNT)]
    assert costs.tolist() == pytest.approx(wanted, rel=1e-4) and model.training
    few = judged(model, pictures, shown, seed=0, most=10, batch=7)
    first = draws.order(0, 0, pictures.keys)[:10]
    assert sorted(np.flatnonzero(few.numpy() > UNKNOWN)) == sorted(first)


def test_judging_ends_where_it_is_stopped_and_says_how_far_it_is(monkeypatch) -> None:
    monkeypatch.setattr(difficulty, "SILENT", -1.0)
    pictures, said, asked = Greys(), [], []

    def shown(positions):
        return torch.from_numpy(pictures.take(positions)).permute(0, 3, 1, 2) / 255

    def third() -> bool:
        asked.append(True)
        return len(asked) == 3

    rest = {"seed": 0, "most": COUNT, "batch": 10, "say": said.append}
    assert judged(Darker(), pictures, shown, stop=third, **rest) is None
    assert said == ["judged 10 of 40 training pictures", "judged 20 of 40 training pictures"]
    assert judged(Darker(), pictures, shown, **rest) is not None


def test_a_training_that_is_stopped_while_judging_goes_on_to_the_same_end() -> None:
    def ended(state: State, stop) -> list[Event]:
        one = feed([stage(), stage(hardest=0.2)], [10, 10])
        return list(
            train(state, one, evaluate=None, pictures=lambda positions: one.pictures.take(positions), stop=stop)
        )

    whole, parts = state_of(20), state_of(20)
    ended(whole, lambda: False)
    asked = iter([False] * 10 + [True])  # after each of ten steps, then while judging
    events = ended(parts, lambda: next(asked))
    assert parts.step == 10 and parts.costs is None
    assert isinstance(events[-2], CheckpointDue) and isinstance(events[-1], Finished)
    assert events[-1].reason == "interrupted"
    ended(parts, lambda: False)
    assert torch.equal(parts.model.slope, whole.model.slope) and torch.equal(parts.costs, whole.costs)


def test_a_leg_shows_the_hardest_alone_each_once_a_turn() -> None:
    state = state_of(26)
    one = feed([stage(), stage(hardest=0.2), stage(batch=2, hardest=0.1)], [10, 10, 6])
    batches = list(one.batches(state, 0, 26))
    assert sorted(np.concatenate([batch.positions for batch in batches[:10]])) == list(range(COUNT))
    for turn in range(5):
        shown = np.concatenate([batch.positions for batch in batches[10 + 2 * turn : 12 + 2 * turn]])
        assert sorted(shown) == list(range(32, 40))
    for turn in range(3):
        shown = np.concatenate([batch.positions for batch in batches[20 + 2 * turn : 22 + 2 * turn]])
        assert sorted(shown) == list(range(36, 40))
    orders = {
        tuple(np.concatenate([batch.positions for batch in batches[10 + 2 * turn : 12 + 2 * turn]]))
        for turn in range(5)
    }
    assert len(orders) > 1
    # Positions, labels and keys belong together, and each turn distorts anew.
    assert all((batch.keys == Greys.keys[batch.positions]).all() for batch in batches)
    assert [one.course_of(state).epoch(step) for step in (0, 9, 10, 11, 12, 18, 20, 22)] == [0, 0, 1, 1, 2, 5, 6, 7]


def test_pictures_are_judged_once_by_the_averaged_weights_of_that_step() -> None:
    state = state_of(20, averaging=Averaging())
    said = []
    one = feed([stage(), stage(hardest=0.2), stage(hardest=0.1)], [10, 5, 5])
    object.__setattr__(one, "notice", said.append)
    assert state.averaged is not None
    with torch.no_grad():
        state.model.slope.fill_(-100.0)  # by the last weights the darkest would be the hardest
    assert sorted({int(p) for batch in one.batches(state, 10, 15) for p in batch.positions}) == list(range(32, 40))
    assert state.model.slope.item() == -100.0
    state.averaged.tensors["slope"].fill_(-100.0)  # known already: nothing is judged again
    assert sorted({int(p) for batch in one.batches(state, 15, 20) for p in batch.positions}) == list(range(36, 40))
    assert said == ["judging 40 training pictures at 4×4: from here on the hardest 8 are shown"]


def test_no_more_are_judged_than_were_shown() -> None:
    state = state_of(8)
    one = feed([stage(), stage(hardest=0.1)], [4, 4])
    shown = {int(p) for batch in one.batches(state, 0, 4) for p in batch.positions}
    chosen = {int(p) for batch in one.batches(state, 4, 8) for p in batch.positions}
    assert len(shown) == 16 and chosen == set(sorted(shown)[-4:])


def test_what_was_found_is_part_of_the_state() -> None:
    state = state_of(20)
    one = feed([stage(), stage(hardest=0.2)], [10, 10])
    wanted = [batch.positions.tolist() for batch in one.batches(state, 13, 20)]
    again = state_of(20)
    again.load(state.facts(), {name: tensor.clone() for name, tensor in state.tensors().items()})
    with torch.no_grad():
        again.model.slope.fill_(-100.0)
    assert [batch.positions.tolist() for batch in one.batches(again, 13, 20)] == wanted
    fresh = state_of(20)
    with unchanged(fresh):
        next(one.batches(fresh, 10, 20))
        assert fresh.costs is not None
    assert fresh.costs is None


def test_a_stage_of_the_hardest_is_timed_without_judging() -> None:
    state = state_of(20)
    one = feed([stage(), stage(hardest=0.2)], [10, 10])
    assert seconds_per_step(state, one, stage(hardest=0.2), 2, 1) > 0
    assert state.costs is None
    assert Stepper(state, one).course.legs[1].turn == 2
