"""Pages that the code writes, for readers of the checkout: `python docs/checkout.py`; a test holds them to the code.

The site makes richer ones in their place: with every parameter, and the notebooks as pages.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from layers import layers, layers_picture
from notebooks import OPENING, notebooks
from reference import errors_section, members, paragraph, result_types, signature
from training_options import training_options

DOCS = Path(__file__).resolve().parent
_BEGIN, _END = "<!-- verbs -->", "<!-- end of verbs -->"


def pages() -> dict[Path, str]:
    """Every such page and what it should hold."""
    return {
        DOCS / "api.md": _api(),
        # Without the names that only the site's anchors need.
        DOCS / "types.md": re.sub(r" \{ #[\w-]+ \}", "", result_types()),
        DOCS / "options.md": training_options(),
        DOCS / "images" / "layers.svg": layers_picture(layers()),
        DOCS / "guide" / "index.md": _guide(),
        DOCS / "verbs" / "index.md": with_verbs((DOCS / "verbs" / "index.md").read_text("utf-8")),
    }


def with_verbs(text: str) -> str:
    """The page of verbs with its table as the code says it."""
    from deeper.cli import VERBS

    rows = "\n".join(f"| [{verb}]({verb}.md) | {what} |" for verb, what in VERBS.items())
    table = f"{_BEGIN}\n| verb | what it does |\n|---|---|\n{rows}\n{_END}"
    return re.sub(rf"{_BEGIN}.*{_END}", lambda _: table, text, flags=re.DOTALL)


def _api() -> str:
    import deeper

    lines = ["# API reference", "", "All of it is `import deeper`; nothing heavy is loaded before it is used."]
    lines += ["What the functions return is on a page of its own: [result types](types.md).", ""]
    for name in deeper.__all__:
        if name == "__version__":
            continue
        value = getattr(deeper, name)
        lines += [f"## {name}", ""]
        if not (inspect.isclass(value) and issubclass(value, Exception)):
            lines += [f"```text\n{signature(f'deeper.{name}', value)}\n```", ""]
        lines += [paragraph(inspect.getdoc(value) or ""), ""]
        if inspect.isclass(value) and (found := members(value)):
            lines += [*found, ""]
    return "\n".join([*lines, *errors_section()])


def _guide() -> str:
    lines = ["# The guide", "", "Five sittings, each a notebook that runs on a laptop without a GPU in minutes.", ""]
    for path in notebooks():
        cells = json.loads(path.read_text("utf-8"))["cells"]
        title = next(
            found.group(1)
            for cell in cells
            if cell["cell_type"] == "markdown" and (found := re.search(r"^# (.+)$", "".join(cell["source"]), re.M))
        )
        lines.append(f"- [{title}]({path.name})")
    return "\n".join([*lines, "", OPENING]) + "\n"


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
