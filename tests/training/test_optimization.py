import math

import numpy as np
import pytest
import torch
from torch import nn

from deeper.errors import UsageError
from deeper.training.optimization import build_optimizer, parameter_groups, regularisation
from deeper.training.optimizers import AdamW, RmsProp, Sgd


def tensorflow_rmsprop(weight, gradients, rate, decay, momentum, epsilon):
    """ApplyRMSProp of TensorFlow 1, written out in plain Python floats, one number at a time."""
    accumulator, buffer = 1.0, 0.0
    path = []
    for gradient in gradients:
        accumulator = decay * accumulator + (1 - decay) * gradient * gradient
        buffer = momentum * buffer + rate * gradient / math.sqrt(accumulator + epsilon)
        weight = weight - buffer
        path.append(weight)
    return path


def test_a_layer_that_does_not_run_in_every_step():
    """Stochastic depth: its momentum begins at its first gradient, and the others' are torch's to the bit."""
    often, seldom, alone = (nn.Parameter(torch.tensor([[1.0, -2.0, 3.0]])) for _ in range(3))
    ours = build_optimizer(nn.ParameterList([often, seldom]), Sgd(rate=0.1, momentum=0.9))
    theirs = torch.optim.SGD([alone], lr=0.1, momentum=0.9, nesterov=False, fused=True)
    for number in range(6):
        gradient = torch.tensor([[0.3, -0.1, 0.7]]) * (number + 1)
        often.grad = alone.grad = gradient
        seldom.grad = gradient if number >= 3 else None
        ours.step()
        theirs.step()
        assert torch.equal(often, alone)
        assert torch.equal(seldom, torch.tensor([[1.0, -2.0, 3.0]])) == (number < 3)


def test_a_network_in_which_nothing_trains_is_refused():
    frozen = nn.Linear(2, 2).requires_grad_(False)
    for model in (frozen, nn.Identity()):
        with pytest.raises(UsageError, match="no weight that trains"):
            build_optimizer(model, Sgd(rate=0.1))


@pytest.mark.parametrize("epsilon", [1.0, 1e-3])
def test_rmsprop_is_tensorflows(epsilon):
    generator = np.random.default_rng(3)
    start = generator.normal(size=5)
    gradients = generator.normal(size=(20, 5))
    layer = nn.Parameter(torch.tensor(start, dtype=torch.float64).reshape(1, 5))
    model = nn.ParameterList([layer])
    optimizer = build_optimizer(model, RmsProp(rate=0.1, decay=0.9, momentum=0.9, epsilon=epsilon))
    ours = []
    for gradient in gradients:
        layer.grad = torch.tensor(gradient).reshape(1, 5)
        optimizer.step()
        ours.append(layer.detach().numpy().ravel().copy())
    for column in range(5):
        wanted = tensorflow_rmsprop(start[column], gradients[:, column], 0.1, 0.9, 0.9, epsilon)
        np.testing.assert_allclose([row[column] for row in ours], wanted, rtol=1e-12)


def test_rmsprop_is_not_torchs():
    # The reason for having our own: at epsilon = 1.0 torch's takes other steps.
    ours, theirs = (nn.Parameter(torch.ones(1, 1)) for _ in range(2))
    optimizer = build_optimizer(nn.ParameterList([ours]), RmsProp(rate=0.1, epsilon=1.0))
    other = torch.optim.RMSprop([theirs], lr=0.1, alpha=0.9, momentum=0.9, eps=1.0)
    for weight, stepper in ((ours, optimizer), (theirs, other)):
        weight.grad = torch.full((1, 1), 0.5)
        stepper.step()
    assert abs(ours.item() - theirs.item()) > 0.005


@pytest.mark.parametrize("options", [Sgd(weight_decay=0.1), AdamW(weight_decay=0.1), RmsProp(weight_decay=0.1)])
def test_biases_never_decay(options):
    model = nn.Linear(4, 3)
    groups = parameter_groups(model, options.weight_decay)
    decay = {id(weight): group["weight_decay"] for group in groups for weight in group["params"]}
    assert decay == {id(model.weight): 0.1, id(model.bias): 0.0}


def test_coupled_decay_is_the_gradient_of_its_loss():
    torch.manual_seed(0)
    options = Sgd(rate=1.0, momentum=0.0, weight_decay=0.3)
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone()
    weight = before.clone().requires_grad_()
    (0.3 / 2 * weight.square().sum()).backward()
    assert regularisation(model, options) == pytest.approx(0.15 * float(before.square().sum()), rel=1e-6)
    optimizer = build_optimizer(model, options)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before - weight.grad)


def test_decoupled_decay_is_not_part_of_the_loss():
    assert regularisation(nn.Linear(3, 2), AdamW(weight_decay=0.5)) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sgd(rate=0.0),
        lambda: Sgd(momentum=1.0),
        lambda: Sgd(momentum=0.0, nesterov=True),
        lambda: AdamW(rate=-1.0),
        lambda: AdamW(weight_decay=-0.1),
        lambda: RmsProp(epsilon=0.0),
        lambda: Sgd(rate=math.nan),
    ],
)
def test_impossible_values_are_refused(make):
    with pytest.raises(UsageError):
        make()
