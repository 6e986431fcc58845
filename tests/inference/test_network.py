"""The one path: what it takes, what it leaves alone, and how far its answers agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deeper.errors import UsageError
from deeper.images import Preprocess
from deeper.inference import Network, Normalise, predictor, softmax
from deeper.models import Output
from tests.sample_network import PREPROCESS, digits, network


@pytest.fixture(scope="module")
def images():
    return digits("test", 300)[0]


def test_it_has_learned_something(images):
    # Agreement between answers that are all alike would say nothing.
    logits = predictor(network(), PREPROCESS)(images).logits
    assert (logits.argmax(1) == digits("test", 300)[1]).mean() > 0.75


def test_shapes_and_types(images):
    scores = predictor(network(), PREPROCESS)(images[:7])
    assert scores.logits.shape == (7, 10) and scores.logits.dtype == np.float32
    assert scores.features.shape == (7, 64) and scores.features.dtype == np.float32


def test_no_picture_gives_an_empty_answer_of_the_right_width(images):
    scores = predictor(network(), PREPROCESS)(images[:0])
    assert scores.logits.shape == (0, 10) and scores.features.shape == (0, 64)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bit_equal_at_equal_batch_size(images, precision):
    first = predictor(network(), PREPROCESS, precision=precision, batch=100)(images)
    # Another copy of the model, laid out otherwise in memory, and the same cuts given one by one.
    again = predictor(network().to(memory_format=torch.channels_last), PREPROCESS, precision=precision, batch=100)
    for start in (0, 100, 200):
        cut = again(images[start : start + 100])
        np.testing.assert_array_equal(cut.logits, first.logits[start : start + 100])
        np.testing.assert_array_equal(cut.features, first.features[start : start + 100])


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 1e-2)])
@pytest.mark.parametrize("batch", [1, 7, 64, 300])
def test_across_batch_sizes_same_class_and_nearly_same_probability(images, precision, tolerance, batch):
    wanted = softmax(predictor(network(), PREPROCESS, precision=precision)(images).logits)
    given = softmax(predictor(network(), PREPROCESS, precision=precision, batch=batch)(images).logits)
    assert np.abs(given - wanted).max() <= tolerance
    sure = np.sort(wanted, axis=1)[:, -1] - np.sort(wanted, axis=1)[:, -2] > 2 * tolerance
    assert sure.mean() > 0.755
    np.testing.assert_array_equal(given.argmax(1)[sure], wanted.argmax(1)[sure])


def test_normalisation_in_the_graph_is_that_of_preprocess(images):
    colour = Preprocess(height=8, width=9, channels=3, mean=(0.1, 0.2, 0.3), deviation=(0.5, 0.25, 0.7))
    batch = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), dtype=np.uint8)
    seen: list[torch.Tensor] = []

    class Spy(nn.Module):
        def forward(self, pixels: torch.Tensor) -> Output:
            seen.append(pixels)
            return Output(pixels.mean((2, 3)), (), pixels.mean((2, 3)))

    Network(Spy(), colour)(torch.from_numpy(batch))
    np.testing.assert_array_equal(seen[0].numpy(), colour.normalise(batch))
    assert not Normalise(colour).state_dict(), "a checkpoint of the model is one of the model alone"


def test_every_module_is_left_in_its_mode(images):
    model = network().train()
    model.conv2.eval()  # as a frozen layer is
    before = {name: module.training for name, module in model.named_modules()}
    predict = predictor(model, PREPROCESS)
    first, second = predict(images[:20]).logits, predict(images[:20]).logits
    np.testing.assert_array_equal(first, second)  # dropout was off
    assert {name: module.training for name, module in model.named_modules()} == before
    assert all(parameter.grad is None for parameter in model.parameters())

    def fail(module: nn.Module, inputs: object, output: object) -> None:
        raise RuntimeError("in the middle")

    model.conv2.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(images[:20])
    assert {name: module.training for name, module in model.named_modules()} == before


def test_weights_keep_their_values_and_identity(images):
    model = network()
    before = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    predictor(model, PREPROCESS)(images[:5])
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name][1])
    assert {id(one) for one in optimizer.param_groups[0]["params"]} == {id(one) for one in model.parameters()}


def test_read_only_and_strided_arrays_are_taken(images):
    wanted = predictor(network(), PREPROCESS)(images[:10]).logits
    locked = images[:10].copy()
    locked.setflags(write=False)
    np.testing.assert_array_equal(predictor(network(), PREPROCESS)(locked).logits, wanted)
    apart = np.repeat(images[:10], 2, axis=0)[::2]
    np.testing.assert_array_equal(predictor(network(), PREPROCESS)(apart).logits, wanted)


@pytest.mark.parametrize(
    "batch",
    [np.zeros((2, 28, 28), np.uint8), np.zeros((2, 28, 27, 1), np.uint8), np.zeros((2, 28, 28, 1), np.float32)],
    ids=["no channels", "another size", "floats"],
)
def test_other_pictures_are_refused(batch):
    with pytest.raises(UsageError, match=r"uint8 N×28×28×1, got .*Preprocess\.fit"):
        predictor(network(), PREPROCESS)(batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp8"}, "fp32 or bf16"),
        ({"device": "gpu"}, "wanted cpu, cuda"),
        ({"batch": 0}, "at least 1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UsageError, match=message):
        predictor(network(), PREPROCESS, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(UsageError, match="no GPU here; use cpu"):
        predictor(network(), PREPROCESS, device="cuda")
