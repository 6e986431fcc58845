"""Exports agree with the bundle, stand for themselves, and are refused when they do not agree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from deeper import bundle
from deeper.engines import ENGINES, open_engine, read_export
from deeper.engines.artefact import EXPORT, read_golden
from deeper.engines.openvino_engine import has_bf16
from deeper.errors import BundleError, UsageError
from deeper.export import FORMATS, export, exporting
from deeper.images import Preprocess
from deeper.models import Architecture, create
from deeper.prediction import Classifier
from deeper.runs import Run

BRANCHING = """
from torch import nn

class Branching(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        y = self.head(x.flatten(1))
        return y if y.sum() > 0 else 2 * y
"""
MADE = ("onnx", "openvino", "openvino-int8", "torch-export")
WAYS = (("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
# OpenVINO computes in bf16 on some processors only.
RUNNABLE = tuple(one for one in WAYS if one[1] != "bf16" or has_bf16())


@pytest.fixture(scope="module")
def pictures(exported_run) -> np.ndarray:
    split = Run(exported_run).dataset().split("test")
    return np.stack([split.picture(position) for position in range(len(split))])


def test_every_format_says_what_it_is(exported_run) -> None:
    info = bundle.read_info(exported_run / "bundle")
    for name in MADE:
        described = read_export(exported_run / "exports" / name)
        assert described.format == name and described.bundle == info
        assert described.comparison["pictures"] == 150 and described.comparison["changed_answers"] <= 1
        assert {"export.json", "check.py", "golden.safetensors"} - set(described.files) == {"export.json"}


@pytest.mark.parametrize(("engine", "precision"), WAYS)
def test_engines_agree_with_torch(exported_run, pictures, engine, precision) -> None:
    wanted = open_engine(exported_run, engine="torch").predict(pictures)
    opened = open_engine(exported_run, engine=engine, precision=precision)
    given = opened.predict(pictures)
    # It says what it computes in.
    precision = precision if (engine, precision) in RUNNABLE else "fp32"
    assert (opened.name, opened.precision) == (engine, precision)
    assert given.logits.dtype == given.features.dtype == np.float32
    assert given.features.shape == wanted.features.shape
    changed = (given.logits.argmax(1) != wanted.logits.argmax(1)).mean()
    if precision == "fp32":
        assert changed == 0
        np.testing.assert_allclose(given.logits, wanted.logits, atol=1e-4)
        np.testing.assert_allclose(given.features, wanted.features, atol=1e-4)
    else:
        # They compute in another precision, or this would test nothing.
        assert np.abs(given.logits - wanted.logits).max() > 1e-4
        assert changed <= 0.02


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_pictures_answer_does_not_depend_on_its_batch(exported_run, pictures, engine) -> None:
    predict = open_engine(exported_run, engine=engine).predict
    whole = predict(pictures).logits
    for size in (1, 3, 64, 65):
        parts = [predict(pictures[first : first + size]).logits for first in range(0, len(pictures), size)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=2e-5)
    np.testing.assert_array_equal(predict(pictures).logits, whole)
    assert predict(pictures[:0]).logits.shape == (0, 10)


def test_check_py_runs_for_anyone(exported_run, tmp_path) -> None:
    for name in MADE:
        copy = shutil.copytree(exported_run / "exports" / name, tmp_path / name)
        # From elsewhere, without this package in reach.
        command = [sys.executable, "-P", str(copy / "check.py")]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert ran.returncode == 0 and "is allowed" in ran.stdout, ran.stderr
    other = tmp_path / "onnx" / "golden.safetensors"
    images, logits = read_golden(tmp_path / "onnx")
    import safetensors.numpy

    other.write_bytes(safetensors.numpy.save({"images": images, "logits": logits + 0.5}))
    assert subprocess.run([sys.executable, str(tmp_path / "onnx" / "check.py")], capture_output=True).returncode == 1


def test_metadata_travels_in_the_model_file(exported_run) -> None:
    import onnx
    import openvino

    classes = list(bundle.read_info(exported_run / "bundle").classes)
    model = onnx.load(exported_run / "exports" / "onnx" / "model.onnx")
    facts = {one.key: one.value for one in model.metadata_props}
    assert json.loads(facts["deeper.classes"]) == classes
    assert json.loads(facts["deeper.preprocess"])["height"] == 28
    kinds = {one.name: one.type.tensor_type for one in (*model.graph.input, *model.graph.output)}
    assert kinds["images"].elem_type == onnx.TensorProto.UINT8 and set(kinds) == {"images", "logits", "features"}
    assert kinds["images"].shape.dim[0].dim_param  # any batch size
    extra = {"deeper.json": ""}
    torch.export.load(exported_run / "exports" / "torch-export" / "model.pt2", extra_files=extra)
    described = json.loads(extra["deeper.json"])
    assert described["classes"] == classes and described["preprocess"]["height"] == 28
    network = openvino.Core().read_model(exported_run / "exports" / "openvino" / "model.xml")
    assert json.loads(network.get_rt_info(["deeper", "classes"]).astype(str)) == classes


def test_the_classifier_takes_each_engine(exported_run, pictures) -> None:
    assert Classifier(exported_run).engine == "openvino"  # a current fp32 export lies there
    assert Classifier(exported_run, engine="torch").engine == "torch"
    wanted = [one.label for one in Classifier(exported_run, engine="torch")(pictures)]
    for place in (exported_run, exported_run / "bundle"):
        assert [one.label for one in Classifier(place, engine="onnx")(pictures)] == wanted
    alone = Classifier(exported_run / "exports" / "openvino-int8")
    assert (alone.engine, alone.precision) == ("openvino", "int8")
    # Never int8 unasked, also when it is the only export.
    assert Classifier(exported_run, precision="auto").precision == "fp32"
    # Asked for a precision, `auto` takes the engine that has it.
    for precision, computed in (("int8", "int8"), ("bf16", "bf16" if has_bf16() else "fp32")):
        asked = Classifier(exported_run, precision=precision)
        assert (asked.engine, asked.precision) == ("openvino", computed)
    assert Classifier(exported_run, precision="bf16", device="cpu", engine="torch").engine == "torch"


def test_without_its_export_a_precision_is_torchs_or_refused(exported_run, tmp_path) -> None:
    alone = shutil.copytree(exported_run / "bundle", tmp_path / "bundle")
    asked = Classifier(alone, precision="bf16")
    assert (asked.engine, asked.precision) == ("torch", "bf16")
    with pytest.raises(BundleError, match="no openvino-int8 export; make one: deeper export"):
        Classifier(alone, precision="int8")


def test_an_exported_model_needs_no_torch(exported_run) -> None:
    code = (
        "import sys, numpy, deeper\n"
        f"classifier = deeper.Classifier({str(exported_run)!r})\n"
        "print(classifier(numpy.zeros((28, 28), numpy.uint8)).label)\n"
        "assert classifier.engine == 'openvino' and 'torch' not in sys.modules\n"
        "assert not sys.modules['openvino_telemetry']\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_an_export_of_older_weights_is_not_taken(exported_run, tmp_path) -> None:
    copy = shutil.copytree(exported_run, tmp_path / "run")
    loaded = bundle.load(copy / "bundle")
    weights = {name: tensor * 0.9 for name, tensor in loaded.model.state_dict().items()}
    info = loaded.info
    bundle.save(
        copy / "bundle",
        weights=weights,
        architecture=info.architecture,
        preprocess=info.preprocess,
        classes=info.classes,
        pictures=read_golden(exported_run / "exports" / "onnx")[0],
    )
    assert Classifier(copy).engine == "torch"
    with pytest.raises(BundleError, match="other weights .* make it again: deeper export"):
        Classifier(copy, engine="openvino")


@pytest.mark.parametrize("name", ["model.bin", "export.json", "golden.safetensors"])
def test_a_damaged_export_is_refused(exported_run, tmp_path, name) -> None:
    copy = shutil.copytree(exported_run / "exports" / "openvino", tmp_path / "export")
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleError, match="damaged") as caught:
        Classifier(copy)
    assert "\n" not in str(caught.value)
    (copy / name).unlink()
    with pytest.raises(BundleError):
        Classifier(copy)


def test_a_description_cannot_reach_outside(exported_run, tmp_path) -> None:
    copy = shutil.copytree(exported_run / "exports" / "onnx", tmp_path / "export")
    plain = json.loads((copy / EXPORT).read_text())
    plain["files"]["../secret"] = "0" * 64
    (copy / EXPORT).write_text(json.dumps(plain))
    with pytest.raises(BundleError, match="outside its folder"):
        Classifier(copy)


def test_what_does_not_go_together_is_said(exported_run, tmp_path) -> None:
    place = exported_run / "exports"
    for engine, precision, path, message in (
        ("opnvino", "auto", exported_run, "did you mean 'openvino'"),
        ("openvino", "int4", exported_run, "no precision"),
        ("torch", "int8", exported_run, "not int8"),
        ("onnx", "bf16", exported_run, "onnx runs no bf16"),
        ("onnx", "auto", place / "openvino", "which openvino runs"),
        ("auto", "int8", place / "openvino", "a fp32 export, not int8"),
        ("auto", "auto", place / "torch-export", "which other programs run"),
    ):
        with pytest.raises(UsageError, match=message):
            open_engine(path, engine=engine, precision=precision)
    assert "auto" in ENGINES
    with pytest.raises(BundleError, match="deeper export"):
        open_engine(shutil.copytree(exported_run / "bundle", tmp_path / "bundle"), engine="onnx")
    with pytest.raises(UsageError, match="did you mean 'onnx'"):
        export(exported_run, ["onx"])
    with pytest.raises(UsageError, match="calibrated on validation pictures"):
        export(exported_run / "bundle", ["openvino-int8"], out=tmp_path / "out")


def test_an_export_that_disagrees_is_not_kept(exported_run, tmp_path, monkeypatch) -> None:
    from deeper.export import exporting

    honest = exporting.write_onnx

    def dishonest(program, example, info, path):
        network = create(info.architecture).eval()
        with torch.no_grad():
            graph = exporting.exported(exporting.Network(network, info.preprocess), example)
        honest(graph, example, info, path)

    monkeypatch.setattr(exporting, "write_onnx", dishonest)
    with pytest.raises(BundleError, match="disagrees with the bundle"):
        export(exported_run, ["onnx"], out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(BundleError, match="answers .*, more than 1.0%; it is not kept"):
        export(exported_run, ["openvino-int8"], out=tmp_path / "out")
    # What was there before stays, to the byte.
    before = (exported_run / "exports" / "onnx" / "model.onnx").read_bytes()
    with pytest.raises(BundleError):
        export(exported_run, ["onnx"])
    assert (exported_run / "exports" / "onnx" / "model.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "allowed", "kept"), [(5, 0.01, True), (6, 0.01, False), (6, 0.012, True), (1, 0, False)]
)
def test_int8_may_change_a_percent_and_says_how_to_allow_more(changed, allowed, kept) -> None:
    from deeper.export.exporting import INT8_CHANGED, _Work

    assert INT8_CHANGED == 0.01
    work = object.__new__(_Work)
    work.pictures, work.allow_changed = np.zeros((500, 1)), allowed
    if kept:
        work._refuse("openvino-int8", 0.1, changed)
        return
    with pytest.raises(BundleError, match=f"changes {changed} of 500 answers .* allow more: --allow-changed 0.0"):
        work._refuse("openvino-int8", 0.1, changed)


def test_one_answer_of_a_few_pictures_is_no_percentage() -> None:
    from deeper.export.exporting import _Work

    work = object.__new__(_Work)
    work.pictures, work.allow_changed = np.zeros((40, 1)), 0.01
    work._refuse("openvino-int8", 0.1, 1)
    with pytest.raises(BundleError):
        work._refuse("openvino-int8", 0.1, 2)


def test_something_else_in_the_way_is_left_alone(exported_run, tmp_path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="is no export; it is left alone"):
        export(exported_run, ["onnx"], out=tmp_path)
    assert (tmp_path / "onnx" / "thesis.txt").read_text() == "years of work"


def test_exporting_again_replaces(exported_run, tmp_path) -> None:
    for _ in range(2):
        (one,) = export(exported_run, ["onnx"], out=tmp_path / "out")
    assert one.changed == 0 and one.difference < 1e-4 and one.path == tmp_path / "out" / "onnx"
    assert os.listdir(tmp_path / "out") == ["onnx"]
    assert set(FORMATS) == {*MADE, "savedmodel"}


@pytest.mark.parametrize(
    "model",
    ["inception_small", "inception_v1", "inception_v2", "inception_v3", "inception_v4", "inception_resnet_v2"],
)
def test_every_inception_exports(model, tmp_path) -> None:
    """As ONNX, at a small odd size, from random weights with batch-norm statistics that matter."""
    torch.manual_seed(0)
    architecture = Architecture(model=model, classes=5, channels=3, height=97, width=107)
    network = create(architecture)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    bundle.save(
        tmp_path / "bundle",
        weights=network.state_dict(),
        architecture=architecture,
        preprocess=Preprocess(height=97, width=107, channels=3, mean=(0.5,) * 3, deviation=(0.25,) * 3),
        classes=list("abcde"),
        pictures=np.random.default_rng(0).integers(0, 256, (3, 97, 107, 3), dtype=np.uint8),
    )
    (one,) = export(tmp_path / "bundle", ["openvino"])
    assert one.compared == 3 and one.changed == 0 and one.difference <= 1e-4
    assert Classifier(tmp_path / "bundle").engine == "openvino"


def test_int8_is_calibrated_on_pictures_of_all_classes(monkeypatch) -> None:
    import nncf

    from deeper.export.openvino import CALIBRATION, _quantised

    seen: list[int] = []
    monkeypatch.setattr(
        nncf, "quantize", lambda model, pictures, **given: seen.extend(int(one.flat[0]) for one in pictures.get_data())
    )
    # In the order of their classes, as validation pictures from folders are.
    _quantised(None, np.arange(1000, dtype=np.uint16).reshape(-1, 1, 1, 1))
    assert len(seen) == CALIBRATION and seen[0] == 0 and seen[-1] == 999
    assert np.diff(seen).max() <= 4


def test_a_run_that_still_trains_may_write_a_bundle_meanwhile(exported_run, tmp_path, monkeypatch) -> None:
    """Weights and golden pictures are of one moment, whatever is in the folder when the export is done."""
    run = tmp_path / "run"
    shutil.copytree(exported_run, run, ignore=shutil.ignore_patterns("exports"))
    written = exporting.write_torch_export

    def slowly(*given) -> None:
        (run / "bundle" / "golden.safetensors").write_bytes(b"of another network")
        written(*given)

    monkeypatch.setattr(exporting, "write_torch_export", slowly)
    (made,) = export(run, ["torch-export"])
    images, logits = read_golden(made.path)
    assert np.abs(open_engine(exported_run, engine="torch").predict(images).logits - logits).max() < 1e-4


def test_what_a_killed_export_left_is_cleared_away(exported_run, tmp_path) -> None:
    left = tmp_path / "..torch-export.new.partial-4000000-0123abcd"
    left.mkdir()
    (left / "model.pt2").write_bytes(b"half")
    export(exported_run, ["torch-export"], out=tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["torch-export"]


def test_a_network_that_cannot_be_traced_is_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "branching_nets.py").write_text(BRANCHING)
    monkeypatch.syspath_prepend(tmp_path)
    architecture = Architecture(model="branching_nets:Branching", classes=3, channels=1, height=8, width=8)
    bundle.save(
        tmp_path / "bundle",
        weights=create(architecture).state_dict(),
        architecture=architecture,
        preprocess=Preprocess(height=8, width=8, channels=1),
        classes=list("abc"),
        pictures=np.zeros((2, 8, 8, 1), np.uint8),
    )
    with pytest.raises(BundleError, match="torch.export cannot take this network .*a forward that branches"):
        export(tmp_path / "bundle", ["onnx"], model="branching_nets:Branching")


@pytest.mark.parametrize("share", [-1.0, 1.5, float("nan")])
def test_a_share_is_one(exported_run, share) -> None:
    with pytest.raises(UsageError, match="wanted 0 to 1"):
        export(exported_run, ["openvino-int8"], allow_changed=share)


def test_an_export_of_a_later_version_says_so(exported_run, tmp_path) -> None:
    shutil.copytree(exported_run / "exports" / "onnx", tmp_path / "onnx")
    described = json.loads((tmp_path / "onnx" / EXPORT).read_text())
    (tmp_path / "onnx" / EXPORT).write_text(json.dumps({**described, "format_version": 99}))
    with pytest.raises(BundleError, match="has format 99, newer than 1, .*update deeper"):
        read_export(tmp_path / "onnx")
