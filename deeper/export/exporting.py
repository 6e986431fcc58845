"""Making exports: convert, run what was written, compare it with the bundle, and only then let it appear."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from deeper import bundle, files
from deeper.bundle import Bundle
from deeper.bundle.folder import exchange
from deeper.engines import EXPORT, Export, export_folders, find_bundle, is_export
from deeper.engines.artefact import GOLDEN, relative_difference
from deeper.errors import BundleError, DeeperError, UsageError, nearest, printable
from deeper.export.check_script import check_script
from deeper.export.graph import exported, write_onnx, write_torch_export
from deeper.export.openvino import write_openvino
from deeper.export.running import runner
from deeper.export.savedmodel import write_savedmodel
from deeper.inference import Network, predictor
from deeper.models.folding import folded
from deeper.runs import Run
from deeper.runs.folder import is_run
from deeper.runs.pictures import has_validation

# Format → the file or folder that holds its model.
MODELS = {
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "openvino-int8": "model.xml",
    "torch-export": "model.pt2",
    "savedmodel": "saved_model",
}
FORMATS: tuple[str, ...] = tuple(MODELS)
# Of the validation pictures, as many are compared; below so many a percent of changed answers is no more than chance.
COMPARED, ENOUGH = 1000, 300
# Largest difference of a logit in fp32, as a share of the largest one; and share of answers that int8 may change.
FP32_TOLERANCE = 1e-4
INT8_CHANGED = 0.01
# int8 differs between processors; this much more than was seen here still passes on loading.
_INT8_MARGIN = 2.0


@dataclass(frozen=True)
class Exported:
    """One finished export. `difference`: of a logit, as a share of the largest; `changed`: answers, of `compared`."""

    format: str
    path: Path
    bytes: int
    difference: float
    changed: int
    compared: int


def export(
    run_or_bundle: str | Path,
    to: Sequence[str],
    *,
    out: str | Path | None = None,
    model: str | None = None,
    allow_changed: float = INT8_CHANGED,
    tensorflow_python: str = sys.executable,
    notice: Callable[[str], None] = lambda text: None,
) -> list[Exported]:
    """Write exports of a run or bundle to `out/FORMAT` (default: `exports/` in the run; in a bundle that stands alone).

    Each is compared with the bundle's fp32 answers on validation pictures of the run's dataset (on the bundle's golden
    pictures where there is none). fp32 exports must agree within 1e-4 of the largest logit and in every answer; int8 may
    change the share `allow_changed` of the answers (one of fewer than a hundred). `model`: the import path of a network of one's own.
    `tensorflow_python`: the interpreter that has TensorFlow.

    Raises: UsageError; BundleError, also when an export disagrees, which is then not kept; MissingExtraError.
    """
    for name in to:
        if name not in FORMATS:
            raise UsageError(f"no export format {printable(name)!r}{nearest(name, FORMATS)}")
    if not to:
        raise UsageError(f"no export format was named; known: {', '.join(FORMATS)}")
    if not 0 <= allow_changed <= 1:
        raise UsageError(f"allow_changed is a share of the answers: wanted 0 to 1, got {allow_changed:g}")
    path = Path(run_or_bundle)
    found = find_bundle(path)
    loaded = bundle.load(found, model=model)
    place = Path(out) if out is not None else export_folders(found)[-1]
    pictures = validation_pictures(path, loaded, COMPARED)
    if pictures is None:
        if "openvino-int8" in to:
            raise UsageError(
                "int8 is calibrated on validation pictures: give a run whose dataset is in its place, not a bundle alone"
            )
        notice("no validation pictures at hand: comparing on the bundle's golden pictures only")
    elif "openvino-int8" in to and len(pictures) < ENOUGH:
        notice(f"only {len(pictures):,} validation pictures: too few to tell a percent of changed answers from chance")
    work = _Work(loaded, pictures, allow_changed, tensorflow_python)
    done = []
    with files.ended_by_sigterm(), tempfile.TemporaryDirectory(prefix="deeper-export-") as temporary:
        for name in dict.fromkeys(to):
            notice(f"exporting to {name}")
            done.append(work.make(name, place / name, Path(temporary)))
    return done


def validation_pictures(path: Path, loaded: Bundle, count: int) -> NDArray[np.uint8] | None:
    """Up to `count` evenly spaced validation pictures of a run's dataset at the model's size; None without dataset."""
    if not is_run(path):
        return None
    try:
        dataset = Run(path).dataset()
    except DeeperError:
        return None
    name = "validation" if has_validation(dataset) else "train"
    split, fit = dataset.split(name), loaded.info.preprocess
    if not len(split):
        return None
    positions = np.unique(np.linspace(0, len(split) - 1, num=min(count, len(split))).astype(int))
    return np.stack([fit.fit(split.picture(int(position), at_least=fit.needed)) for position in positions])


class _Work:
    """One bundle on its way into several formats; the graph and the ONNX file are made once."""

    def __init__(self, loaded: Bundle, pictures: NDArray[np.uint8] | None, allow_changed: float, python: str) -> None:
        self.loaded, self.allow_changed, self.python = loaded, allow_changed, python
        self.golden = safetensors.numpy.load(loaded.golden)["images"]
        self.calibration = pictures
        self.pictures = self.golden if pictures is None else pictures
        fit = loaded.info.preprocess
        self.example = torch.from_numpy(np.stack([self.golden[0]] * 2))
        self.wanted = predictor(loaded.model, fit)(self.pictures).logits
        self.program: torch.export.ExportedProgram | None = None

    def graph(self) -> torch.export.ExportedProgram:
        if self.program is None:
            network = Network(folded(self.loaded.model), self.loaded.info.preprocess)
            self.program = exported(network, self.example)
        return self.program

    def onnx(self, temporary: Path) -> Path:
        path = temporary / "model.onnx"
        if not path.exists():
            write_onnx(self.graph(), self.example, self.loaded.info, path)
        return path

    def make(self, name: str, target: Path, temporary: Path) -> Exported:
        info = self.loaded.info
        if name != "torch-export":
            with files.storage(temporary):  # which may lie on another disk than the target
                self.onnx(temporary)
        with _replaced(target) as folder:
            model = folder / MODELS[name]
            if name == "torch-export":
                write_torch_export(self.graph(), info, model)
            elif name == "onnx":
                shutil.copyfile(self.onnx(temporary), model)
            elif name == "savedmodel":
                write_savedmodel(self.onnx(temporary), info, model, python=self.python)
            else:
                write_openvino(self.onnx(temporary), info, model, self.calibration if name == "openvino-int8" else None)
            predict = runner(name, model, info, python=self.python)
            given = predict(self.pictures).logits
            difference = relative_difference(given, self.wanted)
            changed = int((given.argmax(1) != self.wanted.argmax(1)).sum()) if given.shape == self.wanted.shape else -1
            self._refuse(name, difference, changed)
            tolerance = FP32_TOLERANCE
            if name == "openvino-int8":
                golden = predictor(self.loaded.model, info.preprocess)(self.golden).logits
                seen = relative_difference(predict(self.golden).logits, golden)
                tolerance = float(np.ceil(100 * (_INT8_MARGIN * max(seen, difference) + 0.01)) / 100)
            # As it was when the weights were read: a run that still trains writes new ones meanwhile.
            files.write_bytes(folder / GOLDEN, self.loaded.golden)
            files.write_text(folder / "check.py", check_script(name, MODELS[name], tolerance))
            names = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
            facts = Export(
                format=name,
                model=MODELS[name],
                precision="int8" if name == "openvino-int8" else "fp32",
                bundle=info,
                files={one: files.sha256(folder / one) for one in names},
                golden_tolerance=tolerance,
                comparison={
                    "pictures": len(self.pictures),
                    "largest_difference": difference,
                    "changed_answers": changed,
                },
                versions=_versions(),
            )
            files.write_bytes(folder / EXPORT, facts.to_bytes())
            size = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
        return Exported(name, target, size, difference, changed, len(self.pictures))

    def _refuse(self, name: str, difference: float, changed: int) -> None:
        count = len(self.pictures)
        if name == "openvino-int8":
            # One of a few pictures is no percentage.
            allowed = max(1.0, self.allow_changed * count) if self.allow_changed else 0.0
            if not 0 <= changed <= allowed:
                share = changed / count
                raise BundleError(
                    f"the int8 export changes {changed:,} of {count:,} answers ({share:.1%}), more than "
                    f"{self.allow_changed:.1%}; it is not kept. Take openvino (fp32 or bf16), or allow more: "
                    f"--allow-changed {np.ceil(1000 * share) / 1000:g}"
                )
        elif changed or not difference <= FP32_TOLERANCE:
            raise BundleError(
                f"the {name} export disagrees with the bundle: logits by {difference:.2g} of the largest "
                f"({FP32_TOLERANCE:.0e} is allowed), {changed:,} of {count:,} answers changed; it is not kept"
            )


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of the export at `target` when the block ends. What was there stays
    until then, and stays for good when the block raises. Raises: StorageError; BundleError, for something else there."""
    if target.exists() and not is_export(target) and not (target.is_dir() and not any(target.iterdir())):
        raise BundleError(
            f"{printable(target)} exists and is no export; it is left alone: choose another --out, or remove it"
        )
    aside = target.parent / f".{target.name}.new"
    shutil.rmtree(aside, ignore_errors=True)
    files.remove_leftovers(target.parent, aside.name)
    with files.new_folder(aside) as folder:
        yield folder
    with files.storage(target):
        if not target.exists():
            aside.rename(target)
        elif not exchange(aside, target):
            shutil.rmtree(target)
            aside.rename(target)
        files.fsync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("deeper", "torch", "onnx", "openvino", "nncf"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
