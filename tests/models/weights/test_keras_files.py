"""Keras' files in the layout that Keras writes (`test_from_tensorflow.py` has Keras write them), damaged and hostile."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

import deeper
from deeper.errors import MissingExtraError, WeightsError
from deeper.models import Architecture, create
from deeper.models.weights.keras_names import in_order
from deeper.models.weights.reading import read

CLASSES = 6


@pytest.fixture(scope="module")
def arrays() -> dict[str, dict[str, np.ndarray]]:
    """A network's arrays by Keras' layers and variables."""
    shape = Architecture(
        model="inception_v3", classes=CLASSES, channels=3, height=75, width=75, arguments={"preset": "keras"}
    )
    model = create(shape)
    layers: dict[str, dict[str, np.ndarray]] = {}
    for number, (_, layer) in enumerate(in_order(model)):
        suffix = f"_{number}" if number else ""
        assert layer.norm is not None
        layers[f"conv2d{suffix}"] = {"kernel": layer.convolution.weight.detach().permute(2, 3, 1, 0).numpy()}
        layers[f"batch_normalization{suffix}"] = {
            "beta": np.full(layer.norm.num_features, number, np.float32),
            "moving_mean": layer.norm.running_mean.numpy(),
            "moving_variance": layer.norm.running_var.numpy(),
        }
    last = model.get_submodule("Logits")
    layers["predictions"] = {"kernel": last.weight.detach().T.numpy(), "bias": last.bias.detach().numpy()}
    return layers


def legacy(path: Path, arrays: dict[str, dict[str, np.ndarray]], *, whole: bool = False) -> Path:
    with h5py.File(path, "w") as file:
        top = file.create_group("model_weights") if whole else file
        top.attrs["layer_names"] = [*arrays, "activation"]
        for layer, variables in arrays.items():
            group = top.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0" for name in variables]
            for name, array in variables.items():
                group[f"{layer}/{name}:0"] = array
        top.create_group("activation").attrs["weight_names"] = []
        if whole:
            file.create_group("optimizer_weights")
    return path


def three(path: Path, arrays: dict[str, dict[str, np.ndarray]], *, names: bool = True) -> Path:
    with h5py.File(path, "w") as file:
        # Keras numbers the groups in the order of its layers, which is not that of their names.
        for number, (layer, variables) in enumerate(reversed(arrays.items())):
            stem = layer.rstrip("0123456789").rstrip("_").replace("predictions", "dense").replace("conv", "conv2d")
            stem = stem.replace("conv2d2d", "conv2d")
            group = file.create_group(f"layers/{stem}_{number}/vars")
            if names:
                group.attrs["name"] = layer
            for position, array in enumerate(variables.values()):
                group[str(position)] = array
        file.create_group("layers/activation/vars").attrs["name"] = "activation"
    return path


def nested(path: Path, arrays: dict[str, dict[str, np.ndarray]], dense: dict[str, np.ndarray]) -> Path:
    """The network as one layer of another, before pooling and a layer of one's own, as Keras 3.15 writes it."""
    inner = {layer: variables for layer, variables in arrays.items() if layer != "predictions"}
    if path.name.endswith(".weights.h5"):
        three(path, {"dense_3": dense})
        with h5py.File(path, "a") as file, h5py.File(three(path.with_name("inner.weights.h5"), inner)) as base:
            base.copy("layers", file.create_group("layers/functional"))
            file.create_group("layers/functional/vars").attrs["name"] = "inception_v3"
        return path
    legacy(path, {"dense_3": dense}, whole=True)
    with h5py.File(path, "a") as file:
        top = file["model_weights"]
        top.attrs["layer_names"] = ["input_layer_1", "inception_v3", "dense_3"]
        top.create_group("input_layer_1").attrs["weight_names"] = []
        group = top.create_group("inception_v3")
        # What is trained stands before what is not.
        names = [f"{layer}/{name}" for layer, variables in inner.items() for name in variables]
        group.attrs["weight_names"] = sorted(names, key=lambda name: "moving" in name)
        for name in names:
            layer, _, variable = name.partition("/")
            group[name] = inner[layer][variable]
    return path


