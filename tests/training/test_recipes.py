import pytest
import torch

from deeper.errors import UsageError
from deeper.models import MODELS, Architecture, create
from deeper.training import recipes
from deeper.training.optimizers import RmsProp
from deeper.training.options import Averaging, Options
from deeper.training.schedules import ExponentialStaircase
from deeper.values import from_plain, to_plain


@pytest.mark.parametrize("stem", sorted(recipes._files()))
def test_every_recipe_builds_and_says_what_it_reaches(stem):
    model, name = stem.split("-", 1)
    plain = recipes.load(name, model)
    options = from_plain(Options, {**to_plain(Options()), **plain, "model": model}, stem)
    assert options.recipe == name
    assert len(recipes.header(name, model)) > 20


def test_nothing_flips_unless_the_recipe_is_the_guides():
    for stem, text in recipes._files().items():
        if not stem.endswith("-guide"):
            assert "flip" not in "".join(line for line in text.splitlines() if not line.startswith("#")), stem


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="no recipe 'fats'; did you mean 'fast'"):
        recipes.load("fats", "nielsen")


def test_the_guide_has_no_recipe_for_a_network_that_it_did_not_know():
    with pytest.raises(UsageError, match="'guide' is made for inception, nielsen, not for inception_small"):
        recipes.load("guide", "inception_small")
    assert recipes.load("fast", "inception_small") != recipes.load("fast", "inception_v3")


def test_options_refuse_what_cannot_be():
    for bad in (
        {"epochs": 0.0},
        {"batch": 0},
        {"label_smoothing": 1.0},
        {"clip_norm": 0.0},
        {"seed": -1},
        {"keep": 0},
        {"crop": 1.5},
    ):
        with pytest.raises(UsageError, match=next(iter(bad))):
            Options(**bad)


def test_options_survive_the_file():
    options = from_plain(Options, {**to_plain(Options()), **recipes.load("fast", "nielsen")}, "fast")
    assert from_plain(Options, to_plain(options), "again") == options


def built(model, name, **how):
    plain = recipes.load(name, model, **how)
    return from_plain(Options, {**to_plain(Options()), **plain, "model": model}, name)


def test_the_guides_recipe_has_the_originals_constants():
    """research/inception, 2016: inception_train.py, inception_model.py, slim/ops.py, image_processing.py."""
    options = built("inception_v3", "guide")
    assert options.optimizer == RmsProp(rate=0.1, decay=0.9, momentum=0.9, epsilon=1.0, weight_decay=4e-5)
    assert options.schedule == ExponentialStaircase(epochs=30, factor_each=0.16)
    assert options.averaging == Averaging(decay=0.9999, every=1)
    assert (options.batch, options.label_smoothing, options.auxiliary_weight) == (32, 0.1, 0.4)
    assert options.stages == () and options.clip_norm is None
    # Pixels from −1 to 1, evaluated on the central 87.5 %.
    assert (options.mean, options.deviation, options.crop) == ((0.5,), (0.5,), 0.875)
    box, flip, colour = options.distortions
    assert (box.aspect_low, box.aspect_high, box.area_low, box.area_high) == (0.75, 1.33, 0.05, 1.0)
    assert (box.name, box.covered, flip.name, flip.probability) == ("random_box", 0.1, "horizontal_flip", 0.5)
    assert (colour.name, colour.brightness, colour.hue) == ("guide_colour", 32 / 255, 0.2)
    assert (colour.saturation_low, colour.saturation_high) == (colour.contrast_low, colour.contrast_high) == (0.5, 1.5)


@pytest.mark.parametrize("model", sorted(name for name in MODELS if name.startswith(("inception_v", "inception_res"))))
def test_the_guides_networks_are_the_originals(model):
    """Batch norm decays by 0.9997, with an epsilon of 0.001 and no scale; convolutions begin with a deviation of 0.1."""
    arguments = built(model, "guide").arguments
    assert arguments == {"momentum": 0.0003, "initialisation": "truncated_normal"}
    network = create(Architecture(model=model, classes=5, channels=3, height=75, width=75, arguments=arguments))
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps, norm.weight.requires_grad) for norm in norms} == {(0.0003, 0.001, False)}
    filters = [layer.weight for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    values = torch.cat([weight.detach().flatten() for weight in filters if weight.numel() > 10_000][:8])
    # A normal cut at two deviations has 0.88 of its deviation.
    assert values.std().item() == pytest.approx(0.088, rel=0.01) and values.abs().max().item() <= 0.2


def test_the_guides_rate_is_lower_for_weights():
    assert built("inception_v3", "guide").optimizer.rate == 0.1
    begun = built("inception_v3", "guide", with_weights=True)
    assert begun.optimizer == RmsProp(rate=0.001, decay=0.9, momentum=0.9, epsilon=1.0, weight_decay=4e-5)
    assert built("inception_v3", "fast", with_weights=True) == built("inception_v3", "fast")
