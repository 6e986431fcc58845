"""A series that is added to: in what order its runs are taken."""

from __future__ import annotations

import json
import shutil

import pytest

from deeper.errors import RunError
from deeper.runs import repeat, train

QUICK = {"batch": 50, "precision": "fp32", "report_every": 4}


def test_a_run_of_another_training_is_found_before_any_is_trained(small_dataset, tmp_path):
    tried = []

    def one(path, number):
        tried.append(path.name)
        return train(
            small_dataset,
            out=path,
            seed=number,
            epochs=2,
            options=QUICK,
            existing="resume",
            quiet=True,
        )

    train(small_dataset, out=tmp_path / "seed-1", seed=1, epochs=1, options=QUICK, quiet=True)
    with pytest.raises(RunError, match="seed-1 was trained with another epochs"):
        repeat(tmp_path, ["seed-0", "seed-1"], one)
    assert tried == ["seed-1"] and not (tmp_path / "seed-0").exists()
    # What is there is taken first, and told in the order of the names.
    shutil.rmtree(tmp_path / "seed-1")
    train(small_dataset, out=tmp_path / "seed-1", seed=1, epochs=2, options=QUICK, quiet=True)
    tried.clear()
    summary = repeat(tmp_path, ["seed-0", "seed-1"], one)
    assert tried == ["seed-1", "seed-0"] and summary.names == ("seed-0", "seed-1") and summary.complete
    assert [one["run"] for one in json.loads((tmp_path / "summary.json").read_text())["runs"]] == ["seed-0", "seed-1"]
