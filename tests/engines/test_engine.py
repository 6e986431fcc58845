"""Options that an engine cannot heed are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeper.engines import open_engine
from deeper.errors import UsageError
from deeper.export import export
from deeper.prediction import Classifier
from tests.sample_network import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture(scope="module")
def exported(folder) -> Path:
    export(folder, ["openvino"])
    (found,) = folder.parent.rglob("export.json")
    return found.parent


def test_what_only_torch_heeds_is_refused_elsewhere(folder, exported) -> None:
    for device in ("auto", "cpu"):
        assert open_engine(exported, device=device).name == "openvino"
        assert open_engine(folder, engine="openvino", device=device).name == "openvino"
    for place, engine in ((exported, "auto"), (folder, "openvino"), (folder, "onnx")):
        for device in ("cuda", "cuda:1", "nonsense"):
            with pytest.raises(UsageError, match=f"device '{device}' with .* runs on the processor"):
                Classifier(place, engine=engine, device=device)
        with pytest.raises(UsageError, match="model 'my:Net' with .* leave it out"):
            Classifier(place, engine=engine, model="my:Net")
    with pytest.raises(UsageError, match="no device 'nonsense'"):
        Classifier(folder, device="nonsense")


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_nothing_is_refused(folder, batch) -> None:
    with pytest.raises(UsageError, match=f"batch {batch}: wanted at least 1"):
        Classifier(folder, device="cpu", batch=batch)
