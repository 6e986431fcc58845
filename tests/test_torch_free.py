"""What makes `--help`, building and a served non-torch model start fast: these modules never load torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

FREE = [
    "deeper.errors",
    "deeper.files",
    "deeper.download",
    "deeper.draws",
    "deeper.values",
    "deeper.statistics",
    "deeper.images",
    "deeper.records",
    "deeper.records.building",
    "deeper.records.grow",
    "deeper.records.verify",
    "deeper.records.repair",
    "deeper.records.workers",
    "deeper.records.sources.named",
    "deeper.records.sources.folder",
    "deeper.records.sources.table",
    "deeper.records.sources.arrays",
    "deeper.records.sources.digits",
    "deeper.batches",
    "deeper.distortions",
    "deeper.distortions.policy",
    "deeper.models",
    "deeper.models.architecture",
    "deeper.inference",
    "deeper.inference.scores",
    "deeper.evaluation",
    "deeper.training.options",
    "deeper.training.optimizers",
    "deeper.training.schedules",
    "deeper.training.recipes",
    "deeper.training.events",
    "deeper.prediction",
    "deeper.cli.build",
    "deeper.cli.verify",
    "deeper.cli",
]


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    code = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n")[-2].split())


def test_the_free_modules() -> None:
    # One process for all of them; only when torch is found is the culprit looked for one by one.
    if "torch" in loaded("\n".join(f"import {module}" for module in FREE)):
        pytest.fail(f"torch is loaded by {[module for module in FREE if 'torch' in loaded(f'import {module}')]}")


def test_a_free_module_would_be_caught() -> None:
    assert "torch" in loaded("import deeper.models.blocks")


def test_the_command_line_until_a_verb_works() -> None:
    """Every verb's own module and its `Arguments`, of which `--help` is made."""
    modules = "from deeper.cli import VERBS\nfrom importlib import import_module\n"
    modules += "for verb in VERBS:\n    import_module('deeper.cli.' + verb.replace('-', '_')).Arguments"
    assert not {"torch", "matplotlib", "tensorboard", "scipy"} & loaded(modules)


def test_building_a_dataset_needs_no_torch(tmp_path) -> None:
    code = f"""
import numpy as np
from deeper.records import BuildOptions, Dataset, build, open_source
images = np.arange(40 * 64, dtype=np.uint32).astype(np.uint8).reshape(40, 8, 8)
build(open_source((images, np.arange(40) % 2)), {str(tmp_path / "d")!r}, options=BuildOptions(workers=1))
assert len(Dataset({str(tmp_path / "d")!r}).split("train")) > 20
"""
    assert "torch" not in loaded(code)


def test_a_worker_of_a_build_loads_little() -> None:
    """A build waits for its workers."""
    code = "import deeper.records.worker\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = {name for name in done.stdout.split() if name.startswith("deeper.")}
    assert "deeper.records.encoding" in rooms
    assert rooms.isdisjoint({"deeper.records.building", "deeper.records.writing", "deeper.records.sources"})
    assert {"logging", "subprocess", "concurrent.futures"}.isdisjoint(done.stdout.split())
