"""A model that changes while it is served: taken when it is whole, warm before it is asked, the one before kept."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from deeper import bundle
from deeper.errors import BundleError
from deeper.images import encode_png
from deeper.prediction import Classifier
from deeper.serving import Hosted
from deeper.serving.application import _watch
from deeper.serving.hosted import LOG
from deeper.web import Refused
from tests.patience import patient
from tests.serving.conftest import serving
from tests.serving.test_protocols import ask


def change(run: Path, factor: float, pictures: np.ndarray) -> None:
    """Write the bundle of `run` again, with other weights."""
    loaded = bundle.load(run / "bundle")
    info = loaded.info
    bundle.save(
        run / "bundle",
        weights={name: tensor * factor for name, tensor in loaded.model.state_dict().items()},
        architecture=info.architecture,
        preprocess=info.preprocess,
        classes=info.classes,
        pictures=pictures[:2],
    )


@pytest.fixture
def run(served_run, tmp_path) -> Path:
    return Path(shutil.copytree(served_run, tmp_path / "run"))


def until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_better_bundle_is_taken_without_a_lost_request(run, pictures) -> None:
    picture = encode_png(pictures[0])
    with serving(run) as (address, _):
        stop = threading.Event()
        failed: list[object] = []

        def asking() -> None:
            while not stop.is_set():
                status, plain = ask(f"{address}/predict", picture)
                if status != 200:
                    failed.append(plain)

        def version() -> str:
            return ask(f"{address}/api/models")[1]["models"][0]["version"]

        threads = [threading.Thread(target=asking) for _ in range(3)]
        for one in threads:
            one.start()
        first = ask(f"{address}/predict", picture)[1]
        change(run, 0.5, pictures)
        until(lambda: version() == "2")
        stop.set()
        for one in threads:
            one.join()
        assert failed == []

        # Both are answered under their numbers, each by its own weights; the answer says which.
        url, given = f"{address}/v2/models/run", {"Inference-Header-Content-Length": "0"}
        logits = {}
        for number in ("1", "2"):
            status, plain = ask(f"{url}/versions/{number}/infer", picture, given)
            assert status == 200 and plain["model_version"] == number
            logits[number] = plain["outputs"][0]["data"]
            assert ask(f"{address}/v1/models/run/versions/{number}")[0] == 200
        assert ask(f"{url}/infer", picture, given)[1]["outputs"][0]["data"] == logits["2"] != logits["1"]
        assert int(np.argmax(logits["1"])) == [str(one) for one in range(10)].index(first["class"])
        assert ask(url)[1]["versions"] == ["1", "2"]
        states = ask(f"{address}/v1/models/run")[1]["model_version_status"]
        assert [one["version"] for one in states] == ["2", "1"]
        # The last two are kept.
        change(run, 2.0, pictures)
        until(lambda: version() == "3")
        assert ask(f"{url}/versions/1/infer", picture, given)[0] == 404
        assert ask(f"{url}/versions/2/infer", picture, given)[0] == 200

        # A damaged one is not taken: the good one goes on. Mended, it is.
        good = (run / "bundle" / "bundle.json").read_bytes()
        (run / "bundle" / "bundle.json").write_text("{}")
        time.sleep(3)
        status, plain = ask(f"{address}/predict", picture)
        assert status == 200 and plain["version"] == "3"
        (run / "bundle" / "bundle.json").write_bytes(good)
        change(run, 0.5, pictures)
        until(lambda: version() == "4")


def hosted(run: Path, **how) -> Hosted:
    return Hosted("run", run, lambda path: Classifier(path, **how))


def test_a_half_written_bundle_is_tried_again(run, pictures, monkeypatch) -> None:
    monkeypatch.setattr("deeper.serving.hosted._AGAIN", (0.2, 0.4))
    now = [100.0]
    monkeypatch.setattr("deeper.serving.hosted.time", SimpleNamespace(monotonic=lambda: now[0]))
    weights = run / "bundle" / "weights.safetensors"
    one = hosted(run, engine="torch")
    change(run, 0.5, pictures)
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    assert not one.exchange() and one.current.number == 1
    weights.write_bytes(whole)
    # bundle.json, which is watched, is the same as when opening failed.
    assert not one.exchange()
    now[0] += 0.25
    assert one.exchange() and one.current.number == 2
    assert not one.exchange()
    with pytest.raises(Refused, match="has version 1 and 2 here, not '3'"):
        one.find("3")


def test_whatever_goes_wrong_while_opening_the_old_one_stays(run, pictures, monkeypatch) -> None:
    monkeypatch.setattr("deeper.serving.hosted._AGAIN", (0.0, 0.0))
    faults = iter([RuntimeError("odd"), MemoryError(), OSError(5, "input/output error"), BundleError("damaged")])
    opened = Classifier(run, engine="torch")

    def open_it(path: Path) -> Classifier:
        fault = next(faults, None) if one else None
        if fault is not None:
            raise fault
        return Classifier(path, engine="torch")

    one: list[Hosted] = []
    one.append(Hosted("run", run, open_it))
    change(run, 0.5, pictures)
    for _ in range(4):
        assert not one[0].exchange()
    assert one[0].exchange() and opened.classes == one[0].current.classifier.classes


def test_a_new_network_is_warm_before_it_is_asked(run, pictures, monkeypatch) -> None:
    one = hosted(run, engine="torch")
    change(run, 0.5, pictures)
    current: list[int] = []
    warm = Classifier.answer

    def noted(self, images, sources=()):
        current.append(one.current.number)
        return warm(self, images, sources)

    monkeypatch.setattr(Classifier, "answer", noted)
    assert one.exchange()
    assert current and set(current) == {1}


def test_a_new_export_is_taken_too(run, pictures) -> None:
    from deeper.export import export

    one = hosted(run)
    assert one.current.classifier.engine == "torch"
    export(run, ["onnx"])
    # Not what `auto` takes: the same network goes on under its number.
    assert not one.exchange() and one.current.number == 1
    export(run, ["openvino"])
    assert one.exchange() and (one.current.number, one.current.classifier.engine) == (2, "openvino")
    # A better bundle, whose export is of other weights, by torch; and by its own export when that is there.
    change(run, 0.5, pictures)
    assert one.exchange() and (one.current.number, one.current.classifier.engine) == (3, "torch")
    export(run, ["openvino"])
    assert one.exchange() and (one.current.number, one.current.classifier.engine) == (4, "openvino")
    old, new = (version.classifier(pictures[0]).logits for version in one.versions)
    np.testing.assert_allclose(old, new, atol=1e-4)


def test_the_watcher_outlives_whatever_it_meets(caplog) -> None:
    looked: list[int] = []

    class Odd:
        def exchange(self) -> bool:
            looked.append(1)
            raise RuntimeError("odd")

    async def main() -> None:
        watching = asyncio.ensure_future(_watch(SimpleNamespace(by_name={"odd": Odd()}), 0.01))
        for _ in range(500):
            await asyncio.sleep(0.02)
            if len(looked) > 1:
                break
        assert not watching.done() and len(looked) > 1
        watching.cancel()

    asyncio.run(main())
    assert "looking for a better bundle failed" in caplog.text and "RuntimeError: odd" in caplog.text


@pytest.mark.parametrize("what", ["classes", "preprocess"])
def test_a_bundle_of_other_classes_or_another_look_is_not_taken(run, pictures, monkeypatch, what) -> None:
    """Whoever asked for the model before would be told other things under the same name."""
    hosted = Hosted("run", run, lambda path: Classifier(path, engine="torch"))
    loaded = bundle.load(run / "bundle")
    info = loaded.info
    changed = {
        "classes": {"classes": info.classes[::-1]},
        "preprocess": {"preprocess": replace(info.preprocess, mean=(0.9,) * info.preprocess.channels)},
    }[what]
    given = {"classes": info.classes, "preprocess": info.preprocess, "architecture": info.architecture}
    weights = loaded.model.state_dict()
    bundle.save(run / "bundle", weights=weights, pictures=pictures[:2], **{**given, **changed})
    reasons: list[str] = []
    monkeypatch.setattr(LOG, "warning", lambda text, *, extra, **_: reasons.append(extra["facts"]["reason"]))
    assert not hosted.exchange() and hosted.current.number == 1
    assert len(reasons) == 1 and "restart the server for it" in reasons[0]
