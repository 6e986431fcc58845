"""Freezing, thawing, lower rates for early layers; and that nothing of it is felt where it is not asked for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeper.errors import UsageError
from deeper.models import MODELS, Architecture, create
from deeper.models.custom import Wrapped
from deeper.training.course import Course, Sized
from deeper.training.fine_tuning import Freezing, blocks
from deeper.training.optimization import build_optimizer, parameter_groups
from deeper.training.optimizers import AdamW, AnyOptimizer, RmsProp, Sgd
from deeper.training.options import FineTuning, Options, thawed
from deeper.training.state import State


class Plain(nn.Module):
    """Somebody's own: layers by themselves and in a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.body = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, bias=False),
            nn.BatchNorm2d(4),
        )
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.body(torch.relu(self.stem(x))).mean((2, 3))))


def wrapped() -> nn.Module:
    torch.manual_seed(0)
    return Wrapped("mine", Plain(), 3)


def network(model: str, **arguments: object) -> nn.Module:
    entry = MODELS[model]
    side = max(entry.smallest, 28)
    with torch.device("meta"):
        return create(
            Architecture(model=model, classes=3, channels=1, height=side, width=side, arguments=dict(arguments))
        )


def test_blocks_are_the_endpoints() -> None:
    names = [block.name for block in blocks(network("inception_v3"))]
    assert names[:5] == ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
    assert names[5:] == [
        *(f"Mixed_5{letter}" for letter in "bcd"),
        *(f"Mixed_6{letter}" for letter in "abcde"),
        "AuxLogits",
        *(f"Mixed_7{letter}" for letter in "abc"),
        "Logits",
    ]
    assert [block.name for block in blocks(network("inception_v3")) if block.head] == ["AuxLogits", "Logits"]
    assert [block.name for block in blocks(network("nielsen"))][-1] == "logits"
    resnet = [block.name for block in blocks(network("inception_resnet_v2"))]
    assert "Repeat_1" in resnet and not any("." in name for name in resnet)
    own = blocks(wrapped())
    assert [block.name for block in own if block.head] == ["module.last"]
    assert own[0].name == "module.stem"


