"""What is saved comes back: values, weights, answers; and what must not be saved is not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deeper import bundle
from deeper.errors import BundleError, StorageError, UsageError
from deeper.inference import predictor
from tests.sample_network import ARCHITECTURE, CLASSES, PREPROCESS, digits, network, write


def test_three_files_that_a_person_can_read(tmp_path):
    path = write(
        tmp_path / "bundle", metrics={"validation": {"accuracy": 0.9, "total": 1000, "interval": [0.88, 0.92]}}
    )
    assert sorted(file.name for file in path.iterdir()) == ["bundle.json", "golden.safetensors", "weights.safetensors"]
    plain = json.loads((path / "bundle.json").read_text())
    assert plain["format_version"] == 1
    assert plain["architecture"]["model"] == "nielsen" and plain["classes"] == list(CLASSES)
    assert plain["preprocess"]["mean"] == [0.14]
    # Fields that later steps fill are there, as null.
    assert plain["policy"] is None and plain["temperature"] is None and plain["threshold"] is None
    assert set(plain["versions"]) == {"deeper", "torch", "python"}
    assert (
        "tells 10 classes apart: 0, 1" in plain["card"] and "90.00% (95 % interval 88.00% to 92.00%)" in plain["card"]
    )
    weights = load_file(path / "weights.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    golden = load_file(path / "golden.safetensors")
    assert golden["images"].dtype == torch.uint8 and golden["images"].shape == (4, 28, 28, 1)
    assert golden["logits"].shape == (4, 10)


def test_a_round_trip_gives_bit_equal_answers(tmp_path):
    loaded = bundle.load(write(tmp_path / "bundle", temperature=1.5, threshold=0.6))
    assert not loaded.model.training
    assert loaded.info.preprocess == PREPROCESS and loaded.info.architecture == ARCHITECTURE
    assert (loaded.info.temperature, loaded.info.threshold) == (1.5, 0.6)
    images = digits("test", 200)[0]
    np.testing.assert_array_equal(
        predictor(loaded.model, loaded.info.preprocess)(images).logits, predictor(network(), PREPROCESS)(images).logits
    )


def test_reading_the_description_alone(tmp_path):
    info = bundle.read_info(write(tmp_path / "bundle"))
    assert info == bundle.load(tmp_path / "bundle").info


def test_two_saves_of_one_network_are_byte_equal(tmp_path):
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    for name in ("bundle.json", "weights.safetensors", "golden.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_it_can_be_moved_and_named_relatively(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "bundle").rename(tmp_path / "elsewhere" / "renamed")
    monkeypatch.chdir(tmp_path / "elsewhere" / "renamed")
    assert bundle.is_bundle(bundle.load(".").path)


def test_half_precision_weights_are_stored_as_the_network_holds_them(tmp_path):
    halves = {name: tensor.half() for name, tensor in network().state_dict().items()}
    stored = load_file(write(tmp_path / "bundle", weights=halves) / "weights.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}


def test_hostile_class_names_survive_and_the_card_stays_one_line(tmp_path):
    names = ("<script>alert(1)</script>", "a\nb", "é 漢字", "[red]", "x" * 5000, "5", "6", "‮7", "8", "")
    info = bundle.load(write(tmp_path / "bundle", classes=names)).info
    assert info.classes == names
    assert "\n" not in info.card and "‮" not in info.card and len(info.card) < 2000


def test_a_card_of_a_thousand_classes_is_short(tmp_path):
    info = bundle.load(write(tmp_path / "bundle")).info
    many = replace(
        info, classes=tuple(map(str, range(1000))), architecture=replace(info.architecture, classes=1000)
    ).with_card()
    assert "and 980 more" in many.card and len(many.card) < 1000


def test_loading_leaves_the_random_state_alone(tmp_path):
    path = write(tmp_path / "bundle")
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    bundle.load(path)
    assert torch.equal(torch.rand(3), wanted)


def with_nan():
    weights = network().state_dict()
    weights["conv2.convolution.weight" if "conv2.convolution.weight" in weights else next(iter(weights))][0] = torch.nan
    return weights


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"weights": with_nan()}, BundleError, "NaN or infinity"),
        ({"weights": {}}, BundleError, "do not fit nielsen"),
        ({"pictures": np.zeros((0, 28, 28, 1), np.uint8)}, BundleError, "golden picture"),
        ({"classes": CLASSES[:9]}, UsageError, "9 class names for a network of 10"),
        ({"classes": ("1",) * 10}, UsageError, "two classes are named '1'"),
        ({"preprocess": replace(PREPROCESS, height=32)}, UsageError, "32"),
        ({"temperature": -1.0}, UsageError, "temperature"),
        ({"threshold": 2.0}, UsageError, "threshold"),
        ({"familiarity": float("nan")}, UsageError, "familiarity"),
    ],
)
def test_what_contradicts_itself_is_not_written_and_the_old_bundle_stays(tmp_path, changes, kind, message):
    path = write(tmp_path / "bundle")
    before = (path / "bundle.json").read_bytes()
    with pytest.raises(kind, match=message):
        write(path, **changes)
    assert (path / "bundle.json").read_bytes() == before
    bundle.load(path)


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(BundleError, match="is no bundle; it is left alone"):
        write(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_no_room_to_write(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        write(tmp_path / "file" / "bundle")


def test_a_disk_that_fills_up_leaves_the_old_bundle(tmp_path, monkeypatch):
    import errno

    from deeper import files

    path = write(tmp_path / "bundle")
    write_bytes = files.write_bytes

    def full(target, data):
        if target.name == "golden.safetensors":
            with files.storage(target):
                raise OSError(errno.ENOSPC, "No space left on device")
        write_bytes(target, data)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(StorageError, match="disk is full"):
        write(path, temperature=2.0)
    monkeypatch.undo()
    assert bundle.load(path).info.temperature is None
    write(path, temperature=2.0)
    assert bundle.load(path).info.temperature == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]