def same(path: Path, arrays: dict[str, dict[str, np.ndarray]]) -> None:
    loaded = deeper.load_weights(path, size=75)
    assert (loaded.weights.source, loaded.weights.classes) == ("keras", CLASSES)
    state: dict[str, Tensor] = loaded.model.state_dict()
    for number, (scope, _) in enumerate(in_order(loaded.model)):
        assert bool((state[f"{scope}.norm.bias"] == number).all())
        wanted = torch.from_numpy(arrays[f"conv2d_{number}" if number else "conv2d"]["kernel"])
        assert torch.equal(state[f"{scope}.convolution.weight"], wanted.permute(3, 2, 0, 1))
    assert torch.equal(state["Logits.weight"], torch.from_numpy(arrays["predictions"]["kernel"].T.copy()))


def test_the_three_layouts(arrays: dict[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    same(legacy(tmp_path / "weights.h5", arrays), arrays)
    whole = legacy(tmp_path / "whole.h5", arrays, whole=True)
    same(whole, arrays)
    assert read(whole).left == ("optimizer_weights",)
    numbered = three(tmp_path / "new.weights.h5", arrays)
    same(numbered, arrays)
    with zipfile.ZipFile(tmp_path / "whole.keras", "w") as archive:
        archive.write(numbered, "model.weights.h5")
        archive.writestr("config.json", "{}")
    same(tmp_path / "whole.keras", arrays)


def test_without_or_with_another_last_layer(arrays: dict[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    rest = {name: variables for name, variables in arrays.items() if name != "predictions"}
    path = legacy(tmp_path / "notop.h5", rest)
    loaded = deeper.load_weights(path, size=75, classes=4)
    assert loaded.weights.classes is None and loaded.fitted.begun == ("Logits.weight", "Logits.bias")
    with pytest.raises(deeper.DeeperError, match="no last layer; say how many classes"):
        deeper.load_weights(path, size=75)
    own = legacy(tmp_path / "own.h5", {**rest, "dense_7": arrays["predictions"]})
    assert deeper.load_weights(own, size=75).weights.classes == CLASSES


@pytest.mark.parametrize("name", ["whole.h5", "new.weights.h5"])
def test_inside_another_model(arrays: dict[str, dict[str, np.ndarray]], tmp_path: Path, name: str) -> None:
    same(nested(tmp_path / name, arrays, arrays["predictions"]), arrays)
    twice = nested(tmp_path / f"twice-{name}", {**arrays, "dense_3": arrays["predictions"]}, arrays["predictions"])
    refused(twice, "dense_3/kernel twice", "layers of a model inside the model", "base.save_weights")


def test_a_last_layer_of_one_output(arrays: dict[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    one = {"kernel": np.ones((2048, 1), np.float32), "bias": np.ones(1, np.float32)}
    rest = {name: variables for name, variables in arrays.items() if name != "predictions"}
    path = legacy(tmp_path / "one.h5", {**rest, "dense": one})
    loaded = deeper.load_weights(path, size=75, classes=4)
    assert loaded.weights.classes is None and "(Keras' HDF5, a last layer of one output," in loaded.weights.describe()
    assert loaded.fitted.replaced == ("Logits.weight", "Logits.bias") and not loaded.fitted.begun
    assert "Logits replaced (1 class → 4)" in loaded.fitted.describe(loaded.weights, 4, 3)
    with pytest.raises(deeper.DeeperError, match="have a last layer of one output; say how many classes"):
        deeper.load_weights(path, size=75)


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(WeightsError) as caught:
        deeper.load_weights(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600, message
    for part in parts:
        assert part in message, message


SMALL = {"conv2d": {"kernel": np.ones((3, 3, 3, 8), np.float32)}}


def test_damaged_and_foreign_files(arrays: dict[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    path = legacy(tmp_path / "small.h5", SMALL)
    refused(path, "of no Inception")
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        refused(path, "small.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2]
    refused(tmp_path / "other.h5", "not of Keras")
    refused(three(tmp_path / "old.weights.h5", SMALL, names=False), "do not say which layer is which")
    lacking = {name: variables for name, variables in arrays.items() if name != "batch_normalization_93"}
    refused(legacy(tmp_path / "lacking.h5", lacking), "nothing for Mixed_7c.Branch_3.Conv2d_0b_1x1.")


def test_links_out_of_the_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((3, 3, 3, 8), np.float32)
    for kind in ("external", "soft", "virtual", "raw"):
        path = tmp_path / f"{kind}.h5"
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = ["conv2d"]
            group = file.create_group("conv2d")
            group.attrs["weight_names"] = ["kernel:0"]
            if kind == "external":
                group["kernel:0"] = h5py.ExternalLink(str(secret), "/x")
            elif kind == "soft":
                group["kernel:0"] = h5py.SoftLink("/y")
                file["y"] = np.ones(3, np.float32)
            elif kind == "virtual":
                layout = h5py.VirtualLayout((3, 3, 3, 8), np.float32)
                layout[...] = h5py.VirtualSource(str(secret), "x", (3, 3, 3, 8))
                group.create_virtual_dataset("kernel:0", layout)
            else:
                outside = [(str(secret), 0, 864)]
                group.create_dataset("kernel:0", (3, 3, 3, 8), np.float32, external=outside)
        refused(path, "another")


def test_groups_that_are_links_or_none(tmp_path: Path) -> None:
    secret = three(tmp_path / "secret.weights.h5", SMALL)
    legacy(tmp_path / "secret.h5", SMALL)
    numbered, named = tmp_path / "numbered.weights.h5", tmp_path / "named.h5"
    for group in ("layers", "layers/conv2d_0", "layers/conv2d_0/vars"):
        with h5py.File(numbered, "w") as file:
            file[group] = h5py.ExternalLink(str(secret), f"/{group}")
        refused(numbered, f"{group.rpartition('/')[2]} points to another place or file")
    for group in ("model_weights", "conv2d"):
        with h5py.File(named, "w") as file:
            file.attrs["layer_names"] = ["conv2d"]
            file[group] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/" if group == "model_weights" else "/conv2d")
        refused(named, f"{group} points to another place or file")
    for group in ("layers", "layers/conv2d_0", "layers/conv2d_0/vars"):
        with h5py.File(numbered, "w") as file:
            file[group] = np.ones(3)
        refused(numbered, "is no group")
    with h5py.File(numbered, "w") as file:
        inner = file.create_group("layers/functional/layers")
        inner["again"] = file["layers/functional"]
    refused(numbered, "of no Inception: 0 names")


def test_arrays_that_unpack_to_too_much(tmp_path: Path) -> None:
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv2d"]
        group = file.create_group("conv2d")
        group.attrs["weight_names"] = ["kernel:0"]
        group.create_dataset("kernel:0", (1 << 18, 1 << 16), np.float32, chunks=(1 << 10, 1 << 10), compression="gzip")
    assert path.stat().st_size < 1 << 20
    refused(path, "which no weight is")


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = legacy(tmp_path / "small.h5", SMALL)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*'.\[keras\]'"):
        deeper.load_weights(path)


def test_a_file_is_told_by_what_is_in_it(arrays: dict[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    """Keras 2 wrote HDF5 into `.keras`, and a Keras 3 archive may be called anything."""
    same(legacy(tmp_path / "a.h5", arrays, whole=True).rename(tmp_path / "a.keras"), arrays)
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.write(three(tmp_path / "b.weights.h5", arrays), "model.weights.h5")
    same(path, arrays)


def test_all_arrays_together_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeper.models.weights.keras_files.LARGEST", 1 << 20)
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        for number in range(4):
            group = file.create_group(f"layers/dense_{number}/vars")
            group.attrs["name"] = f"dense_{number}"
            group.create_dataset("0", shape=(100_000,), dtype="f4", chunks=True, compression="gzip")
    refused(tmp_path / "a.weights.h5", "it unpacks to more than any Inception has")
