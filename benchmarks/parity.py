"""Do all ways to ask agree? Engines on whole test sets, photographs with every EXIF turn, every protocol.

    python benchmarks/parity.py [--work build/parity] [--minutes 3] [--digits 10000] [--photographs 8]

1. NielsenNet (recipe `fast`, trained here unless `--work` has it already) on the 10,000 test digits, and Inception v3 at
   299 pixels (trained for `--minutes`, then judged as it is) on flowers12's test photographs: each export against torch
   in fp32, by largest difference of logits, changed answers and accuracy.
2. Photographs of 12 megapixels, one for each EXIF orientation (flowers, enlarged, with sensor noise): every engine's
   answers and logits.
3. The same files by `deeper predict`, from Python, by POST /predict, the Open Inference Protocol (files and tensors)
   and TensorFlow Serving's REST.

Every figure is printed beside its limit. Exits with 1 where one is beyond it: any changed answer in fp32, an fp32 logit
that differs by more than 1e-4, bf16 or int8 changing more than 1 % of the digits' answers or losing more than 0.05 points
there, any way to ask that answers differently.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from data_folder import data_folder
from PIL import Image

from deeper import Classifier
from deeper.engines import Engine, open_engine
from deeper.export import export
from deeper.images import encode_png
from deeper.records import Dataset
from deeper.runs import Run, dataset_for, train

FORMATS = ("onnx", "openvino", "openvino-int8")
WAYS = (("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
ORIENTATION = 0x0112


def trained(work: Path, name: str, source: str | Path, **options: Any) -> Path:
    """A run with its exports; made once."""
    run = work / name
    if not (run / "bundle").is_dir():
        train(dataset_for(source, folder=work / "datasets"), out=run, quiet=True, **options)
    if not (run / "exports" / FORMATS[-1]).is_dir():
        export(run, FORMATS, allow_changed=1)
    return run


class Limits:
    """Prints each figure beside its limit, and remembers whether one was beyond it."""

    def __init__(self) -> None:
        self.beyond = 0

    def most(self, what: str, value: float, limit: float, shown: str = "g") -> str:
        fine = value <= limit
        self.beyond += not fine
        return f"{what} {value:{shown}} (at most {limit:{shown}}{'' if fine else ': BEYOND'})"


def judged(title: str, run: Path, limits: Limits, *, limit: int | None = None, strict: bool = False) -> None:
    """Every engine on the test split against torch in fp32. `strict`: bf16 and int8 have limits too."""
    split = Run(run).dataset().split("test")
    base = open_engine(run, engine="torch")
    fit = base.info.preprocess
    positions = np.unique(np.linspace(0, len(split) - 1, num=min(limit or len(split), len(split))).astype(int))
    images = np.stack([fit.fit(split.picture(int(one), at_least=fit.needed)) for one in positions])
    labels = split.labels[positions]

    def logits_of(engine: Engine) -> np.ndarray:
        return np.concatenate([engine.predict(images[at : at + 250]).logits for at in range(0, len(images), 250)])

    wanted = logits_of(base)
    right = (wanted.argmax(1) == labels).mean()
    print(f"\n{title}, {len(labels):,} pictures; torch fp32 {right:.2%} right, logits up to {np.abs(wanted).max():.1f}")
    for name, precision in WAYS:
        given = logits_of(open_engine(run, engine=name, precision=precision))
        difference = float(np.abs(given - wanted).max())
        changed = float((given.argmax(1) != wanted.argmax(1)).mean())
        lost = 100 * float(right - (given.argmax(1) == labels).mean())
        if precision == "fp32":
            said = [limits.most("logits differ by", difference, 1e-4, ".1e"), limits.most("changed", changed, 0, ".2%")]
        elif strict:
            said = [
                f"logits differ by {difference:.1e}",
                limits.most("changed", changed, 0.01, ".2%"),
                limits.most("points lost", lost, 0.05, "+.2f"),
            ]
        else:
            said = [f"logits differ by {difference:.1e}", f"changed {changed:.2%}", f"points lost {lost:+.2f}"]
        print(f"  {name:9} {precision:5} {', '.join(said)}", flush=True)


def photographs(dataset: Dataset, folder: Path, count: int) -> list[Path]:
    """Flowers enlarged to 4000 × 3000 with noise, as JPEG files whose EXIF says that they are turned."""
    folder.mkdir(parents=True, exist_ok=True)
    split, generator, paths = dataset.split("test"), np.random.default_rng(0), []
    for number in range(count):
        path = folder / f"turned {number % 8 + 1} №{number}.jpg"
        paths.append(path)
        if path.exists():
            continue
        picture = Image.fromarray(split.picture(number * len(split) // count)).resize(
            (4000, 3000), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(picture, np.int16) + generator.integers(-6, 7, (3000, 4000, 1), np.int16)
        exif = Image.Exif()
        exif[ORIENTATION] = number % 8 + 1
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=92, exif=exif)
    return paths


def post(url: str, body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers or {}), timeout=60) as answer:
        return json.loads(answer.read())


def ways(run: Path, paths: list[Path]) -> dict[str, list[str]]:
    """The answers to `paths`, by each way to ask."""
    classifier = Classifier(run, engine="torch")
    answers = {"Python": [one.label for one in classifier(paths)]}
    images = np.stack([classifier.fit(path) for path in paths])
    command = [sys.executable, "-m", "deeper", "predict", str(run), *map(str, paths), "--engine", "torch", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    answers["deeper predict"] = [one["class"] for one in json.loads(ran.stdout)["predictions"]]
    served = [sys.executable, "-m", "deeper", "serve", f"it={run}", "--engine", "torch", "--port", "0"]
    process = subprocess.Popen(served, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        address = next(found[1] for line in lines if (found := re.search(r"serving on (http://\S+)", line)))
        _wait(f"{address}/readyz")
        files = [path.read_bytes() for path in paths]
        answers["POST /predict"] = [post(f"{address}/predict", one)["class"] for one in files]
        whole = {"Inference-Header-Content-Length": "0"}
        plain = [post(f"{address}/v2/models/it/infer", one, whole) for one in files]
        answers["Open Inference Protocol, files"] = [_outputs(one)["class"][0] for one in plain]
        tensor = {"name": "images", "datatype": "UINT8", "shape": list(images.shape), "data": images.ravel().tolist()}
        answers["Open Inference Protocol, tensor"] = _outputs(
            post(f"{address}/v2/models/it/infer", {"inputs": [tensor]})
        )["class"]
        encoded = [{"b64": base64.b64encode(one).decode()} for one in files]
        answers["TensorFlow Serving"] = [
            post(f"{address}/v1/models/it:predict", {"instances": [one]})["predictions"][0]["class"] for one in encoded
        ]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    return answers


def _outputs(plain: dict[str, Any]) -> dict[str, list[str]]:
    return {one["name"]: one["data"] for one in plain["outputs"]}


def _wait(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise SystemExit("the server did not become ready")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/parity"))
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--digits", type=int, default=10_000)
    parser.add_argument("--photographs", type=int, default=8)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    limits = Limits()
    nielsen = trained(arguments.work, "nielsen", "mnist", recipe="fast")
    judged("NielsenNet on MNIST's test digits", nielsen, limits, limit=arguments.digits, strict=True)
    flowers = data_folder() / "flowers12"
    inception = trained(
        arguments.work,
        "inception",
        flowers,
        model="inception_v3",
        minutes=arguments.minutes,
        options={"height": 299, "width": 299},
    )
    judged("Inception v3 at 299 on flowers12", inception, limits)

    dataset = dataset_for(flowers, folder=arguments.work / "datasets")
    paths = photographs(dataset, arguments.work / "photographs", arguments.photographs)
    wanted = Classifier(inception, engine="torch")(paths)
    print(f"\nInception v3 on {len(paths)} photographs of 12 megapixels, every EXIF orientation")
    for engine, precision in WAYS:
        found = Classifier(inception, engine=engine, precision=precision)(paths)
        pairs = list(zip(found, wanted, strict=True))
        changed = sum(one.label != other.label for one, other in pairs)
        difference = max(float(np.abs(one.logits - other.logits).max()) for one, other in pairs)
        if precision == "fp32":
            said = f"{limits.most('logits differ by', difference, 1e-4, '.1e')}, {limits.most('changed', changed, 0)}"
        else:
            said = f"logits differ by {difference:.1e}, changed {changed}"
        print(f"  {engine:9} {precision:5} {said}", flush=True)

    digits = arguments.work / "digits"
    digits.mkdir(exist_ok=True)
    split = dataset_for("mnist", folder=arguments.work / "datasets").split("test")
    for number in range(32):
        (digits / f"{number}.png").write_bytes(encode_png(split.picture(number)))
    for run, files in ((inception, paths), (nielsen, [digits / f"{number}.png" for number in range(32)])):
        print(f"\nWays to ask {run.name}, {len(files)} files")
        answers = ways(run, files)
        for way, labels in answers.items():
            differing = sum(one != other for one, other in zip(labels, answers["Python"], strict=True))
            print(f"  {limits.most(f'{way:32} differs from Python in', differing, 0)}")
    print(f"\n{limits.beyond} figures are beyond their limits" if limits.beyond else "\nall within their limits")
    raise SystemExit(1 if limits.beyond else 0)


if __name__ == "__main__":
    main()
