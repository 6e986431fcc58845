"""ONNX → TensorFlow's SavedModel. Run as a program, so that TensorFlow and torch never share a process:

    python -m deeper.export.savedmodel MODEL.onnx FOLDER DESCRIPTION.json

The graph is walked node by node and built of TensorFlow's own operations. Feature maps are kept N × H × W × C, which is
what TensorFlow's kernels for processors take: `images` comes so, and the transposition that ONNX begins with falls away.
Signature `serving_default`: `images` uint8 → `logits`, `features`. Classes and Preprocess travel as the asset
`assets/deeper.json`, which the loaded object names: `loaded.deeper.asset_path`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeper.errors import BundleError, MissingExtraError, UsageError, how_to_install, printable

if TYPE_CHECKING:
    from deeper.bundle import Info

_NO_TENSORFLOW = 77


def no_interpreter(python: str, error: OSError) -> UsageError:
    """What to say where `python` cannot be started."""
    return UsageError(
        f"--tensorflow-python {printable(python)}: {(error.strerror or str(error)).lower()}; name the Python that has TensorFlow"
    )


def write_savedmodel(onnx: Path, info: Info, folder: Path, *, python: str = sys.executable) -> None:
    """Convert in a process of its own. Raises: MissingExtraError; BundleError, when the graph cannot be written."""
    # torch is loaded here already, and there it must not be.
    from deeper.export.graph import DESCRIPTION, description

    with tempfile.TemporaryDirectory(prefix="deeper-savedmodel-") as temporary:
        described = Path(temporary) / DESCRIPTION
        described.write_text(description(info), encoding="utf-8")
        # Another interpreter need not have this package; what lies beside it here is of no use to that one.
        package = Path(temporary) / "package"
        package.mkdir()
        (package / "deeper").symlink_to(Path(__file__).resolve().parents[1], target_is_directory=True)
        command = [python, "-m", "deeper.export.savedmodel", str(onnx), str(folder), str(described)]
        try:
            ran = subprocess.run(
                command, env={**os.environ, "PYTHONPATH": str(package)}, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise no_interpreter(python, error) from None
    if ran.returncode == _NO_TENSORFLOW:
        raise MissingExtraError(f"a SavedModel needs TensorFlow and ONNX: {how_to_install('tensorflow,onnx')}")
    if ran.returncode != 0:
        lines = ran.stderr.strip().splitlines() or ["no reason given"]
        raise BundleError(f"TensorFlow cannot take this network ({printable(lines[-1], 160)})")


class _Map:
    """A tensor of the graph. `channels_last`: it stands for N × C × H × W but is kept N × H × W × C."""

    def __init__(self, value: Any, channels_last: bool = False) -> None:
        self.value, self.channels_last = value, channels_last


class Translator:
    """Calls TensorFlow for each node of an ONNX graph. `constants`: weights as tensors, shapes and axes as arrays."""

    def __init__(self, tensorflow: Any, graph: Any, constants: Mapping[str, Any]) -> None:
        self.tf, self.graph, self.constants = tensorflow, graph, constants
        self.by_kind: dict[str, Callable[[Any, list[_Map]], _Map]] = {
            "Add": self._elementwise(tensorflow.add),
            "Sub": self._elementwise(tensorflow.subtract),
            "Mul": self._elementwise(tensorflow.multiply),
            "Div": self._elementwise(tensorflow.divide),
            "Relu": self._elementwise(tensorflow.nn.relu),
            "Cast": self._cast,
            "Transpose": self._transpose,
            "Conv": self._convolution,
            "BatchNormalization": self._batch_norm,
            "MaxPool": self._max_pool,
            "AveragePool": self._average_pool,
            "Pad": self._pad,
            "Concat": self._concat,
            "ReduceMean": self._mean,
            "Reshape": self._reshape,
            "Gemm": self._gemm,
            "Identity": lambda node, given: given[0],
        }

    def __call__(self, images: Any) -> dict[str, Any]:
        """The graph's outputs by name."""
        values = {name: _Map(constant) for name, constant in self.constants.items()}
        values["images"] = _Map(images)
        for node in self.graph.node:
            if node.op_type not in self.by_kind:
                raise SystemExit(f"no translation for the ONNX operation {node.op_type}")
            given = [values[name] for name in node.input if name]
            values[node.output[0]] = self.by_kind[node.op_type](node, given)
        return {one.name: self._as_onnx(values[one.name]) for one in self.graph.output}

    def _as_onnx(self, one: _Map) -> Any:
        return self.tf.transpose(one.value, (0, 3, 1, 2)) if one.channels_last else one.value

    def _elementwise(self, operation: Callable[..., Any]) -> Callable[[Any, list[_Map]], _Map]:
        def apply(node: Any, given: list[_Map]) -> _Map:
            last = any(one.channels_last for one in given)
            return _Map(operation(*(self._aligned(one) if last else one.value for one in given)), last)

        return apply

    def _aligned(self, one: _Map) -> Any:
        """A constant 1 × C × 1 × 1 beside a feature map is turned as the map is."""
        if one.channels_last or len(one.value.shape) < 3:
            return one.value
        shape = (1,) * (4 - len(one.value.shape)) + tuple(one.value.shape)
        return self.tf.transpose(self.tf.reshape(one.value, shape), (0, 2, 3, 1))

    def _cast(self, node: Any, given: list[_Map]) -> _Map:
        import onnx

        kind = onnx.helper.tensor_dtype_to_np_dtype(_attributes(node)["to"])
        return _Map(self.tf.cast(given[0].value, kind), given[0].channels_last)

    def _transpose(self, node: Any, given: list[_Map]) -> _Map:
        order = tuple(_attributes(node)["perm"])
        if order == (0, 3, 1, 2) and not given[0].channels_last:
            return _Map(given[0].value, True)
        return _Map(self.tf.transpose(self._as_onnx(given[0]), order))

    def _padded(self, one: _Map, pads: list[int], value: float = 0.0) -> Any:
        if not any(pads):
            return one.value
        around = [[0, 0], [pads[0], pads[2]], [pads[1], pads[3]], [0, 0]]
        return self.tf.pad(one.value, around, constant_values=value)

    def _pad(self, node: Any, given: list[_Map]) -> _Map:
        if _attributes(node).get("mode", b"constant") != b"constant" or not given[0].channels_last:
            raise SystemExit("no translation for this kind of padding")
        before, after = given[1].value[:4], given[1].value[4:]
        around = [[int(before[axis]), int(after[axis])] for axis in (0, 2, 3, 1)]
        value = given[2].value if len(given) > 2 else 0.0
        return _Map(self.tf.pad(given[0].value, around, constant_values=value), True)

    def _convolution(self, node: Any, given: list[_Map]) -> _Map:
        facts = _attributes(node)
        if facts.get("group", 1) != 1:
            raise SystemExit("no translation for grouped convolutions")
        weight = self.tf.transpose(given[1].value, (2, 3, 1, 0))
        padded = self._padded(given[0], facts.get("pads", [0, 0, 0, 0]))
        result = self.tf.nn.conv2d(
            padded, weight, facts.get("strides", [1, 1]), "VALID", dilations=facts.get("dilations", [1, 1])
        )
        return _Map(result + given[2].value if len(given) > 2 else result, True)

    def _batch_norm(self, node: Any, given: list[_Map]) -> _Map:
        x, scale, shift, mean, variance = (one.value for one in given)
        epsilon = _attributes(node).get("epsilon", 1e-5)
        return _Map(self.tf.nn.batch_normalization(x, mean, variance, shift, scale, epsilon), given[0].channels_last)

    def _windows(self, node: Any, one: _Map) -> tuple[list[int], list[int], list[int]]:
        """Kernel, strides and pads, the last with what rounding up reaches over the edge."""
        facts = _attributes(node)
        kernel, strides = facts["kernel_shape"], facts.get("strides", [1, 1])
        pads = list(facts.get("pads", [0, 0, 0, 0]))
        if facts.get("ceil_mode", 0):
            for axis in range(2):
                size = one.value.shape[1 + axis] + pads[axis] + pads[2 + axis]
                pads[2 + axis] += -(size - kernel[axis]) % strides[axis]
        return kernel, strides, pads

    def _max_pool(self, node: Any, given: list[_Map]) -> _Map:
        kernel, strides, pads = self._windows(node, given[0])
        padded = self._padded(given[0], pads, self.tf.float32.min)
        return _Map(self.tf.nn.max_pool2d(padded, kernel, strides, "VALID"), True)

    def _average_pool(self, node: Any, given: list[_Map]) -> _Map:
        kernel, strides, pads = self._windows(node, given[0])
        mean = self.tf.nn.avg_pool2d(self._padded(given[0], pads), kernel, strides, "VALID")
        if not any(pads):
            return _Map(mean, True)
        # What lies outside counts, or not, as the node says; what rounding up added never does.
        inside = (
            _attributes(node).get("pads", [0, 0, 0, 0]) if _attributes(node).get("count_include_pad", 0) else [0] * 4
        )
        ones = self.tf.ones((1, *given[0].value.shape[1:3], 1))
        counted = self._padded(_Map(self._padded(_Map(ones), inside, 1.0)), [a - b for a, b in zip(pads, inside)])
        return _Map(mean / self.tf.nn.avg_pool2d(counted, kernel, strides, "VALID"), True)

    def _concat(self, node: Any, given: list[_Map]) -> _Map:
        axis = _attributes(node)["axis"]
        if all(one.channels_last for one in given):
            return _Map(self.tf.concat([one.value for one in given], (0, 3, 1, 2)[axis]), True)
        return _Map(self.tf.concat([self._as_onnx(one) for one in given], axis))

    def _mean(self, node: Any, given: list[_Map]) -> _Map:
        facts = _attributes(node)
        axes = facts["axes"] if "axes" in facts else [int(axis) for axis in given[1].value]
        kept = bool(facts.get("keepdims", 1))
        if not given[0].channels_last:
            return _Map(self.tf.reduce_mean(given[0].value, axes, keepdims=kept))
        moved = [(0, 3, 1, 2)[axis] for axis in axes]
        return _Map(self.tf.reduce_mean(given[0].value, moved, keepdims=kept), kept)

    def _reshape(self, node: Any, given: list[_Map]) -> _Map:
        return _Map(self.tf.reshape(self._as_onnx(given[0]), given[1].value))

    def _gemm(self, node: Any, given: list[_Map]) -> _Map:
        facts = _attributes(node)
        a, b = (
            self.tf.transpose(one.value) if facts.get(flag) else one.value
            for one, flag in zip(given, ("transA", "transB"))
        )
        product = facts.get("alpha", 1.0) * self.tf.matmul(a, b)
        return _Map(product + facts.get("beta", 1.0) * given[2].value if len(given) > 2 else product)


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def main(onnx_path: str, folder: str, described: str) -> None:
    """Read, translate, write. Exits with 77 where TensorFlow or ONNX is missing."""
    try:
        import onnx
        import tensorflow
    except ImportError:
        raise SystemExit(_NO_TENSORFLOW) from None
    model = onnx.load(onnx_path)
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    shape = [axis.dim_value or None for axis in model.graph.input[0].type.tensor_type.shape.dim]

    class Exported(tensorflow.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.deeper = tensorflow.saved_model.Asset(described)
            # Weights as variables; shapes and axes stay arrays, which the translation reads.
            self.weights = {
                name: tensorflow.Variable(array, trainable=False, name=name.replace(":", "_"))
                for name, array in arrays.items()
                if array.dtype.kind == "f"
            }

        @tensorflow.function(input_signature=[tensorflow.TensorSpec(shape, tensorflow.uint8, "images")])  # type: ignore[untyped-decorator]
        def __call__(self, images: Any) -> dict[str, Any]:
            constants: dict[str, Any] = {name: array for name, array in arrays.items() if array.dtype.kind != "f"}
            # As tensors, read from the variables when the graph runs.
            constants.update({name: tensorflow.convert_to_tensor(one) for name, one in self.weights.items()})
            return Translator(tensorflow, model.graph, constants)(images)

    module = Exported()
    tensorflow.saved_model.save(module, folder, signatures={"serving_default": module.__call__})


if __name__ == "__main__":
    main(*sys.argv[1:])
