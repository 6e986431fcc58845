"""`deeper train --weights`: from someone's file, from a run of one's own; what the run keeps of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deeper
from deeper import draws
from deeper.errors import RunError, UsageError, WeightsError
from deeper.models import Architecture, create
from deeper.runs import Fold, Run
from tests.models.parity.references import randomise


def folder_of(path: Path, classes: int, *, grey: bool = False) -> Path:
    generator = np.random.default_rng(classes)
    for label in range(classes):
        (path / f"class-{label}").mkdir(parents=True)
        for number in range(8):
            picture = generator.integers(0, 256, (40, 40, 3), np.uint8)
            picture[..., label % 3] = 255
            image = Image.fromarray(picture)
            (image.convert("L") if grey else image).save(path / f"class-{label}" / f"{number}.png")
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("pictures") / "three", 3)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict under torchvision's names: `test_loading.py` has torchvision write its own."""
    from deeper.models.weights.torch_names import torchvision_v1

    arguments = {"preset": "torchvision", "auxiliary": False}
    shape = Architecture(model="inception_v1", classes=5, channels=3, height=32, width=32, arguments=arguments)
    ours = randomise(create(shape))
    rename = torchvision_v1(ours)
    layers = [f"conv{number}" for number in (1, 2, 3)]
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        parts = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
        layers += [f"inception{block}.{part}" for part in parts]
    own = ours.state_dict()
    state = {"fc.weight": own["Logits.weight"], "fc.bias": own["Logits.bias"]}
    for layer in layers:
        scope = rename(layer)
        for kind in ("weight", "bias", "running_mean", "running_var"):
            state[f"{layer}.bn.{kind}"] = own[f"{scope}.norm.{kind}"]
        state[f"{layer}.conv.weight"] = own[f"{scope}.convolution.weight"]
    path = tmp_path_factory.mktemp("theirs") / "v1.pth"
    torch.save(state, path)
    return path


def trained(source: Path, out: Path, weights: Path | str, **options: object) -> Run:
    given = {"height": 32, "width": 32, "batch": 8, "precision": "fp32", **options}
    return deeper.train(source, out=out, weights=weights, epochs=1, options=given, quiet=True).run


def test_a_run_begins_with_them_and_keeps_what_they_were(pictures: Path, theirs: Path, tmp_path: Path) -> None:
    # At a rate of nothing, what was loaded is what is kept.
    run = trained(pictures, tmp_path / "run", theirs, **{"optimizer.rate": 1e-30, "averaging": None})
    origin = run.config.weights
    assert origin is not None
    assert (origin.source, origin.model, origin.classes) == ("torchvision", "inception_v1", 5)
    assert origin.sha256 == deeper.load_weights(theirs).weights.sha256
    assert run.config.options.model == "inception_v1"
    assert run.config.options.arguments["preset"] == "torchvision"
    loaded = run.load("last")
    assert loaded.preprocess.mean == loaded.preprocess.deviation == (0.5,) * 3
    assert loaded.preprocess.crop == 0.875
    wanted, kept = deeper.load_weights(theirs, size=32).model.state_dict(), loaded.model.state_dict()
    for name, tensor in wanted.items():
        if name.endswith(("convolution.weight", "norm.weight")):
            assert torch.allclose(kept[name], tensor), name
    # The new last layer is what a network of the run's seed begins with.
    with torch.random.fork_rng():
        torch.manual_seed(draws.derive(run.config.options.seed, 0, "weights"))
        assert torch.allclose(kept["Logits.weight"], create(loaded.architecture).state_dict()["Logits.weight"])
    assert kept["Logits.weight"].shape == (3, 1024)
    assert deeper.Classifier(run.path).classes == ("class-0", "class-1", "class-2")


def test_pretraining_on_another_set(pictures: Path, tmp_path: Path) -> None:
    other = folder_of(tmp_path / "four", 4, grey=True)
    first = deeper.train(pictures, model="nielsen", out=tmp_path / "first", epochs=1, quiet=True).run
    second = deeper.train(pictures, weights=first.path, out=tmp_path / "second", epochs=1, quiet=True).run
    origin = second.config.weights
    assert origin is not None and origin.source == "deeper"
    assert (second.config.height, second.config.options.model) == (first.config.height, "nielsen")
    assert second.load("last").preprocess == first.load("last").preprocess
    # Other classes and grey pictures, from the bundle itself.
    third = deeper.train(other, weights=first.path / "bundle", out=tmp_path / "third", epochs=1, quiet=True).run
    kept = third.load("last").model.state_dict()
    assert kept["conv1.convolution.weight"].shape[1] == 1
    assert kept["logits.weight"].shape[0] == 4


def test_how_wide_its_layers_are_is_said_by_the_weights_and_not_by_a_recipe(pictures: Path, tmp_path: Path) -> None:
    whole = {"arguments.depth_multiplier": 0.25}
    common = {"model": "inception_small", "epochs": 0.5, "quiet": True}
    first = deeper.train(pictures, recipe="fast", out=tmp_path / "first", options=whole, **common).run
    again = deeper.train(pictures, recipe="fast", weights=first.path, out=tmp_path / "again", **common).run
    assert again.config.options.arguments["depth_multiplier"] == 0.25
    with pytest.raises(WeightsError):
        deeper.train(
            pictures,
            recipe="fast",
            weights=first.path,
            out=tmp_path / "other",
            options={"arguments.depth_multiplier": 0.5},
            **common,
        )


