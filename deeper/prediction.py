"""`Classifier`: a trained network as a function from pictures to ranked class names.

    classifier = Classifier("runs/first")
    classifier("photo.jpg").label
    classifier(numpy_batch)                    # a list, in order
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper import bundle
from deeper.errors import BundleError, DeeperError, SourceError, printable
from deeper.images import as_picture, to_channels
from deeper.inference import BATCH, predictor, softmax

One: TypeAlias = "NDArray[Any] | str | Path | bytes | Image.Image"


@dataclass(frozen=True)
class Prediction:
    """What the network says of one picture. `logits`: float32 K, in the order of `classes`."""

    classes: tuple[str, ...]
    logits: NDArray[np.float32]
    temperature: float = 1.0

    @cached_property
    def _probabilities(self) -> NDArray[np.float64]:
        return softmax(self.logits / np.float32(self.temperature))

    @property
    def index(self) -> int:
        """Of the most probable class."""
        return int(self.logits.argmax())

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[self.index]

    @property
    def probability(self) -> float:
        """Of that class."""
        return float(self._probabilities[self.index])

    @cached_property
    def probabilities(self) -> Mapping[str, float]:
        """Class → probability, the most probable first."""
        order = np.argsort(-self._probabilities, kind="stable")
        return {self.classes[index]: float(self._probabilities[index]) for index in order}

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` most probable classes."""
        return list(self.probabilities.items())[:k]

    def __repr__(self) -> str:
        return f"Prediction({self.label!r}, {self.probability:.4f})"


@dataclass(frozen=True)
class Failed:
    """A picture that could not be classified, and why."""

    source: str
    reason: str


class Classifier:
    """A run's or bundle's network, ready to classify.

    `run_or_bundle`: a run folder, or a bundle folder. `device`: `cpu`, `cuda`, or `auto`. `precision`: `fp32`, `bf16`,
    or `auto` (fp32: answers that agree everywhere). `model`: the import path of a network of one's own, which the
    loading user must give. `batch`: pictures at once.

    Raises: BundleError.
    """

    def __init__(
        self,
        run_or_bundle: str | Path,
        *,
        device: str = "cpu",
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        model: str | None = None,
        batch: int = BATCH,
    ) -> None:
        self.path = find_bundle(Path(run_or_bundle))
        loaded = bundle.load(self.path, model=model)
        self.info = loaded.info
        self.preprocess = loaded.info.preprocess
        self.batch = batch
        if device == "auto":
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._predict = predictor(
            loaded.model.to(device),
            self.preprocess,
            device=device,
            precision="bf16" if precision == "bf16" else "fp32",
            batch=batch,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the logits."""
        return self.info.classes

    @overload
    def __call__(self, pictures: str | Path | bytes | Image.Image) -> Prediction: ...
    @overload
    def __call__(self, pictures: NDArray[Any]) -> Prediction | list[Prediction]: ...
    @overload
    def __call__(self, pictures: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...
    def __call__(self, pictures: One | Sequence[One]) -> Prediction | list[Prediction]:
        """Classify one picture (→ a `Prediction`) or several (→ a list in order).

        One picture is a file name, a file's bytes, a PIL image, or an array H × W or H × W × C. Several are a list of
        such, or an array N × H × W or N × H × W × C. An array of three axes is one picture if its last axis is 1 or 3,
        else N grey ones. uint8, or floats in 0..1 or 0..255 (the same rule for all pictures of one array).

        Raises: SourceError, naming the picture that cannot be read.
        """
        if isinstance(pictures, np.ndarray):
            if pictures.ndim == 2 or (pictures.ndim == 3 and pictures.shape[2] in (1, 3)):
                return self._classify([pictures])[0]
            return self._classify(_unstacked(pictures))
        if isinstance(pictures, (str, Path, bytes, Image.Image)):
            return self._classify([pictures])[0]
        return self._classify(list(pictures))

    def _classify(self, pictures: Sequence[One]) -> list[Prediction]:
        results = []
        for result in self.stream(pictures):
            if isinstance(result, Failed):
                raise SourceError(f"{result.source}: {result.reason}")
            results.append(result)
        return results

    def stream(self, pictures: Iterable[One]) -> Iterator[Prediction | Failed]:
        """Classify pictures as they come, a batch at a time, in order; a bad one yields `Failed` and stops nothing."""
        waiting: list[NDArray[np.uint8] | Failed] = []
        for number, picture in enumerate(pictures):
            try:
                waiting.append(self.fit(picture))
            except (SourceError, OSError) as error:
                name = printable(picture) if isinstance(picture, (str, Path)) else f"picture {number}"
                waiting.append(Failed(name, _reason(error, name)))
            if len(waiting) == self.batch:
                yield from self._flush(waiting)
                waiting = []
        yield from self._flush(waiting)

    def _flush(self, waiting: Sequence[NDArray[np.uint8] | Failed]) -> Iterator[Prediction | Failed]:
        fitted = [one for one in waiting if not isinstance(one, Failed)]
        logits = iter(self.logits(np.stack(fitted))) if fitted else iter(())
        temperature = self.info.temperature or 1.0
        for one in waiting:
            yield one if isinstance(one, Failed) else Prediction(self.classes, next(logits), temperature)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N × H × W × C at the model's size → logits. Shape: N × K."""
        return self._predict(images).logits

    def fit(self, picture: One) -> NDArray[np.uint8]:
        """Any one picture → uint8 at the model's size. Raises: SourceError, OSError."""
        if isinstance(picture, bytes):
            return self.preprocess.read(picture)
        if isinstance(picture, (str, Path)):
            return self.preprocess.read(Path(picture).read_bytes())
        if isinstance(picture, Image.Image):
            return self.preprocess.fit(_from_pillow(picture))
        return self.preprocess.fit(as_picture(picture))


def find_bundle(path: Path) -> Path:
    """The bundle in a run folder, or the folder itself. Raises: BundleError."""
    if bundle.is_bundle(path):
        return path
    inside = path / "bundle"
    if bundle.is_bundle(inside) or bundle.is_bundle(inside.with_name(".bundle.old")):
        return inside
    what = "does not exist" if not path.exists() else "holds no bundle (an unfinished run has none before its first validation)"
    raise BundleError(f"{printable(path)} {what}; give a run or bundle folder, made by `deeper train`")


def _unstacked(array: NDArray[Any]) -> list[One]:
    if array.ndim not in (3, 4):
        raise SourceError(
            f"an array of {'×'.join(map(str, array.shape))} is neither a picture nor pictures; wanted H×W, H×W×C, N×H×W or N×H×W×C"
        )
    # The scale of floats is one decision for the whole array: a dark picture among bright ones stays dark.
    if np.issubdtype(array.dtype, np.floating) and array.size and np.isfinite(array).all() and array.max() > 1:
        if array.min() < 0 or array.max() > 255:
            raise SourceError(f"pixels from {array.min():g} to {array.max():g}; wanted 0 to 1 (or 0 to 255)")
        array = np.rint(array).astype(np.uint8)
    return list(array)


def _from_pillow(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in ("L", "RGB"):
        return as_picture(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA", "P"):
        over = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image.convert("RGBA"))
        picture = np.asarray(over.convert("RGB"))
        return to_channels(picture, 1) if image.mode == "LA" else picture
    if image.mode == "1":
        return as_picture(np.asarray(image.convert("L")))
    return as_picture(np.asarray(image.convert("RGB")))


def _reason(error: Exception, name: str) -> str:
    if isinstance(error, DeeperError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


