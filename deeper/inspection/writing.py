"""An inspection on disk.

OUT/inspection.json     everything that `--json` prints, and where the pictures lie
OUT/pictures/           PNG files: evidence of each distortion, and the errors
OUT/policy.toml         what is suggested for the next training, where anything is
OUT/report.html         the report, where `deeper inspect` writes it
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper import files
from deeper.errors import StorageError, printable
from deeper.inspection.plain import to_plain
from deeper.inspection.result import Inspection

DESCRIPTION, PICTURES, POLICY, REPORT = "inspection.json", "pictures", "policy.toml", "report.html"
FORMAT_VERSION = 1
# Of each distortion and of the errors; the report holds more.
_WRITTEN = 100


def refuse_strangers(out: Path) -> None:
    """Only an inspection's folder is written into again: a policy, a report or pictures without our description beside
    them are somebody else's.

    Raises: StorageError.
    """
    if out.exists() and not out.is_dir():
        raise StorageError(f"{printable(out)} is a file; give a folder to --out")
    if (out / DESCRIPTION).exists():
        return
    for name in (PICTURES, POLICY, REPORT):
        if (out / name).exists():
            raise StorageError(
                f"{printable(out)} holds {name}, which is of no inspection; give another --out, or move it away"
            )


def write(inspection: Inspection, out: Path) -> Path:
    """Write description, pictures and policy into the folder `out`, which is made; those of an earlier inspection are
    replaced, also by none.

    Raises: StorageError, also when `out` holds something that is no inspection.
    """
    refuse_strangers(out)
    plain = to_plain(inspection)
    plain["policy_path"] = str(out / POLICY) if inspection.policy is not None else None
    with files.storage(out):
        out.mkdir(parents=True, exist_ok=True)
        if not (out / DESCRIPTION).exists():
            # So that what a full disk leaves half done is ours, and may be written again.
            files.write_bytes(out / DESCRIPTION, _json({"format_version": FORMAT_VERSION, "complete": False}))
        if (out / PICTURES).exists():
            shutil.rmtree(out / PICTURES)
        with files.new_folder(out / PICTURES) as folder:
            for verdict, one in zip(plain["verdicts"], inspection.evidence, strict=True):
                for number, collision in enumerate(one.collisions[:_WRITTEN]):
                    shown = {
                        "picture": collision.picture,
                        "transformed": collision.transformed,
                        "neighbour": collision.neighbour,
                        "distorted": collision.distorted,
                    }
                    stem = f"{one.distortion}-{number + 1:03d}"
                    verdict["collisions"][number]["pictures"] = _written(folder, stem, shown)
            for number, wrong in enumerate(inspection.wrong[:_WRITTEN]):
                given, true = wrong.attention or (None, None)
                shown = {"picture": wrong.picture, "grad_cam_given": given, "grad_cam_true": true}
                names = _written(folder, f"error-{number + 1:03d}", shown)
                plain["errors"][number]["pictures"] = names
    files.write_bytes(out / DESCRIPTION, _json({"format_version": FORMAT_VERSION, "complete": True, **plain}))
    # After the description, which makes the folder ours: a policy alone would be taken for somebody else's.
    if inspection.policy is not None:
        inspection.policy.save(out / POLICY)
    else:
        with files.storage(out / POLICY):
            (out / POLICY).unlink(missing_ok=True)
    return out / DESCRIPTION


def _json(plain: dict[str, Any]) -> bytes:
    """As `files.write_json`, but of any id: a lone surrogate, which no UTF-8 can hold, is written as JSON's escape."""
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def _written(folder: Path, stem: str, shown: dict[str, NDArray[np.uint8] | None]) -> dict[str, Any]:
    names = {}
    for kind, picture in shown.items():
        if picture is None:
            continue
        name = f"{stem}-{kind}.png"
        # `new_folder` syncs them all together.
        (folder / name).write_bytes(png(picture))
        names[kind] = f"{PICTURES}/{name}"
    return names


def png(picture: NDArray[np.uint8]) -> bytes:
    """uint8 H × W × C (1 or 3) as a PNG file; pixels alone, nothing of where they came from."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
