"""Ablations of an inspected run: its arms are trained, kept and used again; the cause is told from them."""

from __future__ import annotations

import shutil

import pytest

from deeper.errors import UsageError
from deeper.inspection import inspect
from deeper.runs import Run


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"ablate": ("horizontal_flop",)}, "did you mean 'horizontal_flip'"),
        ({"ablate": ("horizontal_flip",), "seeds": 2}, "at least 5"),
        ({"ablate": ("horizontal_flip",), "steps": 0}, "at least 1"),
    ],
)
def test_an_ablation_that_cannot_be_meant_is_refused_before_any_work(flipped, judge, asked, message):
    with pytest.raises(UsageError, match=message):
        inspect(flipped, judge=judge, **asked)
    assert not (flipped / "ablation").exists()


@pytest.fixture
def copied(flipped, tmp_path):
    """A copy of the run that ablations may be put into."""
    run = tmp_path / "copy"
    shutil.copytree(flipped, run)
    # The copy lies elsewhere; its dataset is found by the path in its config.
    config, old = (run / "config.toml").read_text(), Run(flipped).config.dataset
    (run / "config.toml").write_text(config.replace(old, str((flipped / old).resolve())))
    return run


@pytest.mark.long
def test_the_ablation_confirms_the_planted_flip(copied, judge):
    cause = inspect(copied, ablate=("horizontal_flip",), judge=judge).evidence[0].cause
    assert cause.kind == "cause" and cause.significant and cause.seeds == 5
    assert cause.fewer_interval[0] > 0 and cause.p_value == pytest.approx(2 / 252)
    assert "explains" in cause.verdict


def test_arms_are_trained_once_and_used_again(copied, judge):
    found = inspect(copied, ablate=("horizontal_flip",), steps=2, judge=judge)
    cause = found.evidence[0].cause
    assert cause.kind == "removal effect" and cause.steps == 2 and cause.seeds == 5
    assert "explains" not in found.verdict and "Removal effect" in found.verdict
    folders = {path.relative_to(copied / "ablation").as_posix() for path in (copied / "ablation").glob("*/*")}
    assert folders == {f"{arm}/seed-{n}" for arm in ("with-2", "without-horizontal_flip-2") for n in range(1, 6)}
    one = Run(copied / "ablation" / "without-horizontal_flip-2" / "seed-3")
    assert [distortion.name for distortion in one.config.options.distortions] == ["translation"]
    assert one.config.steps == 2 and one.config.options.seed == 3
    # Two steps at a tenth of the rate leave the network nearly what it was.
    assert max(cause.errors_with) < 3 * len(found.wrong) + 10
    before = {path: path.stat().st_mtime_ns for path in (copied / "ablation").glob("*/*/bundle/weights.safetensors")}
    # One is lost, one was killed before its first checkpoint: these two are trained again, the others are not.
    lost = copied / "ablation" / "with-2" / "seed-1"
    shutil.rmtree(lost)
    killed = copied / "ablation" / "with-2" / "seed-2"
    shutil.rmtree(killed / "checkpoints")
    lines = (killed / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert '"finished"' in lines[-1]
    (killed / "metrics.jsonl").write_text("".join(lines[:-1]))
    again = inspect(copied, ablate=("horizontal_flip",), steps=2, judge=judge)
    assert again.evidence[0].cause == cause
    kept = {path for path, when in before.items() if path.stat().st_mtime_ns == when}
    assert before.keys() - kept == {arm / "bundle" / "weights.safetensors" for arm in (lost, killed)}
