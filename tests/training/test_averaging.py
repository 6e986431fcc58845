import torch
from torch import nn

from deeper.training.averaging import AveragedWeights
from deeper.training.options import Averaging


def test_warm_up_follows_tensorflows_num_updates():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.0)
    averaged = AveragedWeights(model, Averaging(decay=0.999, every=1))
    wanted = 0.0
    for step in range(1, 200):
        with torch.no_grad():
            model.weight.fill_(float(step))
        averaged.update(model, step)
        decay = min(0.999, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * step
    assert abs(float(averaged.tensors["weight"]) - wanted) < 1e-3


def test_statistics_are_averaged_and_counters_copied():
    model = nn.BatchNorm1d(3)
    averaged = AveragedWeights(model, Averaging(decay=0.9, every=1))
    model.train()
    for step in range(1, 6):
        model(torch.randn(8, 3) + 5)
        averaged.update(model, step)
    assert int(averaged.tensors["num_batches_tracked"]) == 5
    assert 0 < float(averaged.tensors["running_mean"].mean()) < float(model.running_mean.mean())


def test_applied_restores_the_own_weights_bit_for_bit():
    model = nn.Linear(3, 2)
    averaged = AveragedWeights(model, Averaging(decay=0.5, every=1))
    with torch.no_grad():
        model.weight.add_(1)
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with averaged.applied(model):
        assert torch.equal(model.weight, averaged.tensors["weight"])
        assert not torch.equal(model.weight, own["weight"])
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in own.items())


def test_infinities_of_a_mask_stay_and_its_numbers_are_averaged():
    model = nn.Linear(1, 1)
    model.register_buffer("mask", torch.tensor([-torch.inf, 1.0, torch.inf]))
    averaged = AveragedWeights(model, Averaging(decay=0.5, every=1))
    model.mask[1:] = torch.tensor([3.0, 2.0])
    averaged.updated = 99
    averaged.update(model, 100)
    # What has become a number is taken as it is, and averaged from there on.
    assert averaged.tensors["mask"].tolist() == [-torch.inf, 2.0, 2.0]
    model.mask[2] = 4.0
    averaged.update(model, 101)
    assert averaged.tensors["mask"].tolist() == [-torch.inf, 2.5, 3.0]


def test_what_is_judged_holds_every_step():
    """Between two updates the average lies behind, and before the first it is the random weights."""
    model, now, then = nn.Linear(1, 1, bias=False), Averaging(decay=0.999, every=1), Averaging(decay=0.999, every=8)
    with torch.no_grad():
        model.weight.fill_(0.0)
    each, seldom = AveragedWeights(model, now), AveragedWeights(model, then)
    for step in range(1, 60):
        with torch.no_grad():
            model.weight.fill_(1.0)
        each.update(model, step)
        seldom.update(model, step, wanted=step in (3, 21, 59))
        if step in (3, 21, 59):
            assert seldom.updated == step and float(seldom.tensors["weight"]) > 0.4
    # Nothing is counted twice and nothing left out: weights that do not move are where they would be.
    assert abs(float(each.tensors["weight"]) - float(seldom.tensors["weight"])) < 1e-3
