"""An Inception trained on colour photographs by the guide's recipe, inspected from end to end as a user would."""

from __future__ import annotations

import json
import shutil

import pytest

from deeper import cli
from deeper.audit.judge import judge_for
from deeper.audit.options import JudgeOptions
from deeper.inspection import inspecting
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.runs import train

CLASSES, EACH = 3, 10


@pytest.fixture(scope="module")
def photographs(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for one in sorted((data / "flowers12" / "train").iterdir())[:CLASSES]:
        (folder / "some" / one.name).mkdir(parents=True)
        for picture in sorted(one.iterdir())[:EACH]:
            shutil.copy(picture, folder / "some" / one.name)
    options = BuildOptions(workers=1, validation=0.4, test=0)
    build(open_source(folder / "some"), folder / "dataset", options=options)
    return Dataset(folder / "dataset")


def test_inception_with_the_guides_recipe(photographs, tmp_path, monkeypatch, capsys):
    judge = judge_for(photographs, options=JudgeOptions(folds=2, epochs=2))
    # So few photographs make a weak judge, which accuses nobody: what is looked at here is that all parts run.
    assert judge.weak
    monkeypatch.setattr(inspecting, "judge_for", lambda dataset, progress, notice: judge)
    run = tmp_path / "run"
    options = {"height": 75, "width": 75, "batch": 6, "detail_every": 10**6}
    train(
        photographs,
        model="inception_v3",
        recipe="guide",
        out=run,
        epochs=1,
        options=options,
        audit=False,
        quiet=True,
    )
    cli.main(["inspect", str(run), "--grad-cam", "--json"])
    plain = json.loads(capsys.readouterr().out)
    by_name = {one["distortion"]: one for one in plain["verdicts"]}
    assert {"horizontal_flip", "random_box", "guide_colour"} <= set(by_name)
    assert by_name["horizontal_flip"]["method"] == "inverse" and by_name["random_box"]["method"] == "neighbours"
    assert all(len(one["placebos"]) >= 3 for one in plain["verdicts"])
    assert all(placebo["tries"] == one["tries"] for one in plain["verdicts"] for placebo in one["placebos"])
    assert plain["errors"] and not any(one["accused"] for one in plain["verdicts"]) and plain["judge"]["weak"]
    written = run / "inspection" / "decision"
    assert (written / "report.html").stat().st_size < 20e6
    first = json.loads((written / "inspection.json").read_text())["errors"][0]
    assert {"picture", "grad_cam_given", "grad_cam_true"} <= set(first["pictures"])
    assert list((run / "tensorboard" / "inspection-decision").glob("events.out.tfevents.*"))
