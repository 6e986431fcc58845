"""Files of torch.save and safetensors: real hostile ones, cut-off ones, checkpoints of training scripts."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deeper.errors import WeightsError
from deeper.models.weights.reading import is_weights_file, read

STATE = {"Conv2d_1a_3x3.conv.weight": torch.arange(12.0).reshape(4, 3, 1, 1), "fc.bias": torch.ones(3)}


def refused(path: Path, *parts: str) -> str:
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500, message
    for part in parts:
        assert part in message, message
    return message


class Harm:
    """Pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_hostile_pickles_run_nothing(tmp_path: Path, zipped: bool, inside: bool) -> None:
    marker = tmp_path / "marker"
    calls = [
        (Harm(os.system, f"touch {marker}"), "system"),
        (Harm(subprocess.check_call, ["touch", str(marker)]), "check_call"),
        (Harm(exec, f"open({str(marker)!r}, 'w')"), "exec"),
        (Harm(eval, f"open({str(marker)!r}, 'w')"), "eval"),
        (Harm(os.mkdir, str(marker)), "mkdir"),
        (Harm(getattr, Path, "home"), "getattr"),
    ]
    for number, (harm, name) in enumerate(calls):
        path = tmp_path / f"{number}.pth"
        torch.save({**STATE, "x": harm} if inside else harm, path, _use_new_zipfile_serialization=zipped)
        refused(path, "refused", name, "nothing of it was run", "safetensors")
        assert not marker.exists()
    # They are harmful: Python's own pickle runs the first.
    with pytest.raises(TypeError):  # what it made is nothing to take a part of
        pickle.loads(pickle.dumps(Harm(os.mkdir, str(marker))))[0]
    assert marker.exists()


def test_a_plain_pickle_and_a_pickled_module_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harm(os.system, "true"), protocol=2))
    refused(tmp_path / "plain.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    refused(tmp_path / "module.pth", "refused", "torch.nn.modules.linear.Linear")


@pytest.mark.parametrize("form", ["pth", "old.pth", "safetensors"])
def test_the_sound_file_loads_and_no_part_of_it_does(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"sound.{form}"
    if form == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=form == "pth")
    opened = read(path)
    assert opened.tensors.keys() == STATE.keys()
    assert all(torch.equal(opened.tensors[name], tensor) for name, tensor in STATE.items())
    whole = path.read_bytes()
    cut = tmp_path / f"cut.{form}"
    for length in sorted({*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1}):
        cut.write_bytes(whole[:length])
        refused(cut, "cut." + form)


def test_archives_that_unpack_to_more_than_they_are(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/data/0", b"\0" * (64 << 20))
    assert path.stat().st_size < 1 << 20
    refused(path, "unpack to more")


def test_tensors_that_claim_more_than_they_have(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, tmp_path / "wide.pth")
    opened = read(tmp_path / "wide.pth")  # a view: no memory is taken for it
    assert opened.tensors["a"].shape == (1 << 20, 1 << 20)


@pytest.mark.parametrize("place", ["state_dict", "model", "state_dict_ema"])
def test_checkpoints_of_training_scripts(tmp_path: Path, place: str) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in STATE.items()}
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, place: wrapped}, tmp_path / "script.pth")
    opened = read(tmp_path / "script.pth")
    assert opened.tensors.keys() == STATE.keys()
    assert opened.left == ("epoch", "optimizer")


def test_the_average_that_torchvisions_script_keeps(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.Sequential(torch.nn.Linear(3, 2)))
    torch.save({"epoch": 3, "model_ema": averaged.state_dict()}, tmp_path / "script.pth")
    opened = read(tmp_path / "script.pth")
    assert set(opened.tensors) == {"0.weight", "0.bias"} and "n_averaged" in opened.left


@pytest.mark.parametrize("zipped", [True, False])
def test_what_scripts_keep_beside_the_weights_is_stepped_over(tmp_path: Path, zipped: bool) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    beside = {
        "args": argparse.Namespace(model="inception_v3", lr=0.045, device=torch.device("cpu"), seen={1, 2}),
        "lr_scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60, 60]).state_dict(),
        "optimizer": optimizer.state_dict(),
        "metric": np.float64(77.5),
        "best": {"top1": np.float32(0.5), "epoch": np.int64(3), "improved": np.bool_(True)},
        # What numpy would believe: eight bytes as an object's place in memory.
        "scalar": Harm(np._core.multiarray.scalar, np.dtype([("a", "O")]), b"12345678"),
    }
    before = set(torch.serialization.get_safe_globals())  # a list in no order: torch makes it of a set
    torch.save({"state_dict": STATE, **beside}, tmp_path / "script.pth", _use_new_zipfile_serialization=zipped)
    opened = read(tmp_path / "script.pth")
    assert opened.tensors.keys() == STATE.keys() and opened.left == tuple(beside)
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_tensor_beside_the_state_dict(tmp_path: Path) -> None:
    beside = {"epoch": 5, "optimizer_state_dict": {}, "loss": torch.tensor(0.3)}
    torch.save({"model_state_dict": STATE, **beside}, tmp_path / "script.pth")
    opened = read(tmp_path / "script.pth")
    assert opened.tensors.keys() == STATE.keys() and opened.left == tuple(beside)
    # A parameter may bear the name of a place.
    torch.save({**STATE, "weights": torch.ones(2), "model": torch.ones(3)}, tmp_path / "plain.pth")
    assert read(tmp_path / "plain.pth").tensors.keys() == {*STATE, "weights", "model"}


def test_what_is_no_weights_file(tmp_path: Path) -> None:
    for nameless in (Path("."), Path("/"), Path("")):
        assert not is_weights_file(nameless)
        refused(nameless, "is a folder")
    torch.save([1, 2], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "no state dict", "model.state_dict()")
    (tmp_path / "text.pth").write_text("<html>404 not found</html>")
    refused(tmp_path / "text.pth", "does not begin or end as a .pth")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path / "notes.txt", ".safetensors")
    refused(tmp_path / "nowhere.pth", "no such file")
    refused(tmp_path, "is a folder")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme", "hi")
    refused(tmp_path / "other.pth", "none of torch.save")


def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    whole = bytearray(buffer.getvalue())
    path = tmp_path / "flipped.pth"
    read_well = 0
    for position in range(0, len(whole), 23):
        changed = bytearray(whole)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        try:
            read(path)
            read_well += 1  # a number in a tensor: the hash of a download tells
        except WeightsError as error:
            assert "\n" not in str(error)
    assert read_well < len(whole) // 23


def test_importing_the_readers_of_keras_and_tensorflow_needs_neither() -> None:
    code = "import deeper.models.weights.reading, sys; assert not {'h5py', 'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_weights_of_one_name_are_refused(tmp_path: Path) -> None:
    """What a wrapper puts before a name is taken off; the later one would have won in silence."""
    torch.save({**STATE, "module.fc.bias": torch.zeros(3)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "two weights for fc.bias", "module.fc.bias")


def test_a_newer_pickle_is_no_crime(tmp_path: Path) -> None:
    """Names are fetched from the memo there; taken from the wrong place, an innocent file was said to call things."""
    torch.save(STATE, tmp_path / "w.pth", pickle_protocol=4)
    assert "would call" not in refused(tmp_path / "w.pth", "no sound file of torch.save")
    torch.save({**STATE, "x": Harm(os.system, "true")}, tmp_path / "harm.pth", pickle_protocol=4)
    refused(tmp_path / "harm.pth", "would call", "system")
