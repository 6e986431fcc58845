"""`digits`: a set that needs no network and no file. Digits drawn from fonts with handwriting-like distortions.

It is there so that everything can be tried anywhere; it says nothing about handwriting. It has MNIST's form
(28×28, white on black, centred by mass), so what runs on one runs on the other.
"""

from __future__ import annotations

import numpy as np
import PIL
from PIL import features

from deeper import draws
from deeper.records.sources.drawing import draw_glyphs
from deeper.records.sources.glyphs import FONTS
from deeper.records.sources.item import Item
from deeper.records.sources.listing import Listing, digest

_COUNTS = {"train": 12_000, "validation": 1_000, "test": 2_000}
#: Fonts that only the test split shows.
_UNSEEN = ("DejaVuSerif-Italic", "STIXGeneralBol", "cmtt10")
_GLYPHS = tuple("0123456789")
#: Raise when what is drawn changes.
_EDITION = 1


def open_digits(counts: dict[str, int] | None = None) -> Listing:
    """12,000 training, 1,000 validation and 2,000 test pictures, 28×28 grey, classes "0" … "9" equally often.

    Every picture has distortions of its own, so those of the test split are unseen in training; and it alone uses
    three of the fonts. The same on every run. `counts` draws fewer of each, the same ones.
    """
    wanted = _COUNTS if counts is None else counts

    def list_items() -> list[Item]:
        items: list[Item] = []
        for split, count in wanted.items():
            fonts = FONTS if split == "test" else tuple(font for font in FONTS if font not in _UNSEEN)
            identifiers = [f"{split}/{position:05d}" for position in range(count)]
            which = np.arange(count, dtype=np.int64) % len(_GLYPHS)
            keys = draws.keys(f"digits/{identifier}" for identifier in identifiers)
            pictures = draw_glyphs(_GLYPHS, which, keys, fonts=fonts)
            items += [
                Item(identifier, _GLYPHS[index], split, None, None, picture)
                for identifier, index, picture in zip(identifiers, which.tolist(), pictures)
            ]
        return items

    # FreeType decides the outlines' samples, so another release may draw a few pixels otherwise.
    release = f"Pillow {PIL.__version__}, FreeType {features.version('freetype2')}"
    return Listing(
        name="digits",
        description=(
            f"digits 0-9 drawn from {len(FONTS)} fonts with handwriting-like distortions, 28×28; every picture has its "
            f"own distortions, and {len(_UNSEEN)} fonts occur in the test split only"
        ),
        classes=_GLYPHS,
        list_items=list_items,
        identify=lambda: digest(
            ["digits", str(_EDITION), release, *(f"{key} {value}" for key, value in wanted.items())]
        ),
    )
