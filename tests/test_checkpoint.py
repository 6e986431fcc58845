import json

import pytest
import torch

from deeper import checkpoint
from deeper.errors import RunError


def facts(step):
    return {"step": step, "steps": 10, "best_score": 0.5, "best_step": 4, "validations_without_better": 0}


def test_round_trip(tmp_path):
    tensors = {
        "a": torch.randn(3, 4),
        "b": torch.tensor(7),
        "c": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    checkpoint.save(tmp_path, facts(4), tensors)
    read_facts, read = checkpoint.read(tmp_path, 4)
    assert {name: read_facts[name] for name in facts(4)} == facts(4)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_prune_keeps_the_last_ones_and_the_best(tmp_path):
    for step in (2, 4, 6, 8, 10):
        checkpoint.save(tmp_path, facts(step), {"a": torch.zeros(1)})
    checkpoint.prune(tmp_path, keep=2, best=4, saved=10)
    assert checkpoint.steps(tmp_path) == [4, 8, 10]


@pytest.mark.parametrize("left", [0, 3, 40, -1, None])
def test_a_damaged_checkpoint_displaces_no_sound_one(tmp_path, left):
    """`left`: bytes of the tensors that remain; None: the description is gone."""
    for step in (2, 4, 6, 8):
        folder = checkpoint.save(tmp_path, facts(step), {"a": torch.randn(50)})
        if step in (4, 8):
            data = (folder / "tensors.safetensors").read_bytes()
            if left is None:
                (folder / "checkpoint.json").unlink()
            else:
                (folder / "tensors.safetensors").write_bytes(data[:left])
    checkpoint.prune(tmp_path, keep=2, best=None, saved=6)
    assert checkpoint.steps(tmp_path) == [2, 6, 8], "what lies beyond 6 is replaced when the run comes by"
    checkpoint.save(tmp_path, facts(8), {"a": torch.randn(50)})
    checkpoint.prune(tmp_path, keep=2, best=None, saved=8)
    assert checkpoint.steps(tmp_path) == [6, 8]


@pytest.mark.parametrize("cut", [0, 1, 7, 100, -1])
def test_a_checkpoint_cut_off_is_named(tmp_path, cut):
    folder = checkpoint.save(tmp_path, facts(3), {"a": torch.randn(50)})
    data = (folder / "tensors.safetensors").read_bytes()
    (folder / "tensors.safetensors").write_bytes(data[:cut])
    with pytest.raises(RunError, match="step-00000003.*damaged"):
        checkpoint.read(tmp_path, 3)


def test_a_flipped_bit_is_found(tmp_path):
    folder = checkpoint.save(tmp_path, facts(3), {"a": torch.randn(50)})
    data = bytearray((folder / "tensors.safetensors").read_bytes())
    data[-5] ^= 4
    (folder / "tensors.safetensors").write_bytes(data)
    with pytest.raises(RunError, match="changed or cut off"):
        checkpoint.read(tmp_path, 3)


def test_another_format_is_refused(tmp_path):
    folder = checkpoint.save(tmp_path, facts(3), {"a": torch.randn(5)})
    described = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps({**described, "format_version": 99}))
    with pytest.raises(RunError, match="format 99"):
        checkpoint.read(tmp_path, 3)


def test_a_missing_step_names_those_that_exist(tmp_path):
    checkpoint.save(tmp_path, facts(3), {"a": torch.randn(5)})
    with pytest.raises(RunError, match="no checkpoint of step 5.*there are: 3"):
        checkpoint.read(tmp_path, 5)


def test_what_was_left_half_written_is_not_a_checkpoint(tmp_path):
    checkpoint.save(tmp_path, facts(3), {"a": torch.randn(5)})
    (tmp_path / ".step-00000004.partial-99").mkdir()
    assert checkpoint.steps(tmp_path) == [3]


def test_the_same_state_again_leaves_a_sound_checkpoint_alone(tmp_path) -> None:
    tensors = {"model/weight": torch.arange(4.0)}
    folder = checkpoint.save(tmp_path, {"step": 5}, tensors)
    before = (folder / "tensors.safetensors").stat().st_ino
    checkpoint.save(tmp_path, {"step": 5}, tensors)
    assert (folder / "tensors.safetensors").stat().st_ino == before
    # A damaged one, or one of another state, is replaced.
    (folder / "tensors.safetensors").write_bytes(b"cut off")
    checkpoint.save(tmp_path, {"step": 5}, tensors)
    torch.testing.assert_close(checkpoint.read(tmp_path, 5)[1], tensors)
    checkpoint.save(tmp_path, {"step": 5}, {"model/weight": torch.ones(4)})
    torch.testing.assert_close(checkpoint.read(tmp_path, 5)[1]["model/weight"], torch.ones(4))


@pytest.mark.parametrize("text", ["[]", "3", "null", '"step"', "[" * 100_000])
def test_a_description_that_is_no_object_is_damage(tmp_path, text):
    folder = checkpoint.save(tmp_path, facts(3), {"a": torch.randn(5)})
    (folder / "checkpoint.json").write_text(text)
    with pytest.raises(RunError, match="step-00000003 is damaged"):
        checkpoint.read(tmp_path, 3)
