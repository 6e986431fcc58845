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
    checkpoint.prune(tmp_path, keep=2, best=4)
    assert checkpoint.steps(tmp_path) == [4, 8, 10]


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
