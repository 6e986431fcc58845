"""The guide's executed notebooks as pages of the site: text, code, what it printed, its pictures as files beside it."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).resolve().parent / "guide"
# Below the lists of notebooks.
OPENING = (
    "They can be read as they are, with all that they printed: of MNIST, and of photographs of flowers. Without "
    '`DEEPER_DATA` they run on digits drawn from fonts, and the numbers differ; `SOURCE = "mnist"` in 1, 4 and 5 '
    "downloads MNIST. They need the extras `inspect`, `onnx`, `openvino` and `serve`. "
    "To run one, put Jupyter beside `deeper` "
    "(`pip install notebook` in the same environment), copy the notebook into an empty folder, and start "
    "`jupyter notebook` there: datasets and runs are written beside it. What would take long is "
    "shortened; `DEEPER_GUIDE=full` in the environment asks for all of it."
)
# What a cell may show, the best first: MIME type → ending of the file that it becomes. Text comes after all of them.
_PICTURES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
# Pages of docs/ that a notebook names; on the site these names are links.
_NAMED = re.compile(r"(?<!\[)`docs/([\w-]+)\.md`")


def notebooks() -> list[Path]:
    """In reading order."""
    return sorted(GUIDE.glob("[0-9][0-9]_*.ipynb"))


def write_pages(folder: Path) -> None:
    """Write every notebook's page, its pictures and an index into `folder`."""
    folder.mkdir(exist_ok=True)
    items = []
    for path in notebooks():
        text = page_of(json.loads(path.read_text("utf-8")), path.stem, folder)
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        items.append(f"- [{title.group(1) if title else path.stem}]({path.stem}.md)")
        (folder / f"{path.stem}.md").write_text(text, "utf-8")
    (folder / "index.md").write_text(
        "# The guide\n\nFor those who have done the basic tutorials and want to go deeper. Each sitting is a notebook "
        "that runs on a laptop without a GPU in minutes; what you see here it has printed itself. The notebooks are in "
        "`docs/guide`.\n\n" + "\n".join(items) + "\n\n" + OPENING + "\n",
        "utf-8",
    )


def page_of(notebook: dict[str, Any], name: str, folder: Path) -> str:
    """An executed notebook as Markdown. Its pictures are written into `folder`, under names that begin with `name`."""
    parts = []
    heading, shown = name, 0
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            if found := re.findall(r"^#+ (.+)$", source, re.MULTILINE):
                heading, shown = found[-1], 0
            # Notebooks name pictures as they lie beside docs/guide; the pages lie there as well.
            parts.append(_NAMED.sub(r"[\1](../\1.md)", source))
            continue
        if source:
            parts.append(f"```python\n{source}\n```")
        for order, output in enumerate(cell.get("outputs", [])):
            # A picture is called after the heading above it; a second one gets a number.
            title = heading.replace("[", "(").replace("]", ")") + (f", picture {shown + 1}" if shown else "")
            page = _output(output, f"{name}-{number:02d}-{order}", folder, title)
            shown += page.startswith("![")
            parts.append(page)
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: dict[str, Any], stem: str, folder: Path, title: str) -> str:
    data = output.get("data", {})
    for kind, ending in _PICTURES.items():
        if kind not in data:
            continue
        content = "".join(data[kind])
        (folder / f"{stem}.{ending}").write_bytes(content.encode() if ending == "svg" else base64.b64decode(content))
        return f"![{title}]({stem}.{ending})"
    if "text/markdown" in data:
        return "".join(data["text/markdown"]).strip()
    text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
    return f'<pre class="output" tabindex="0">{_entities(text)}</pre>' if text else ""


def _entities(text: str) -> str:
    """Blank lines as entities: one would end the block for Markdown."""
    return html.escape(text).replace("\n\n", "\n&#8203;\n").replace("\n\n", "\n&#8203;\n")
