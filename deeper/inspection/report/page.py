"""The document: sections, the gallery's data, pictures, style and script in one file.

The browser is told to take nothing from anywhere: a content security policy in the file allows its own style and script
by their hashes, and pictures that stand in it. What comes from data is text in HTML or JSON; the script makes elements
of it and never markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import numpy as np

from deeper import files
from deeper.errors import StorageError, printable, readable
from deeper.evaluation import confusions
from deeper.inspection.report import sections
from deeper.inspection.report.album import Album
from deeper.inspection.report.text import escape
from deeper.inspection.result import Inspection, Wrong
from deeper.inspection.verdicts import plainly

# By which a report of ours is known.
MARK = '<meta name="generator" content="deeper inspect">'
# Above this many classes the confusion matrix is a list of the most frequent confusions.
_MATRIX, _PAIRS = 24, 60
# Errors in the gallery, and bytes of their ids.
_ERRORS, _IDS = 20_000, 2_000_000
# Bytes of the whole file: it shall open at once, and fit into a mail. What is not pictures takes what it needs.
_WHOLE, _SLACK = 20_000_000, 400_000


def refuse_stranger(path: Path) -> None:
    """Raises: StorageError, where something stands that is no report of ours and would be replaced."""
    if not path.exists():
        return
    if not path.is_file() or MARK.encode() not in _beginning(path):
        raise StorageError(f"{printable(path)} is there already and is no report of ours; give another --out")


def _beginning(path: Path) -> bytes:
    with files.storage(path), open(path, "rb") as stream:
        return stream.read(500)


def write_report(found: Inspection, path: Path) -> Path:
    """Write the report to `path`, atomically. Raises: StorageError."""
    # A lone surrogate, of a file name that is no text, is shown as its number.
    files.write_bytes(path, document(found).encode("utf-8", "backslashreplace"))
    return path


def document(found: Inspection) -> str:
    """The whole text of the file: pictures get the bytes that all else leaves."""
    without = _document(found, Album(0))
    return _document(found, Album(_WHOLE - _SLACK - len(without.encode("utf-8", "backslashreplace"))))


def _document(found: Inspection, album: Album) -> str:
    style, script = _read("report.css"), _read("report.js")
    # In the order of importance: what no longer fits is what comes last.
    cards = sections.evidence(found, album)
    data = _gallery(found, album)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    body = "".join(
        [
            sections.headline(found),
            cards,
            _errors_section(found),
            sections.against(found.against),
            sections.slices(found.slices),
            sections.classes(found),
            sections.calibration(found),
            sections.notes(found, _omitted(found, data)),
        ]
    )
    links = [("distortions", "Distortions"), ("errors", "Errors")]
    links += [("against", "Comparison")] if found.against else []
    links += [("slices", "Parts")] if found.slices else []
    links += [("classes", "Classes"), ("calibration", "Calibration"), ("notes", "Notes")]
    menu = "".join(f'<a href="#{target}">{name}</a>' for target, name in links)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{MARK}'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
        f"<title>Why {escape(Path(found.run).resolve().name)} errs</title><style>{style}</style></head><body>"
        f'<a class="skip" href="#content">To the content</a><nav aria-label="Sections"><b>deeper</b>{menu}</nav>'
        f'<main id="content">{body}</main>'
        f'<script type="application/json" id="pictures">{_json(album.sources)}</script>'
        f'<script type="application/json" id="data">{_json(_readable(data))}</script>'
        f"<script>{script}</script></body></html>\n"
    )


def _errors_section(found: Inspection) -> str:
    if not found.wrong:
        return (
            '<section id="errors"><h2>Errors</h2><p>None. With so many right answers and no wrong one, the interval above says '
            "how often it may still err.</p></section>"
        )
    return (
        '<section id="errors"><h2>Errors</h2><div id="confusion"></div>'
        '<form class="filters" id="filters" role="search" aria-label="Filter the errors">'
        '<label>is <select id="label"></select></label><label>was called <select id="predicted"></select></label>'
        '<label>evidence <select id="evidence"></select></label>'
        '<label>name <input id="search" type="search" autocomplete="off" spellcheck="false"></label>'
        '<button type="reset">All</button><output id="count" aria-live="polite"></output></form>'
        '<ol class="gallery" id="gallery"></ol><p class="center"><button id="more" type="button" hidden>More</button></p>'
        '<dialog id="detail" aria-labelledby="detail-title"><div id="detail-body"></div></dialog>'
        '<p class="printed">Printed are the errors that were shown on the screen, and every table.</p>'
        "<noscript><p>The gallery needs JavaScript; inspection.json lists the same errors.</p></noscript></section>"
    )


def _gallery(found: Inspection, album: Album) -> dict[str, Any]:
    names = list(found.evaluation.classes)
    index = {name: number for number, name in enumerate(names)}
    distortions = [plainly(one.distortion) for one in found.evidence]
    place = {one.distortion: number for number, one in enumerate(found.evidence)}
    errors: list[list[Any]] = []
    kept = _shown(found.wrong)
    for wrong in kept:
        errors.append(
            [
                wrong.id,
                index[wrong.label],
                index[wrong.predicted],
                round(wrong.probability, 4),
                round(wrong.true_probability, 4),
                None if wrong.judged is None else index.get(wrong.judged),
                [place[name] for name in wrong.collided_by if name in place],
                [place[name] for name in wrong.rescued_by if name in place],
                album.add(wrong.picture),
            ]
        )
    proofs: dict[str, list[Any]] = {}
    for number, one in enumerate(found.evidence):
        for each in one.collisions:
            proofs.setdefault(each.id, []).append(
                [
                    number,
                    each.undone,
                    None if each.judge_probability is None else round(each.judge_probability, 3),
                    *(album.add(picture) for picture in (each.transformed, each.neighbour, each.distorted)),
                ]
            )
    # Last: what they take is no longer there for the pictures themselves.
    looked = {
        wrong.id: [album.add(picture) for picture in wrong.attention] for wrong in kept if wrong.attention is not None
    }
    return {
        "looked": looked,
        "classes": names,
        "distortions": distortions,
        "errors": errors,
        "total": len(found.wrong),
        "proofs": proofs,
        **_confusion(found),
    }


def _shown(wrong: Sequence[Wrong]) -> Sequence[Wrong]:
    """The errors that the gallery has room for, the surest."""
    ends = np.cumsum([len(_json(one.id)) for one in wrong[:_ERRORS]])
    return wrong[: int(np.searchsorted(ends, _IDS, side="right"))]


def _omitted(found: Inspection, data: dict[str, Any]) -> str:
    """What has no picture because the file would grow too large, in words; empty where all is there."""
    errors, proofs = data["errors"], [one for each in data["proofs"].values() for one in each]
    kept = [
        (sum(one[-1] is None for one in errors), f"of {len(errors):,} errors"),
        (sum(one[-2] is None for one in proofs), f"of {len(proofs):,} collisions"),
        (sum(None in one for one in data["looked"].values()), f"of {len(data['looked']):,} Grad-CAM maps"),
    ]
    parts = [f"{count:,} {what}" for count, what in kept if count]
    return f"No picture here, so that the file stays below 20 MB: {', '.join(parts)}." if parts else ""


def _confusion(found: Inspection) -> dict[str, Any]:
    confusion = found.evaluation.confusion
    if len(confusion) <= _MATRIX:
        return {"matrix": confusion.tolist(), "pairs": [], "allPairs": 0}
    pairs = confusions(confusion)
    return {"matrix": None, "pairs": pairs[:_PAIRS], "allPairs": len(pairs)}


def _json(plain: Any) -> str:
    """JSON that ends no script element and no string: `<` and the two line separators are escaped."""
    text = json.dumps(plain, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _readable(plain: Any) -> Any:
    """The same with every text as a page may show it."""
    if isinstance(plain, str):
        return readable(plain)
    if isinstance(plain, dict):
        return {readable(key): _readable(value) for key, value in plain.items()}
    return [_readable(one) for one in plain] if isinstance(plain, (list, tuple)) else plain


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return (package_files("deeper.inspection.report") / name).read_text("utf-8")
