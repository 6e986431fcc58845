"""What every figure for paper and screen shares: type, colours, and how it gets into a file.

matplotlib is imported when a figure is drawn, not before.
"""

from __future__ import annotations

import logging
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeper import files
from deeper.errors import UsageError, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart in grey print and by the colour-blind: blue is dark, orange is light (Okabe and Ito 2008).
INK, BLUE, ORANGE, GREEN, GREY, PALE = "#222222", "#0072b2", "#d55e00", "#009e73", "#8a8f94", "#e6e8ea"
KINDS = ("svg", "pdf", "png")
# Of a page's text width, in inches.
WIDTH = 6.3


def kind_of(path: Path) -> str:
    """`svg`, `pdf` or `png`, by the path's ending. Raises: UsageError, for another one."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise UsageError(f"{printable(path)}: wanted a name that ends in .svg, .pdf or .png")
    return kind


# Fonts with letters that DejaVu Sans has not, where a machine has them: Chinese, Japanese, Korean; Devanagari; pictures.
_OTHER_LETTERS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS",
    "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji", "Symbola", "Unifont",
)  # fmt: skip


@contextmanager
def lettering() -> Iterator[None]:
    """Draw inside the block with a font for every letter that this machine can draw, and no warning for the others.

    A class may be called 三色堇 or 💐: where no font has that, an empty box stands in the picture.
    """
    import matplotlib
    from matplotlib import font_manager

    known = {font.name for font in font_manager.fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in _OTHER_LETTERS if name in known)]
    manager = logging.getLogger("matplotlib.font_manager")
    level = manager.level
    with matplotlib.rc_context({"font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        # Of fonts that have no bold.
        manager.setLevel(logging.ERROR)
        try:
            yield
        finally:
            manager.setLevel(level)


def width_of(text: str) -> int:
    """In letters of usual width: a Chinese, Japanese or Korean one is as wide as two, an accent takes no room."""
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` letters of usual width, broken between words where that is possible."""
    if width_of(text) <= len(text):
        return textwrap.wrap(text, width)
    lines: list[str] = []
    line = ""
    for word in text.split():
        together = f"{line} {word}".lstrip()
        if width_of(together) <= width:
            line = together
            continue
        lines += [line] * bool(line)
        line = ""
        for letter in word:
            if line and width_of(line + letter) > width:
                lines.append(line)
                line = ""
            line += letter
    return lines + [line] * bool(line)


@contextmanager
def style(size: float = 8.5) -> Iterator[None]:
    """Draw inside the block with our type, `size` points, and colours.

    Letters stay letters in SVG and PDF: a reader can search them, a journal can change the font.
    """
    import matplotlib

    settings: Any = {
        "font.size": size,
        "svg.fonttype": "none",
        "svg.hashsalt": "deeper",
        "pdf.fonttype": 42,
        "axes.edgecolor": GREY,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with lettering(), matplotlib.rc_context(settings):
        yield


def save(figure: Figure, path: Path, *, title: str, dpi: float = 200) -> None:
    """Write the figure atomically as SVG, PDF or PNG; equal figures give equal files. Within `style`.

    Raises: UsageError, for another ending; StorageError.
    """
    kind = kind_of(path)
    # No dates inside: the same figure gives the same bytes.
    dates: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    with files.writing(path) as file:
        figure.savefig(file, format=kind, dpi=dpi, metadata={"Title": title, **dates[kind]})