def test_a_run_that_was_stopped_before_its_first_checkpoint(pictures: Path, tmp_path: Path) -> None:
    """It needs the weights again, and the same ones."""
    first, other = (
        deeper.train(pictures, model="nielsen", out=tmp_path / name, seed=seed, epochs=1, quiet=True).run
        for seed, name in enumerate(("first", "other"))
    )
    run = deeper.train(pictures, weights=first.path, out=tmp_path / "run", epochs=1, quiet=True).run
    kept = run.load("last").model.state_dict()
    shutil.rmtree(run.path / "checkpoints")
    (run.path / "metrics.jsonl").unlink()
    first.path.rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="no weights at"):
        deeper.resume(run.path, quiet=True)
    other.path.rename(first.path)
    with pytest.raises(WeightsError, match="are others than those the run was planned with"):
        deeper.resume(run.path, quiet=True)
    shutil.rmtree(first.path)
    (tmp_path / "moved").rename(first.path)
    deeper.resume(run.path, quiet=True)
    again = run.load("last").model.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in kept.items())


def test_what_cannot_be_begun_with(pictures: Path, theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="of inception_v1, not of inception_v3"):
        deeper.train(pictures, weights=theirs, model="inception_v3", out=tmp_path / "a", quiet=True)
    with pytest.raises(UsageError, match=r"no weights at nothing\.pth"):
        deeper.train(pictures, weights="nothing.pth", out=tmp_path / "a", quiet=True)
    (tmp_path / "cut.pth").write_bytes(theirs.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="cannot be read"):
        deeper.train(pictures, weights=tmp_path / "cut.pth", out=tmp_path / "a", quiet=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.toml").write_text("")
    with pytest.raises((UsageError, RunError), match="has no bundle yet"):
        deeper.train(pictures, weights=tmp_path / "empty", out=tmp_path / "a", quiet=True)
    with pytest.raises(UsageError, match="crop with weights: .* to be shown them so; leave it out"):
        deeper.train(pictures, weights=theirs, out=tmp_path / "a", quiet=True, options={"crop": 1.0})
    assert not (tmp_path / "a").exists()


def test_the_command_line_tells_what_a_file_holds(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from deeper.cli import main

    main(["models", "--weights", str(theirs), "--classes", "7", "--channels", "1", "--size", "64", "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert (plain["source"], plain["classes"], plain["channels"]) == ("torchvision", 5, 3)
    assert plain["architecture"]["channels"] == plain["preprocess"]["channels"] == 1
    assert plain["replaced"] == ["Logits.weight", "Logits.bias"]
    main(["models", "inception_v1", "--weights", str(theirs), "--classes", "7"])
    out = capsys.readouterr().out
    assert "weights of inception_v1 by torchvision (torch.save, 5 classes, 3 channels)" in out
    assert "Logits replaced (5 classes → 7)" in out
    with pytest.raises(SystemExit) as caught:
        main(["models", "inception_v4", "--weights", str(theirs)])
    assert caught.value.code == WeightsError.exit_code


def test_the_size_of_a_run_that_is_not_square(pictures: Path, tmp_path: Path) -> None:
    options = {"height": 24, "width": 32, "precision": "fp32"}
    first = deeper.train(pictures, model="nielsen", epochs=0.5, out=tmp_path / "first", quiet=True, options=options)
    options = {"precision": "fp32"}
    second = deeper.train(
        pictures, weights=first.run.path, epochs=0.5, out=tmp_path / "second", quiet=True, options=options
    )
    assert (second.run.config.height, second.run.config.width) == (24, 32)


def test_folds_of_what_the_weights_were_trained_on_are_refused(pictures: Path, tmp_path: Path) -> None:
    """Each fold would be judged on pictures that the weights know: noise came out 100 % right."""
    dataset = tmp_path / "dataset"
    deeper.build(pictures, dataset)
    quick = {"arguments.first_filters": 4, "arguments.second_filters": 4, "arguments.hidden": 16, "batch": 8}
    deeper.train(dataset, model="nielsen", out=tmp_path / "run", epochs=1, quiet=True, options=quick)

    def again(source: Path, name: str, **how: object):
        words = {"weights": tmp_path / "run", "out": tmp_path / name, "epochs": 1, "quiet": True}
        return deeper.train(source, **words, options={"batch": 8}, **how)

    fold = {"fold": Fold(index=0, count=2)}
    for how in (fold, {"share": 0.5}):
        with pytest.raises(UsageError, match="were trained on this very dataset"):
            again(dataset, "again", **how)
    other = tmp_path / "other"
    deeper.build(folder_of(tmp_path / "others", 4), other)
    assert again(other, "fold", **fold).validation is not None


def test_a_series_refuses_other_weights_under_the_same_name(pictures: Path, tmp_path: Path) -> None:
    """Else the mean is over two trainings."""
    quick = {"arguments.first_filters": 4, "arguments.second_filters": 4, "arguments.hidden": 16, "batch": 8}

    def first(seed: int) -> None:
        shutil.rmtree(tmp_path / "first", ignore_errors=True)
        deeper.train(pictures, model="nielsen", out=tmp_path / "first", epochs=1, seed=seed, quiet=True, options=quick)

    def second() -> object:
        words = {"weights": tmp_path / "first", "out": tmp_path / "second", "epochs": 1, "quiet": True}
        return deeper.train(pictures, **words, options={"batch": 8}, existing="resume")

    first(0)
    second()
    second()
    first(1)
    with pytest.raises(RunError, match="was trained with another weights"):
        second()
