"""The learning-rate search on real pictures: what it finds trains, and it leaves nothing behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deeper.errors import UsageError
from deeper.runs import find_rate, train

QUICK = {"batch": 50, "precision": "fp32"}


@pytest.fixture(scope="module")
def found(small_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "rates"
    return folder, find_rate(small_dataset, options=QUICK, steps=100, out=folder, quiet=True)


def test_its_rate_trains_where_a_tenth_and_twenty_times_it_do_worse(found, small_dataset, tmp_path):
    rate = found[1].search.suggestion
    assert rate is not None and 1e-4 < rate < 1e-1
    accuracies = {}
    for factor in (0.1, 1, 20):
        options = {**QUICK, "optimizer.rate": rate * factor}
        result = train(small_dataset, epochs=2, out=tmp_path / str(factor), options=options, quiet=True)
        accuracies[factor] = result.validation.accuracy
    assert accuracies[1] > max(accuracies[0.1], accuracies[20])


def test_its_folder(found):
    folder, result = found
    assert {path.name for path in folder.iterdir()} == {"rates.png", "rates.svg", "rates.csv", "rates.json"}
    assert json.loads((folder / "rates.json").read_text()) == result.to_plain()
    lines = (folder / "rates.csv").read_text().splitlines()
    assert lines[0] == "step,rate,loss,smoothed,slope" and len(lines) == len(result.search.rates) + 1
    assert "suggested" in (folder / "rates.svg").read_text()
    assert (folder / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_the_training_that_will_run(small_dataset, found):
    """The same seed gives the same losses; other pictures, distortions or networks give others."""
    losses = found[1].search.losses
    again = find_rate(small_dataset, options=QUICK, steps=100, workers=2, quiet=True).search
    assert np.array_equal(losses, again.losses) and again.suggestion == found[1].search.suggestion
    other = find_rate(small_dataset, options=QUICK, steps=100, no_distort=["all"], quiet=True).search
    # The rate hardly moves anything in the first steps: what differs there are the pictures.
    assert not np.allclose(losses[:10], other.losses[:10], rtol=1e-4)


def test_it_begins_with_given_weights(small_dataset, found, tmp_path):
    trained = train(small_dataset, epochs=4, out=tmp_path / "run", options=QUICK, quiet=True).run.path
    search = find_rate(small_dataset, weights=trained, options=QUICK, steps=40, high=1.0, quiet=True).search
    assert search.losses[0] < found[1].search.losses[0] - 0.5


def test_where_sizes_grow_it_takes_the_last_ones_batches(small_dataset):
    staged = {"batch": 50, "precision": "fp32", "stages": [{"batch": 30}]}
    found = find_rate(small_dataset, options=staged, steps=40, quiet=True)
    assert found.batch == 30
    plain = find_rate(small_dataset, options={**QUICK, "batch": 30}, steps=40, quiet=True)
    assert np.array_equal(found.search.losses, plain.search.losses)


def test_a_seed_among_the_options_counts(small_dataset):
    one = find_rate(small_dataset, options={**QUICK, "seed": 3}, steps=40, quiet=True).search
    assert np.array_equal(
        one.losses, find_rate(small_dataset, options=QUICK, seed=3, steps=40, quiet=True).search.losses
    )


NETWORK = """
from torch import nn

class Whole(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 28), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes))

    def forward(self, images):
        return self.body(images)
"""


def test_too_few_pictures_for_batch_norm_are_one_line(small_dataset, tmp_path, monkeypatch):
    (tmp_path / "whole_net.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    options = {"batch": 1, "precision": "fp32"}
    with pytest.raises(UsageError, match="a batch of 1 at 28 pixels leaves batch norm a single value per channel"):
        find_rate(small_dataset, model="whole_net:Whole", options=options, steps=40, quiet=True)


def test_it_stops_when_the_loss_diverges(small_dataset):
    options = {**QUICK, "optimizer": "sgd"}
    search = find_rate(small_dataset, options=options, low=1e-4, high=1e4, steps=100, quiet=True).search
    assert search.diverged is not None and len(search.rates) < 100
    assert search.lowest < search.diverged


def test_it_leaves_nothing_behind(small_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in small_dataset.path.iterdir())
    find_rate(small_dataset, options=QUICK, steps=40, low=1e-5, high=1.0, quiet=True)
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in small_dataset.path.iterdir()) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 0.1, "high": 0.01}, "0 < low < high, got low 0.1 and high 0.01"),
        ({"low": 0.0}, "0 < low < high"),
        ({"high": float("nan")}, "0 < low < high"),
        ({"steps": 39}, "at least 40, got 39"),
        ({"recipe": "fats"}, "did you mean 'fast'"),
        ({"low": 100.0, "high": 1e6, "options": {**QUICK, "optimizer": "sgd"}}, "--low"),
    ],
)
def test_bad_input(small_dataset, given, message):
    with pytest.raises(UsageError, match=message):
        find_rate(small_dataset, quiet=True, **given)


def test_a_run_is_not_written_into(small_dataset, tmp_path):
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(UsageError, match="is a run; give another --out"):
        find_rate(small_dataset, out=tmp_path, quiet=True)
