"""torchvision's and timm's own networks with random weights, saved as they save them, through `deeper.load_weights`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import deeper
from deeper.errors import UsageError, WeightsError
from deeper.files import sha256
from deeper.models.weights.look import Look
from deeper.models.weights.named import NAMED, Named
from tests.models.parity.references import assert_parity, pictures, randomise, references

CLASSES = 40
CASES = [
    ("torchvision", "inception_v1", 112),
    ("torchvision", "inception_v3", 75),
    ("timm", "inception_v3", 75),
    ("timm", "inception_v4", 75),
    ("timm", "inception_resnet_v2", 75),
]


def reference(source: str, name: str) -> nn.Module:
    torchvision, timm = references()
    if source == "timm":
        return randomise(timm.create_model(name, num_classes=CLASSES))
    kinds = {"inception_v1": torchvision.models.GoogLeNet, "inception_v3": torchvision.models.Inception3}
    return randomise(kinds[name](num_classes=CLASSES, init_weights=False))


@pytest.mark.parametrize(("source", "name", "size"), CASES)
def test_logits(source: str, name: str, size: int, tmp_path: Path) -> None:
    theirs = reference(source, name)
    path = tmp_path / ("theirs.safetensors" if source == "timm" else "theirs.pth")
    if source == "timm":
        save_file(theirs.state_dict(), path)
    else:
        torch.save(theirs.state_dict(), path)
    loaded = deeper.load_weights(path, size=size)
    assert (loaded.weights.source, loaded.weights.model, loaded.weights.classes) == (source, name, CLASSES)
    assert loaded.architecture.arguments["preset"] == source
    assert set(loaded.fitted.loaded) == set(loaded.model.state_dict())
    assert loaded.preprocess.mean == (0.5,) * 3
    with torch.no_grad():
        assert_parity(loaded.model(pictures(size)).logits, theirs(pictures(size)))


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return reference("torchvision", "inception_v1").state_dict()


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path)
    return path


def test_another_head_and_grey_pictures(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(tmp_path / "v1.pth", state)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        loaded = deeper.load_weights(path, classes=7, channels=1, size=64)
        torch.manual_seed(3)
        again = deeper.load_weights(path, classes=7, channels=1, size=64)
    heads = {
        f"{scope}.{kind}"
        for scope in ("Logits", "AuxLogits_4b.Logits", "AuxLogits_4e.Logits")
        for kind in ("weight", "bias")
    }
    fitted = loaded.fitted
    assert set(fitted.replaced) == heads
    assert fitted.adapted == ("Conv2d_1a_7x7.convolution.weight",)
    every = [*fitted.loaded, *fitted.replaced, *fitted.adapted]
    assert sorted(every) == sorted(loaded.model.state_dict())
    said = fitted.describe(loaded.weights, 7, 1)
    for part in ("Logits replaced (40 classes → 7)", "AuxLogits_4b.Logits", "summed for 1 instead of 3 channels"):
        assert part in said
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.state_dict().values(), again.model.state_dict().values()))
    assert loaded.preprocess.channels == 1
    # A grey picture is answered as a colour picture of three equal channels is.
    colour = deeper.load_weights(path, size=64).model
    grey = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        ours, theirs = loaded.model(grey).features, colour(grey.expand(-1, 3, -1, -1)).features
    assert (ours - theirs).norm() / theirs.norm() < 1e-4


def test_auxiliary_heads_come_and_go(state: dict[str, Tensor], tmp_path: Path) -> None:
    without = {key: tensor for key, tensor in state.items() if not key.startswith("aux")}
    loaded = deeper.load_weights(saved(tmp_path / "v1.pth", without), size=64)
    assert loaded.architecture.arguments["auxiliary"] is False
    assert set(loaded.fitted.loaded) == set(loaded.model.state_dict())


def with_heads(state: dict[str, Tensor], rows: int | None, of_auxiliary: int) -> dict[str, Tensor]:
    """`state` with a last layer of `rows`, or none, and auxiliary heads of `of_auxiliary`."""
    return {
        key: tensor[:1].expand(of_auxiliary if "fc2" in key else rows or 1, *tensor.shape[1:])
        if "fc2" in key or key.startswith("fc.")
        else tensor
        for key, tensor in state.items()
        if rows or not key.startswith("fc.")
    }


AUXILIARY = {f"{scope}.Logits.{kind}" for scope in ("AuxLogits_4b", "AuxLogits_4e") for kind in ("weight", "bias")}


@pytest.mark.parametrize(("rows", "classes"), [(5, None), (5, 7), (1, 5), (1, 40), (None, 5), (None, 40)])
def test_a_last_layer_of_ones_own_with_auxiliary_heads_as_they_were(
    state: dict[str, Tensor], tmp_path: Path, rows: int | None, classes: int | None
) -> None:
    path = saved(tmp_path / "v1.pth", with_heads(state, rows, 40))
    loaded = deeper.load_weights(path, classes=classes, size=64)
    fitted, own = loaded.fitted, {"Logits.weight", "Logits.bias"}
    wanted = set() if classes == 40 else AUXILIARY
    if rows is not None and classes is not None:
        wanted = wanted | own
    assert set(fitted.replaced) == wanted
    assert set(fitted.begun) == (own if rows is None else set())
    assert loaded.weights.classes == (rows if rows != 1 else None)
    given = {(5, None): "40 classes → 5", (5, 7): "5 and 40 classes → 7", (1, 40): "1 class → 40"}.get(
        (rows, classes), ""
    )
    assert given in fitted.describe(loaded.weights, classes or 5, 3)


def test_heads_without_sense(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "v1.pth"
    refused(saved(path, {**state, "aux1.fc2.bias": torch.ones(7)}), "AuxLogits_4b.Logits.bias is 7, wanted 40")
    refused(saved(path, {**state, "aux1.fc2.weight": torch.ones(0, 1024)}), "is 0 × 1024, wanted 2 × 1024")
    for part, ours in (("fc.weight", "Logits.weight"), ("fc.bias", "Logits.bias")):
        refused(saved(path, {key: tensor for key, tensor in state.items() if key != part}), f"nothing for {ours}")
    refused(saved(path, {**state, "aux1.fc2.weight": torch.ones(9, 7)}), "is 9 × 7, wanted 9 × 1024")
    refused(saved(path, {**state, "fc.weight": torch.ones(1, 1024)}), "Logits.bias is 40, wanted 1")
    many = {"fc.weight": torch.ones(1).expand(1 << 50, 1024), "fc.bias": torch.ones(1).expand(1 << 50)}
    refused(saved(path, {**state, **many}), "Logits.weight is 1125899906842624 × 1024")


def refused(path: Path, *parts: str, **arguments: str) -> None:
    with pytest.raises(WeightsError) as caught:
        deeper.load_weights(path, **arguments)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600, message
    for part in parts:
        assert part in message, message


def test_every_key_is_accounted_for(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "v1.pth"
    refused(
        saved(path, {**state, "inception9z.branch1.conv.weight": torch.ones(1)}), "no place for inception9z.branch1"
    )
    refused(
        saved(path, {**state, "inception3a.branch7.conv.weight": torch.ones(1)}), "no place for inception3a.branch7"
    )
    lacking = {key: tensor for key, tensor in state.items() if key != "inception4c.branch1.bn.bias"}
    refused(saved(path, lacking), "nothing for Mixed_4d.Branch_0.Conv2d_0a_1x1.norm.bias")
    narrow = {**state, "conv3.conv.weight": torch.ones(192, 63, 3, 3)}
    refused(saved(path, narrow), "Conv2d_2c_3x3.convolution.weight is 192 × 63 × 3 × 3, wanted 192 × 64 × 3 × 3")
    wide = {**state, "conv3.conv.weight": torch.ones(1).expand(1 << 20, 1 << 20)}
    refused(saved(path, wide), "1048576 × 1048576")
    # Only the last layer may be of any size: here of 160 GB that the file does not hold.
    many = {key: torch.zeros(1).expand(20_000_000, *tensor.shape[1:]) for key, tensor in state.items() if "fc2" in key}
    many |= {
        f"fc.{key}": torch.zeros(1).expand(20_000_000, *shape) for key, shape in (("weight", (1024,)), ("bias", ()))
    }
    refused(saved(path, {**state, **many}), "claim to be larger than any Inception's")
    for bad in (float("nan"), float("inf")):
        spoilt = state["conv3.conv.weight"].clone()
        spoilt[5, 3, 1, 1] = bad
        refused(saved(path, {**state, "conv3.conv.weight": spoilt}), "Conv2d_2c_3x3.convolution.weight holds NaN")


def test_weights_of_another_network(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(tmp_path / "v1.pth", state)
    refused(path, "torchvision's of inception_v1, not of inception_v4", "--model inception_v1", model="inception_v4")
    torchvision, timm = references()
    strangers = {
        "a ResNet": torchvision.models.resnet18(),
        "a DenseNet": timm.create_model("densenet121"),
        "a MobileNet": torchvision.models.mobilenet_v2(),
    }
    for like, network in strangers.items():
        refused(saved(path, network.state_dict()), "of no Inception", like, "the nearest known are")


def test_half_precision_is_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    loaded = deeper.load_weights(saved(tmp_path / "v1.pth", half), size=64)
    assert {tensor.dtype for tensor in loaded.model.state_dict().values()} == {torch.float32, torch.int64}


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'torchvision/inception_v3'"):
        deeper.load_weights("torchvision/inceptionv3")
    with pytest.raises(UsageError, match=r"no weights at nowhere\.pth"):
        deeper.load_weights("nowhere.pth")
    with pytest.raises(WeightsError, match=r"^\. is a folder and no run or bundle; give the weights file"):
        deeper.load_weights(".")
    with pytest.raises(WeightsError, match="weights of inception_v4, not of inception_v3"):
        deeper.load_weights("slim/inception_v4", model="inception_v3")


def test_numbers_that_no_trained_network_has(state: dict[str, Tensor], tmp_path: Path) -> None:
    variance = next(name for name in state if name.endswith("running_var"))
    torch.save({**state, variance: -state[variance].abs() - 1}, tmp_path / "below.pth")
    with pytest.raises(WeightsError, match="holds a variance below 0"):
        deeper.load_weights(tmp_path / "below.pth")
    whole = {name: tensor if "num_batches" in name else tensor.to(torch.int8) for name, tensor in state.items()}
    torch.save(whole, tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="torch.int8, which a quantised network has; wanted floats"):
        deeper.load_weights(tmp_path / "whole.pth")


def test_a_published_file_is_shown_pictures_as_its_name_would(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that somebody fetched himself is the same file."""
    path = tmp_path / "mine.pth"
    torch.save(state, path)
    plain = deeper.load_weights(path).preprocess
    entry = Named(model="inception_v1", url="x/y.pth", sha256=sha256(path)[:8], look=Look(mean=(0.1, 0.2, 0.3)))
    monkeypatch.setitem(NAMED, "timm/published", entry)
    assert deeper.load_weights(path).preprocess.mean == (0.1, 0.2, 0.3) != plain.mean
