"""Grad-CAM: against the formula it reduces to, on every kind of network here, and in the report of a real run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deeper.images import Preprocess
from deeper.inspection import inspect, write, write_board
from deeper.inspection.grad_cam import grad_cam, overlaid
from deeper.inspection.report import write_report
from deeper.models import create
from deeper.models.architecture import Architecture
from deeper.models.output import Output


def preprocess(side, channels=3):
    return Preprocess(height=side, width=side, channels=channels, mean=(0.5,) * channels, deviation=(0.25,) * channels)


class Averaged(nn.Module):
    """One convolution, the mean of each channel, one linear layer: here Grad-CAM is the class activation map of
    Zhou et al. 2016, the channels weighted by the class's row."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, stride=2)
        self.linear = nn.Linear(5, 4)

    def forward(self, pixels):
        features = torch.relu(self.convolution(pixels)).mean((2, 3))
        return Output(self.linear(features), (), features)


def test_it_is_the_class_activation_map_where_theory_says_so():
    torch.manual_seed(0)
    network = Averaged().requires_grad_(False)
    # Without the ReLU's cut, which the hook on the convolution lies before.
    network.convolution.bias.data += 5
    images = np.random.default_rng(0).integers(0, 256, (20, 21, 21, 3), dtype=np.uint8)
    targets = np.arange(20) % 4
    heat = grad_cam(network, preprocess(21), images, targets)
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    maps = network.convolution(pixels)
    weighted = torch.einsum("nchw,nc->nhw", maps, network.linear.weight[torch.from_numpy(targets)]).clamp(min=0)
    wanted = functional.interpolate(weighted[:, None], (21, 21), mode="bilinear", align_corners=False)[:, 0]
    wanted = wanted / wanted.amax((1, 2), keepdim=True).clamp(min=1e-12)
    assert heat.dtype == np.float32 and heat.shape == (20, 21, 21)
    assert np.allclose(heat, wanted.numpy(), atol=1e-4)


def test_a_network_that_reads_one_corner_is_shown_to_look_there():
    class Corner(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 1, 1, bias=False)
            self.convolution.weight.data.fill_(1.0)

        def forward(self, pixels):
            bright = self.convolution(pixels)[:, 0]
            return Output(torch.stack([bright.mean((1, 2)), -bright.mean((1, 2))], 1), (), bright.flatten(1))

    images = np.full((1, 16, 16, 1), 127, np.uint8)
    images[0, :8, :8] = 255
    network = Corner()
    heat = grad_cam(network, preprocess(16, 1), images, np.array([0]))
    assert heat[0, :7, :7].min() == 1 and heat[0, 9:, 9:].max() == 0
    # Nothing speaks for the other class there.
    assert grad_cam(network, preprocess(16, 1), images, np.array([1]))[0, :7, :7].max() == 0


@pytest.mark.parametrize(("model", "side"), [("nielsen", 28), ("inception_v3", 75), ("inception_v1", 64)])
def test_every_kind_of_network_and_it_is_left_as_it_was(model, side):
    network = create(Architecture(model=model, classes=3, channels=3, height=side, width=side)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    heat = grad_cam(network, preprocess(side), images, np.array([0, 2]))
    assert heat.shape == (2, side, side) and heat.min() >= 0 and heat.max() <= 1
    assert network.training and all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_no_map_no_picture():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(48, 2)

        def forward(self, pixels):
            return Output(self.linear(pixels.flatten(1)), (), pixels.flatten(1))

    assert grad_cam(Flat(), preprocess(4), np.zeros((1, 4, 4, 3), np.uint8), np.array([0])) is None


def test_overlay_keeps_cold_places():
    picture = np.full((4, 4, 1), 100, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    over = overlaid(picture, heat)
    assert over.shape == (4, 4, 3) and (over[1:] == 100).all() and over[0, 0, 0] > 200 and over[0, 0, 2] == 30


def test_in_report_files_and_tensorboard(flipped, judge, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = inspect(flipped, judge=judge, grad_cam=True)
    given, _ = found.wrong[0].attention
    assert given.shape == (*found.wrong[0].picture.shape[:2], 3)
    looked = [one.attention for one in found.wrong[:200]]
    assert sum(not np.array_equal(*both) for both in looked) > len(looked) / 2
    plain = json.loads(write(found, tmp_path / "out").read_text())
    shown = plain["errors"][0]["pictures"]
    assert (tmp_path / "out" / shown["grad_cam_given"]).is_file() and (
        tmp_path / "out" / shown["grad_cam_true"]
    ).is_file()
    text = write_report(found, tmp_path / "report.html").read_text()
    assert f'"looked":{{{json.dumps(found.wrong[0].id)}:[' in text

    folder = tmp_path / "board"
    write_board(found, folder, 7)
    # An inspection that is made again replaces the one before.
    write_board(found, folder, 7)
    assert len(list(folder.iterdir())) == 1
    events = EventAccumulator(str(folder)).Reload()
    tags = events.Tags()
    first = found.evidence[0]
    assert {"evidence/horizontal_flip", "errors", "grad_cam"} <= set(tags["images"])
    (collided,) = events.Scalars("collided/horizontal_flip")
    assert collided.step == 7 and collided.value == pytest.approx(first.collided / first.errors)
    assert events.Scalars("inspection/errors")[0].value == len(found.wrong)
    assert found.verdict.encode()[:40] in events.Tensors("verdict/text_summary")[0].tensor_proto.string_val[0]


def test_without_being_asked_for_there_is_none(flipped, judge):
    assert all(one.attention is None for one in inspect(flipped, judge=judge).wrong)
