"""Histograms against NumPy, in every memory format and for values that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeper.monitor.histograms import BUCKETS, histograms


@pytest.mark.parametrize("kind", ["contiguous", "channels_last", "strided", "bfloat16", "scalar"])
def test_agrees_with_numpy(kind: str) -> None:
    torch.manual_seed(0)
    tensor = torch.randn(4, 6, 5, 5)
    if kind == "channels_last":
        tensor = tensor.to(memory_format=torch.channels_last)
    elif kind == "strided":
        tensor = tensor[:, ::2, 1:]
    elif kind == "bfloat16":
        tensor = tensor.bfloat16()
    elif kind == "scalar":
        tensor = torch.tensor(2.5)
    values = tensor.float().numpy().ravel()
    histogram = histograms({"x": tensor})["x"]
    assert histogram.count == values.size == sum(histogram.counts)
    assert histogram.total == pytest.approx(float(values.sum(dtype=np.float64)), rel=1e-4, abs=1e-4)
    assert histogram.squares == pytest.approx(float((values.astype(np.float64) ** 2).sum()), rel=1e-4)
    assert histogram.minimum <= values.min() and histogram.maximum >= values.max()
    assert len(histogram.limits) == len(histogram.counts) == BUCKETS
    if kind != "scalar":
        expected, edges = np.histogram(values, BUCKETS)
        assert np.abs(np.array(histogram.counts) - expected).sum() <= 4, "apart from values on an edge"
        assert np.allclose(histogram.limits, edges[1:], rtol=1e-5, atol=1e-6)


def test_a_constant_has_a_bucket_that_can_be_seen() -> None:
    histogram = histograms({"x": torch.zeros(7)})["x"]
    assert (histogram.minimum, histogram.maximum, sum(histogram.counts)) == (-0.5, 0.5, 7)


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    nan, inf = float("nan"), float("inf")
    result = histograms(
        {"some": torch.tensor([1.0, nan, 3.0, inf]), "all": torch.tensor([nan, -inf]), "none": torch.zeros(0)}
    )
    assert set(result) == {"some"}
    assert (result["some"].count, result["some"].not_finite, result["some"].maximum) == (2, 2, 3.0)


def test_counts_stay_exact_beyond_what_float32_can_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeper.monitor.histograms._EXACT", 1000)
    assert sum(histograms({"x": torch.randn(12_345)})["x"].counts) == 12_345


def test_nothing_gives_nothing() -> None:
    assert histograms({}) == {}
