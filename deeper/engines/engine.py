"""Choosing and opening an engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from deeper import bundle
from deeper.bundle import Info
from deeper.bundle.folder import series_in
from deeper.engines.artefact import Export, check_golden, is_export, read_export
from deeper.errors import BundleError, UsageError, nearest, nearest_path, printable, typed
from deeper.inference.scores import BATCH, Predict

EngineName: TypeAlias = Literal["auto", "torch", "openvino", "onnx"]
Precision: TypeAlias = Literal["auto", "fp32", "bf16", "int8"]
ENGINES: tuple[str, ...] = get_args(EngineName)
PRECISIONS: tuple[str, ...] = get_args(Precision)
# Where `deeper export` puts what it makes of a run or bundle.
FOLDER = "exports"
# Engine and precision → the format of the export that it runs.
_FORMATS = {
    ("openvino", "fp32"): "openvino",
    ("openvino", "bf16"): "openvino",
    ("openvino", "int8"): "openvino-int8",
    ("onnx", "fp32"): "onnx",
}


@dataclass(frozen=True, eq=False)
class Engine:
    """A network ready to run. `info`: the bundle it is, or was made from. `path`: the folder it was read from."""

    name: str
    precision: str
    path: Path
    info: Info
    predict: Predict


def find_bundle(path: Path) -> Path:
    """The bundle in a run folder, or the folder itself. Raises: BundleError."""
    for place in (path, path / "bundle"):
        if bundle.is_bundle(place):
            return place
    what = (
        "does not exist"
        if not path.exists()
        else "holds no bundle (an unfinished run has none before its first validation)"
    )
    near = "" if path.exists() else nearest_path(path)
    if series := series_in(path):
        raise BundleError(f"{printable(path)} is no run{series}")
    raise BundleError(f"{printable(path)} {what}; give a run or bundle folder, made by `deeper train`{near}")


def exports_in(folder: Path) -> dict[str, Path]:
    """Format → folder of the exports in a folder, as `export` lays them down."""
    return {one.name: one for one in sorted(folder.iterdir()) if is_export(one)} if folder.is_dir() else {}


def export_folders(path: Path) -> list[Path]:
    """Where exports of a run or bundle are looked for; the last is where new ones of it go. They lie in `exports/` within
    it; of the bundle of a run, in the run's."""
    folders = [path / FOLDER]
    whole = Path(os.path.abspath(path))
    if whole.name == "bundle":
        folders.append((path if path.name else whole).parent / FOLDER)
    return folders


def exports_of(path: Path) -> dict[str, Path]:
    """Format → folder of the exports of a run or bundle."""
    found = {}
    for folder in export_folders(path):
        found.update(exports_in(folder))
    return found


