"""`check.py`, which lies in every export: compares the model's answers with the golden ones, without `deeper`."""

from __future__ import annotations

_TOP = '''"""Does this model still answer as the network it was exported from? Exits with 1 if not.

    pip install {packages}
    python check.py
"""

import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file

folder = pathlib.Path(__file__).parent
golden = load_file(folder / "golden.safetensors")
images, wanted = golden["images"], golden["logits"]  # uint8 N x H x W x C; float32 N x K
'''

_RUN = {
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession(str(folder / "{model}"), providers=["CPUExecutionProvider"])
given = session.run(["logits"], {{"images": images}})[0]
""",
    "openvino": """import openvino

compiled = openvino.Core().compile_model(str(folder / "{model}"), "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
given = compiled({{"images": images}})[compiled.output("logits")]
""",
    "torch-export": """import torch

program = torch.export.load(folder / "{model}")
given = program.module()(torch.from_numpy(images))[0].detach().numpy()
""",
    "savedmodel": """import tensorflow

signature = tensorflow.saved_model.load(str(folder / "{model}")).signatures["serving_default"]
given = signature(images=tensorflow.constant(images))["logits"].numpy()
""",
}

_END = """
difference = float(np.abs(given - wanted).max() / max(1.0, float(np.abs(wanted).max())))
allowed = {tolerance!r}
print(f"largest difference of a logit: {{difference:.2g}} of the largest one; {{allowed:.2g}} is allowed")
sys.exit(0 if difference <= allowed else 1)
"""

PACKAGES = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "openvino-int8": "openvino",
    "torch-export": "torch",
    "savedmodel": "tensorflow",
}


def check_script(kind: str, model: str, tolerance: float) -> str:
    """The text of `check.py` for an export of this format."""
    run = _RUN["openvino" if kind == "openvino-int8" else kind]
    top = _TOP.format(packages=f"{PACKAGES[kind]} numpy safetensors")
    return top + run.format(model=model) + _END.format(tolerance=tolerance)
