"""Bundles that are damaged, tampered with or made to do harm: one line each, and nothing of theirs runs."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from deeper import bundle, files
from deeper.errors import BundleError
from tests.sample_network import write


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("sound") / "bundle")


@pytest.fixture
def victim(sound, tmp_path) -> Path:
    shutil.copytree(sound, tmp_path / "bundle")
    return tmp_path / "bundle"


def rehashed(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change `bundle.json` as someone would who computes all hashes anew."""
    plain = json.loads((path / "bundle.json").read_text())
    change(plain)
    for name in ("weights", "golden"):
        plain[f"{name}_sha256"] = files.sha256(path / f"{name}.safetensors")
    del plain["content_sha256"]
    plain["content_sha256"] = files.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())
    (path / "bundle.json").write_text(json.dumps(plain))


def tensors(path: Path, name: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Change a tensor file, and make all hashes fit."""
    loaded = safetensors.torch.load((path / name).read_bytes())
    change(loaded)
    (path / name).write_bytes(safetensors.torch.save(loaded))
    rehashed(path, lambda plain: None)


def refused(path: Path, *parts: str, model: str | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        bundle.load(path, model=model)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600, message
    for part in parts:
        assert part in message, message
    return message


def test_the_sound_one_loads(victim):
    bundle.load(victim)
    rehashed(victim, lambda plain: None)
    bundle.load(victim)  # so that the refusals below are not those of our own tampering


@pytest.mark.parametrize("name", ["weights.safetensors", "golden.safetensors", "bundle.json"])
def test_a_missing_file(victim, name):
    (victim / name).unlink()
    refused(victim, name)


def test_no_folder_at_all(tmp_path):
    refused(tmp_path / "nowhere", "nowhere", "does not exist", "deeper train")


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "bundle").write_text("x")
    refused(tmp_path / "bundle", "cannot be opened")


@pytest.mark.parametrize("name", ["weights.safetensors", "golden.safetensors"])
@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated(victim, name, keep):
    data = (victim / name).read_bytes()
    (victim / name).write_bytes(data[:keep])
    refused(victim, name, "changed or cut off")
    rehashed(victim, lambda plain: None)
    refused(victim, name, "no safetensors file")


@pytest.mark.parametrize("name", ["weights.safetensors", "golden.safetensors", "bundle.json"])
def test_any_flipped_bit_is_noticed(victim, name):
    data = bytearray((victim / name).read_bytes())
    chance = random.Random(name)
    for _ in range(25):
        place, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
        data[place] ^= bit
        (victim / name).write_bytes(data)
        try:
            loaded = bundle.load(victim)
        except BundleError as error:
            assert "\n" not in str(error)
        else:
            # JSON has bytes that mean nothing: its white space.
            assert name == "bundle.json" and loaded.info == bundle.read_info(victim)
            assert chr(data[place]).isspace() or chr(data[place] ^ bit).isspace()
        data[place] ^= bit


def test_swapped_class_names_are_noticed(victim):
    text = (victim / "bundle.json").read_text()
    (victim / "bundle.json").write_text(text.replace('"3"', '"x"', 1).replace('"8"', '"3"', 1).replace('"x"', '"8"', 1))
    refused(victim, "bundle.json was changed")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"text"', "\xff", "[" * 100_000, '{"format_version": 1}', '{"a": NaN}'],
    ids=range(10),
)
def test_a_description_that_is_none(victim, text):
    (victim / "bundle.json").write_bytes(text.encode("latin-1"))
    refused(victim, "bundle.json" if text not in ('{"a": NaN}',) else "format_version")


@pytest.mark.parametrize("version", [2, 99])
def test_a_newer_format_says_update(victim, version):
    rehashed(victim, lambda plain: plain.update(format_version=version))
    refused(victim, f"format {version}", "update deeper")


@pytest.mark.parametrize("version", [0, -1, "1", True, None, 1.5, [1]])
def test_a_format_that_never_was(victim, version):
    rehashed(victim, lambda plain: plain.update(format_version=version))
    refused(victim, "format_version")


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "unknown network": (lambda p: p["architecture"].update(model="nielson"), ["nielson", "'nielsen'"]),
    "unknown argument": (lambda p: p["architecture"]["arguments"].update(hiden=3), ["hiden", "'hidden'"]),
    "another width": (lambda p: p["architecture"]["arguments"].update(hidden=65), ["wants float32 65"]),
    "another network": (
        lambda p: p["architecture"].update(model="inception_v3", arguments={}),
        ["smallest input is 75"],
    ),
    "fewer classes in the network": (lambda p: p["architecture"].update(classes=9), ["10 class names", "9 classes"]),
    "fewer class names": (lambda p: p["classes"].pop(), ["9 class names", "10 classes"]),
    "another head": (lambda p: (p["classes"].pop(), p["architecture"].update(classes=9)), ["logits", "9"]),
    "a class twice": (lambda p: p["classes"].__setitem__(1, "0"), ["two classes", "'0'"]),
    "class names that are numbers": (lambda p: p["classes"].__setitem__(0, 0), ["classes[0]", "wanted str"]),
    "another size": (lambda p: p["preprocess"].update(height=29), ["29×28×1", "28×28×1"]),
    "another size everywhere": (
        lambda p: (p["preprocess"].update(height=32), p["architecture"].update(height=32)),
        ["damaged"],
    ),
    "another mean": (lambda p: p["preprocess"].update(mean=[0.5]), ["differently"]),
    "deviation zero": (lambda p: p["preprocess"].update(deviation=[0.0]), ["deviations"]),
    "deviation NaN": (lambda p: p["preprocess"].update(deviation=[float("nan")]), ["wanted float"]),
    "an unknown way to fit": (lambda p: p["preprocess"].update(mode="corp"), ["'crop'"]),
    "a field too many": (lambda p: p.update(colour="red"), ["'colour'"]),
    "a field too few": (lambda p: p.pop("classes"), ["'classes' is missing"]),
    "no architecture": (lambda p: p.update(architecture=None), ["architecture"]),
    "a tolerance that allows anything": (lambda p: p.update(golden_tolerance=1e9), ["golden_tolerance"]),
    "a tolerance of NaN": (lambda p: p.update(golden_tolerance=float("nan")), ["golden_tolerance"]),
    "a negative temperature": (lambda p: p.update(temperature=-1.0), ["temperature"]),
    "an infinite temperature": (lambda p: p.update(temperature=float("inf")), ["temperature"]),
    "hidden units beyond memory": (lambda p: p["architecture"]["arguments"].update(hidden=10**7), ["damaged"]),
    "hidden units beyond arithmetic": (lambda p: p["architecture"]["arguments"].update(hidden=10**30), ["damaged"]),
    "pictures beyond memory": (
        lambda p: (p["preprocess"].update(height=10**6), p["architecture"].update(height=10**6)),
        ["damaged"],
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_description_that_lies(victim, case):
    change, parts = CHANGES[case]
    rehashed(victim, change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(victim, *parts)
    # Refused before it is built: 10^7 hidden units would be 400 TB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def first(loaded: dict[str, torch.Tensor]) -> str:
    return sorted(loaded)[0]


WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], list[str]]] = {
    "NaN": (lambda w: w[first(w)].view(-1).__setitem__(0, torch.nan), ["NaN"]),
    "infinity": (lambda w: w[first(w)].view(-1).__setitem__(0, torch.inf), ["infinity"]),
    "a tensor missing": (lambda w: w.pop(first(w)), ["lack"]),
    "a tensor too many": (lambda w: w.update({"evil\n\x1b[2J": torch.zeros(2)}), ["evil\\n\\x1b"]),
    "another shape": (lambda w: w.update({first(w): torch.zeros(3)}), ["wants"]),
    "another type": (lambda w: w.update({first(w): w[first(w)].double()}), ["float64", "float32"]),
    "nothing": (lambda w: w.clear(), ["lack"]),
    "slightly other weights": (
        lambda w: w["logits.bias"].add_(0.1) if "logits.bias" in w else w[first(w)].mul_(1.1),
        ["differently"],
    ),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_with_fitting_hashes(victim, case):
    change, parts = WEIGHTS[case]
    tensors(victim, "weights.safetensors", change)
    refused(victim, *parts)


GOLDEN: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], list[str]]] = {
    "no pictures": (lambda g: g.update(images=g["images"][:0].clone(), logits=g["logits"][:0].clone()), ["golden"]),
    "floats": (lambda g: g.update(images=g["images"].float()), ["float32 4×28×28×1"]),
    "another size": (lambda g: g.update(images=g["images"][:, :20].clone()), ["uint8 4×20×28×1"]),
    "fewer logits": (lambda g: g.update(logits=g["logits"][:, :5].clone()), ["float32 4×5"]),
    "NaN": (lambda g: g["logits"].fill_(torch.nan), ["differently"]),
    "other names": (lambda g: g.update(logit=g.pop("logits")), ["images and logits"]),
    "a single number": (lambda g: g.update(images=torch.tensor(3, dtype=torch.uint8)), ["a single number"]),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_inputs_with_fitting_hashes(victim, case):
    change, parts = GOLDEN[case]
    tensors(victim, "golden.safetensors", change)
    refused(victim, *parts)


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
def test_a_fifo_does_not_hang(victim, name):
    (victim / name).unlink()
    os.mkfifo(victim / name)
    refused(victim, name)


def test_an_endless_file_is_not_read(victim):
    (victim / "bundle.json").unlink()
    (victim / "bundle.json").symlink_to("/dev/zero")
    refused(victim, "bundle.json")


def test_a_huge_description_is_not_read(victim):
    with open(victim / "bundle.json", "r+b") as file:
        file.truncate(10 << 30)  # sparse
    refused(victim, "more than any bundle's")


CUSTOM = """
import pathlib
pathlib.Path({marker!r}).write_text("its code ran")
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(28 * 28, classes)

    def forward(self, images):
        return self.layer(images.flatten(1))
"""


def test_a_network_of_someone_s_own_runs_only_when_named(tmp_path, monkeypatch):
    from deeper.models import Architecture, create
    from tests.sample_network import digits

    marker = tmp_path / "marker"
    (tmp_path / "their_nets.py").write_text(CUSTOM.format(marker=str(marker)))
    monkeypatch.chdir(tmp_path)
    own = Architecture(model="their_nets:Net", classes=10, channels=1, height=28, width=28)
    path = write(
        tmp_path / "bundle", architecture=own, weights=create(own).state_dict(), pictures=digits("train", 4)[0]
    )
    marker.unlink()
    monkeypatch.delitem(__import__("sys").modules, "their_nets")
    refused(path, "their_nets:Net", "--model their_nets:Net", "code would run")
    refused(path, "not nielsen", model="nielsen")
    assert not marker.exists()
    assert bundle.load(path, model="their_nets:Net").info.architecture.model == "their_nets:Net"
    assert marker.exists()


def test_an_import_path_cannot_be_smuggled_past_a_built_in_name(victim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("os:system", "subprocess:Popen", "nielsen:", ":nielsen"):
        rehashed(victim, lambda plain, name=name: plain["architecture"].update(model=name))
        refused(victim, "code would run")
    rehashed(victim, lambda plain: plain["architecture"].update(model="subprocess.Popen"))
    refused(victim, "no model")