def open_engine(
    path: Path,
    *,
    engine: str = "auto",
    precision: str = "auto",
    device: str = "auto",
    model: str | None = None,
    batch: int = BATCH,
) -> Engine:
    """Open a run, a bundle or an export.

    `engine`: `torch`, `openvino`, `onnx`, or `auto`: of an export its own; of a run or bundle the OpenVINO export that has
    the precision, where a current one lies beside it, else torch; never int8 unasked. `precision`: `auto` is fp32, and
    int8 for a folder that holds an int8 export; OpenVINO takes fp32 for bf16 on a processor without it, which the
    `Engine` then says. `device` and `model` are the torch engine's: an export runs on the
    processor, and holds its network. `batch` is the largest cut of all.

    Raises: BundleError; UsageError, for what does not go together; MissingExtraError.
    """
    for given, known, flag in ((engine, ENGINES, "engine"), (precision, PRECISIONS, "precision")):
        if given not in known:
            raise UsageError(f"no {flag} {printable(given)!r}{nearest(given, known)}")
    if batch < 1:
        raise UsageError(f"batch {batch}: wanted at least 1 picture at once")
    if is_export(path):
        _refuse_torch_options(path, device, model)
        return _open_export(path, read_export(path), engine, precision, batch)
    found = find_bundle(path)
    if engine == "auto":
        # int8 runs on nothing else; where its export is missing, that is said below.
        engine = "openvino" if precision == "int8" else "torch"
        chosen = "fp32" if precision == "auto" else precision
        possible = device in ("auto", "cpu") and model is None and _installed("openvino")
        exported = exports_of(path).get(_FORMATS["openvino", chosen]) if possible else None
        if exported is not None:
            export = read_export(exported)
            if export.bundle.weights_sha256 == bundle.read_info(found).weights_sha256:
                return _open_export(exported, export, "openvino", chosen, batch)
    if engine == "torch":
        from deeper.engines.torch_engine import open_torch

        if precision == "int8":
            raise UsageError("torch runs fp32 or bf16 here, not int8; take engine openvino")
        chosen = "fp32" if precision == "auto" else precision
        info, predict = open_torch(found, device=device, precision=chosen, model=model, batch=batch)
        return Engine("torch", chosen, found, info, predict)
    wanted = _FORMATS.get((engine, "fp32" if precision == "auto" else precision))
    if wanted is None:
        raise UsageError(f"{engine} runs no {precision}; openvino runs fp32, bf16 and int8, onnx fp32")
    _refuse_torch_options(path, device, model, f"engine {engine}")
    place = exports_of(path).get(wanted)
    if place is None:
        raise BundleError(
            f"{printable(path)} has no {wanted} export; make one: deeper export {typed(path)} --to {wanted}"
        )
    export = read_export(place)
    if export.bundle.weights_sha256 != bundle.read_info(found).weights_sha256:
        raise BundleError(
            f"the export {printable(place)} is of other weights than {printable(found)} has now; "
            f"make it again: deeper export {typed(path)} --to {wanted}"
        )
    return _open_export(place, export, engine, precision, batch)


def _refuse_torch_options(path: Path, device: str, model: str | None, what: str = "an export") -> None:
    """Raises: UsageError, for what only torch heeds."""
    if device not in ("auto", "cpu"):
        raise UsageError(
            f"device {printable(device)!r} with {printable(path)}: {what} runs on the processor (auto or cpu); "
            "for a GPU take a run or bundle and engine torch"
        )
    if model is not None:
        raise UsageError(
            f"model {printable(model)!r} with {printable(path)}: {what} needs no code of a network's; leave it out, "
            "or take a run or bundle and engine torch"
        )


def _open_export(path: Path, export: Export, engine: str, precision: str, batch: int) -> Engine:
    own = {"onnx": "onnx", "openvino": "openvino", "openvino-int8": "openvino"}.get(export.format)
    if own is None:
        raise UsageError(
            f"{printable(path)} is a {export.format} export, which other programs run; "
            "deeper runs onnx, openvino and openvino-int8, and the bundle itself"
        )
    if engine not in ("auto", own):
        raise UsageError(f"{printable(path)} is a {export.format} export, which {own} runs, not {engine}")
    if (precision == "int8") != (export.precision == "int8") and precision != "auto":
        raise UsageError(f"{printable(path)} is a {export.precision} export, not {precision}")
    chosen = export.precision if precision == "auto" else precision
    if own == "onnx":
        if chosen != "fp32":
            raise UsageError(f"ONNX Runtime runs fp32 here, not {chosen}; take an openvino export")
        from deeper.engines.onnx_engine import onnx_predictor

        predict = onnx_predictor(path / export.model, export.bundle, batch=batch)
    else:
        from deeper.engines.openvino_engine import has_bf16, openvino_predictor

        if chosen == "bf16" and not has_bf16():
            chosen = "fp32"
        predict = openvino_predictor(path / export.model, export.bundle, precision=chosen)
    if chosen != "bf16":  # bf16 rounds more than the tolerance of the fp32 weights allows, and is meant to
        check_golden(path, export, predict)
    return Engine(own, chosen, path, export.bundle, predict)


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None
