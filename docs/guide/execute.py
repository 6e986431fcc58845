"""Run the guide's notebooks and write them with what they show: `make guide`.

    python docs/guide/execute.py                   all five, in their quick form
    python docs/guide/execute.py 04 --out /tmp/x   one of them, elsewhere
    DEEPER_GUIDE=full python docs/guide/execute.py the long form

The text (`NN_name.py`, jupytext's percent format) is what people edit; the `.ipynb` is made from it and never edited.
Each runs in an empty temporary folder. What must not be kept, because it differs from machine to machine, is taken
out: times of execution, and the folders' names.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

GUIDE = Path(__file__).parent
# Bytes of one executed notebook: it shall open at once.
LARGEST = 700_000
# Seconds that one cell may take, in the long form too.
_CELL = 6 * 3600
# Letters of base64 from which on a picture is kept as JPEG.
_LARGE = 100_000
# What terminals take for bold and coloured.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def texts() -> list[Path]:
    """The notebooks as text, in reading order."""
    return sorted(GUIDE.glob("[0-9][0-9]_*.py"))


def from_text(path: Path) -> NotebookNode:
    """The notebook that a text describes, with cell ids that follow from its place, not from chance."""
    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell["metadata"] = {}
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    return notebook


def execute(path: Path, folder: Path) -> NotebookNode:
    """Run a notebook in `folder`. Raises: nbclient.exceptions.CellExecutionError, at the first cell that fails."""
    notebook = from_text(path)
    # `%%bash` cells call the command line of the same installation.
    here = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([here, os.environ.get("PATH", "")]),
        "COLUMNS": "110",
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "default"),
    }
    # Socket files in a folder of our own, instead of ports that others on the machine could reach.
    with tempfile.TemporaryDirectory(prefix="kernel-") as sockets:
        manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
        client = NotebookClient(notebook, km=manager, timeout=_CELL, resources={"metadata": {"path": folder}})
        try:
            client.execute(env=environment)
        finally:
            if client.kc is not None:
                client.kc.stop_channels()
            group = manager.provisioner.pgid if manager.provisioner else None
            manager.shutdown_kernel(now=True)
            # A server that a failed notebook left running belongs to the kernel's group.
            if group is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGTERM)
    return scrubbed(notebook, folder)


def scrubbed(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Without what one machine alone has: times, and the names of its folders."""
    names = sorted({str(folder.resolve()), str(folder), str(GUIDE.parents[1]), str(Path.home())}, key=len, reverse=True)
    if data := os.environ.get("DEEPER_DATA"):
        names.insert(0, data)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for name in names:
                if len(name) > 1:
                    value = value.replace(name + "/", "").replace(name, ".")
            return _COLOURS.sub("", value)
        if isinstance(value, list):
            return [clean(one) for one in value]
        if isinstance(value, dict):
            unwanted = _other_picture(value)
            return nbformat.from_dict({key: clean(one) for key, one in value.items() if key != unwanted})
        return value

    for cell in notebook.cells:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            # Joined first: a name, or a terminal's colour, may lie across a cut.
            cell["outputs"] = [clean(output) for output in _joined(cell["outputs"])]
    return notebook


def _other_picture(shown: dict[str, Any]) -> str | None:
    """Pillow shows each picture twice. The one without loss is kept, and of large ones, photographs, the smaller."""
    if not {"image/png", "image/jpeg"} <= set(shown):
        return None
    return "image/png" if len(shown["image/png"]) > _LARGE else "image/jpeg"


def _joined(outputs: list[Any]) -> list[Any]:
    """Pieces of one stream that follow each other as one: how they were cut is chance."""
    result: list[Any] = []
    for output in outputs:
        before = result[-1] if result else {"output_type": ""}
        if output["output_type"] == "stream" == before["output_type"] and output["name"] == before["name"]:
            before["text"] += output["text"]
        else:
            result.append(output)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the guide's notebooks and write them with their outputs.")
    parser.add_argument("which", nargs="*", help="beginnings of names, such as 04; all when not given")
    parser.add_argument("--out", type=Path, default=GUIDE)
    arguments = parser.parse_args()
    chosen = [path for path in texts() if not arguments.which or path.name.startswith(tuple(arguments.which))]
    for path in chosen:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="guide-") as folder:
            notebook = execute(path, Path(folder))
        target = arguments.out / path.with_suffix(".ipynb").name
        nbformat.write(notebook, target)
        size = target.stat().st_size
        print(f"{target.name}: {time.perf_counter() - began:.0f} s, {size / 1000:.0f} kB", flush=True)
        if size > LARGEST:
            sys.exit(f"{target.name} is larger than {LARGEST / 1000:.0f} kB: make its pictures smaller")


if __name__ == "__main__":
    main()