class Tokens(nn.Module):
    """Somebody's own with parameters of its own beside its layers, one of them of several parts."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.ones(1, 16, 8))
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.middle = nn.Linear(8, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.last(self.middle(tokens).mean(1))


def test_parameters_beside_layers_are_a_block_of_their_own() -> None:
    model = Wrapped("mine", Tokens(), 3)
    found = blocks(model)
    names = ["module", "module.patches", "module.attention", "module.middle", "module.last"]
    assert [block.name for block in found] == names
    assert [block.name for block in found if block.head] == ["module.last"]
    assert [id(weight) for block in found for weight in block.module.parameters()] == [*map(id, model.parameters())]
    freezing = Freezing(model, FineTuning(freeze_epochs=1, layer_decay=0.5))
    freezing.begin(head_only=True)
    training = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert training == {"module.last.weight", "module.last.bias"}
    scales = {id(weight): group.get("scale", 1.0) for group in freezing.groups(0.0) for weight in group["params"]}
    assert scales[id(model.module.position)] == 0.5**4 and scales[id(model.module.middle.weight)] == 0.5


@pytest.mark.parametrize("model", [*MODELS])
def test_every_parameter_is_in_one_group_once(model) -> None:
    built = network(model)
    options = FineTuning(freeze_share=0.2, freeze_until=blocks(built)[2].name, layer_decay=0.8)
    groups = Freezing(built, options).groups(0.1)
    grouped = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in built.parameters())
    for group in groups:
        assert all((weight.ndim > 1) == (group["weight_decay"] > 0) for weight in group["params"])


@pytest.mark.parametrize("model", ["nielsen", "inception_v3"])
def test_without_options_the_groups_are_what_they_were(model) -> None:
    built = network(model)
    for options in (FineTuning(), FineTuning(freeze_epochs=0), FineTuning(batch_norm="frozen_statistics")):
        ours, plain = Freezing(built, options).groups(0.1), parameter_groups(built, 0.1)
        assert [group.keys() for group in ours] == [group.keys() for group in plain]
        for one, other in zip(ours, plain, strict=True):
            assert one["weight_decay"] == other["weight_decay"]
            assert [id(weight) for weight in one["params"]] == [id(weight) for weight in other["params"]]


def test_rates_fall_towards_the_input() -> None:
    built = network("inception_v3")
    names = {id(weight): name for name, weight in built.named_parameters()}
    scales = {
        names[id(weight)].partition(".")[0]: group.get("scale", 1.0)
        for group in Freezing(built, FineTuning(layer_decay=0.8)).groups(0.0)
        for weight in group["params"]
    }
    assert scales["Logits"] == scales["AuxLogits"] == 1.0
    assert scales["Mixed_7c"] == pytest.approx(0.8)
    assert scales["Mixed_6e"] == pytest.approx(0.8**4)
    assert scales["Conv2d_1a_3x3"] == pytest.approx(0.8**16)


def trained(
    fine_tuning: FineTuning, steps: int = 4, head_only: int = 0, optimizer: AnyOptimizer | None = None
) -> State:
    """A few steps as the loop takes them."""
    options = Options(optimizer=optimizer or AdamW(rate=0.01), fine_tuning=fine_tuning)
    state = State(wrapped(), options, steps=steps, device="cpu")
    generator = torch.Generator().manual_seed(5)
    for step in range(steps):
        images = torch.rand(12, 1, 8, 8, generator=generator)
        labels = torch.randint(0, 3, (12,), generator=generator)
        state.freezing.begin(head_only=step < head_only)
        torch.manual_seed(step)
        loss = F.cross_entropy(state.model(images).logits, labels)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in state.optimizer.param_groups:
            group["lr"] = options.optimizer.rate * group.get("scale", 1.0)
        state.optimizer.step()
    return state


def moved(state: State) -> set[str]:
    before = wrapped().state_dict()
    return {name for name, tensor in state.model.state_dict().items() if not torch.equal(tensor, before[name])}


OPTIMIZERS = [Sgd(rate=0.01), AdamW(rate=0.01), RmsProp(rate=0.01)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_head_alone_then_everything(optimizer) -> None:
    alone = trained(FineTuning(freeze_epochs=1), steps=3, head_only=3, optimizer=optimizer)
    assert moved(alone) == {"module.last.weight", "module.last.bias"}
    # Layers that thaw later have no moments until then.
    then = trained(FineTuning(freeze_epochs=1), steps=4, head_only=2, optimizer=optimizer)
    assert moved(then) == set(wrapped().state_dict())
    counted = then.model.state_dict()["module.body.1.num_batches_tracked"]
    assert int(counted) == 2  # frozen, it computed as in evaluation


def test_what_is_frozen_for_good_stays_to_the_bit() -> None:
    state = trained(FineTuning(freeze_until="body/3"), steps=3)
    assert not {name for name in moved(state) if name.startswith(("module.stem", "module.body.0", "module.body.1"))}
    assert {"module.body.3.weight", "module.body.4.running_mean", "module.last.bias"} <= moved(state)
    assert state.freezing.by_batch() == ("module.body.4",)


@pytest.mark.parametrize(
    ("policy", "statistics", "scale"),
    [("train", True, True), ("frozen_statistics", False, True), ("frozen", False, False)],
)
def test_what_batch_norm_does(policy, statistics, scale) -> None:
    state = trained(FineTuning(batch_norm=policy))
    names = moved(state)
    assert ("module.body.1.running_mean" in names) is statistics
    assert ("module.body.1.num_batches_tracked" in names) is statistics
    assert ("module.body.1.weight" in names) is scale
    assert "module.body.0.weight" in names
    assert bool(state.freezing.by_batch()) is statistics


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_without_options_training_is_what_it_was(optimizer) -> None:
    ours = trained(FineTuning(), optimizer=optimizer)
    model = wrapped()
    plain = build_optimizer(model, optimizer)
    generator = torch.Generator().manual_seed(5)
    for step in range(4):
        images = torch.rand(12, 1, 8, 8, generator=generator)
        labels = torch.randint(0, 3, (12,), generator=generator)
        model.train()
        torch.manual_seed(step)
        loss = F.cross_entropy(model(images).logits, labels)
        plain.zero_grad(set_to_none=True)
        loss.backward()
        plain.step()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, ours.model.state_dict()[name]), name


def test_the_inceptions_thaw_through_their_kernels() -> None:
    """Gradients stop where layers are frozen, and what is above them trains as without kernels."""
    from deeper.models import kernels

    kernels.prepare()
    architecture = Architecture(model="inception_v1", classes=3, channels=1, height=32, width=32)
    torch.manual_seed(0)
    model = create(architecture)
    freezing = Freezing(model, FineTuning(freeze_until="Mixed_4b", freeze_epochs=1))
    images = torch.rand(4, 1, 32, 32)
    for head_only in (True, False, True):
        model.zero_grad(set_to_none=True)
        freezing.begin(head_only)
        output = model(images)
        sum(logits.sum() for logits in (output.logits.square(), *output.aux)).backward()
        with_gradient = {name.partition(".")[0] for name, weight in model.named_parameters() if weight.grad is not None}
        heads = {"Logits", "AuxLogits_4b", "AuxLogits_4e"}
        upper = {block.name for block in freezing.blocks[5:]}
        assert with_gradient == (heads if head_only else upper | heads)
        assert not model.Mixed_3b.training and model.Mixed_4b.training is not head_only and model.training
        assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


def test_somebodys_own_frozen_layers_stay_theirs() -> None:
    model = Plain()
    model.stem.requires_grad_(False)
    freezing = Freezing(Wrapped("mine", model, 3), FineTuning(freeze_epochs=1))
    for head_only in (True, False):
        freezing.begin(head_only)
        assert not model.stem.weight.requires_grad
        assert model.body[0].weight.requires_grad is not head_only


def test_what_never_thawed_did_not_go_by_batches() -> None:
    model = create(Architecture(model="inception_v1", classes=3, channels=1, height=32, width=32))
    freezing = Freezing(model, FineTuning(freeze_epochs=2))
    assert len(freezing.by_batch()) > 50
    assert {name.partition(".")[0] for name in freezing.by_batch(head_only=True)} == {"AuxLogits_4b", "AuxLogits_4e"}
    to_the_end = Freezing(model, FineTuning(freeze_until="Logits"))
    assert {name.partition(".")[0] for name in to_the_end.by_batch()} == {"AuxLogits_4b", "AuxLogits_4e"}


def test_how_many_steps_are_frozen() -> None:
    model = wrapped()
    course = Course([Sized(height=28, width=28, batch=32, share=1.0)], [100], pictures=320)
    for options, steps in (
        (FineTuning(freeze_epochs=1.5), 15),
        (FineTuning(freeze_epochs=50), 100),
        (FineTuning(freeze_share=0.1), 10),
        (FineTuning(freeze_share=0.1, freeze_epochs=0), 0),
        (thawed(FineTuning(freeze_share=0.1, freeze_epochs=2)), 0),
    ):
        assert Freezing(model, options).frozen_steps(course) == steps


def test_frozen_epochs_are_those_that_are_shown_whatever_the_batches() -> None:
    # Epochs of 10 steps, then of 40: half an epoch at the first size.
    stages = [Sized(height=14, width=14, batch=32, share=0.2), Sized(height=28, width=28, batch=8, share=0.8)]
    course = Course(stages, [5, 80], pictures=320)
    frozen = [Freezing(wrapped(), FineTuning(freeze_epochs=epochs)).frozen_steps(course) for epochs in (0.2, 0.5, 1, 9)]
    assert frozen == [2, 5, 25, 85]
    assert [course.shown(step) for step in (2, 5, 25, 85)] == [0.2, 0.5, 1.0, 2.5]


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="no layer 'Mixed_6z'; did you mean 'Mixed_6.'"):
        Freezing(network("inception_v3"), FineTuning(freeze_until="Mixed_6z"))
    with pytest.raises(UsageError, match="no layer 'las'; did you mean 'last'"):
        Freezing(wrapped(), FineTuning(freeze_until="las"))
    with pytest.raises(UsageError, match="no layer 'drop'"):
        Freezing(wrapped(), FineTuning(freeze_until="drop"))
    for bad in ({"freeze_epochs": -1.0}, {"freeze_share": 1.1}, {"layer_decay": 0.0}, {"layer_decay": 1.5}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            FineTuning(**bad)
