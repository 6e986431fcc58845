"""`Classifier`: a trained network as a function from pictures to ranked class names.

    classifier = Classifier("runs/first")
    classifier("photo.jpg").label
    classifier(numpy_batch)                                # a list, in order
    for prediction in classifier.predict_many(paths): …    # any number, in bounded memory

torch is imported when a classifier is made, not before: engines without it come through here too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper import bundle
from deeper.errors import BundleError, DeeperError, SourceError, UsageError, printable
from deeper.images import as_picture
from deeper.images.containers import exif_of, load, orientation
from deeper.images.decode import turn
from deeper.images.pixels import to_pixels
from deeper.inference import BATCH, softmax

Picture: TypeAlias = "NDArray[Any] | str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image"
"""A file name, a file's bytes, a PIL image, or an array H × W or H × W × C."""

OnError: TypeAlias = Literal["raise", "skip"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says of one picture. `logits`: float32 K, in the order of `classes`.

    `source`: the file name as it was given, or `picture 3` for the fourth of several others.
    """

    classes: tuple[str, ...]
    logits: NDArray[np.float32]
    source: str = ""
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
        """Class → probability, the most probable first (of equal ones the first in `classes`)."""
        order = np.argsort(-self._probabilities, kind="stable")
        return {self.classes[index]: float(self._probabilities[index]) for index in order}

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` most probable classes."""
        return list(self.probabilities.items())[:k]

    def __repr__(self) -> str:
        return f"Prediction({self.label!r}, {self.probability:.4f})"


@dataclass(frozen=True)
class Failed:
    """A picture that could not be classified, and why. `source` as in `Prediction`."""

    source: str
    reason: str


class Classifier:
    """A run's or bundle's network, ready to classify.

    `device`: `cpu`, `cuda`, or `auto` (a GPU where there is one). `precision`: `fp32`, `bf16`, or `auto`, which is fp32:
    answers that agree everywhere. `model`: the import path of a network of one's own, which only the loading user can
    allow to run. `batch`: pictures at once; it bounds the memory.

    Raises: BundleError, when there is no sound bundle; UsageError, for options that cannot be.
    """

    def __init__(
        self,
        run_or_bundle: str | os.PathLike[str],
        *,
        device: str = "auto",
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        model: str | None = None,
        batch: int = BATCH,
    ) -> None:
        from deeper.inference import predictor
        from deeper.training.precision import choose_device

        self.path = find_bundle(Path(run_or_bundle))
        device = choose_device(device)
        loaded = bundle.load(self.path, model=model, device=device)
        self.info = loaded.info
        self.preprocess = loaded.info.preprocess
        self.batch = batch
        chosen = "fp32" if precision == "auto" else precision
        self._predict = predictor(loaded.model, self.preprocess, device=device, precision=chosen, batch=batch)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the logits."""
        return self.info.classes

    @overload
    def __call__(
        self, pictures: str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image
    ) -> Prediction: ...
    @overload
    def __call__(
        self, pictures: str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image, *, on_error: OnError
    ) -> Prediction | Failed: ...
    @overload
    def __call__(self, pictures: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...
    @overload
    def __call__(self, pictures: list[Any] | tuple[Any, ...], *, on_error: OnError) -> list[Prediction | Failed]: ...
    @overload
    def __call__(self, pictures: Any, *, on_error: OnError = "raise") -> Any: ...
    def __call__(self, pictures: Any, *, on_error: OnError = "raise") -> Any:
        """Classify one picture (→ a `Prediction`) or several (→ a list in order).

        One picture is a file name, a file's bytes, a PIL image, or an array H × W or H × W × C. Several are a list (or
        any iterable) of such, sizes and kinds mixed, or an array N × H × W or N × H × W × C. **An array of three axes is
        one picture if its last axis is 1, 3 or 4, else N grey ones.** Values: uint8, bool, integers 0..255, floats 0..1
        or 0..255 (which of the two is decided once for all pictures of one array, one by one for those of a list).

        `on_error`: `raise`, or `skip`, which puts a `Failed` in the place of a picture that cannot be read.

        Raises: SourceError, naming the picture that cannot be read; UsageError, for what is no picture at all.
        """
        if _is_one(pictures):
            return next(self.predict_many([pictures], on_error=on_error))
        if hasattr(pictures, "__array__"):
            several = _unstacked(np.asarray(pictures), self.preprocess.height, self.preprocess.width)
            if several is None:
                return next(self.predict_many([pictures], on_error=on_error))
            return list(self.predict_many(several, on_error=on_error))
        if isinstance(pictures, Mapping) or not isinstance(pictures, Iterable):
            raise UsageError(
                f"a {type(pictures).__name__} is no picture; wanted a file name, bytes, a PIL image, an array, or a list"
            )
        return list(self.predict_many(pictures, on_error=on_error))

    @overload
    def predict_many(self, pictures: Iterable[Picture]) -> Iterator[Prediction]: ...
    @overload
    def predict_many(self, pictures: Iterable[Picture], *, on_error: OnError) -> Iterator[Prediction | Failed]: ...
    def predict_many(
        self, pictures: Iterable[Picture], *, on_error: OnError = "raise"
    ) -> Iterator[Prediction] | Iterator[Prediction | Failed]:
        """Classify pictures as they come, a batch at a time, in order; no more than a batch is ever held.

        `on_error`: `raise` (after the predictions of the pictures before), or `skip`: a picture that cannot be read
        yields `Failed` and stops nothing.

        Raises: SourceError, naming the picture; MissingExtraError, where reading it needs an optional package.
        """
        if on_error not in ("raise", "skip"):
            raise UsageError(f"on_error {on_error!r}; wanted raise or skip")
        return self._stream(pictures, on_error)

    def _stream(self, pictures: Iterable[Picture], on_error: OnError) -> Iterator[Prediction | Failed]:
        waiting: list[tuple[str, NDArray[np.uint8]] | Failed] = []
        for number, picture in enumerate(pictures):
            source = os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else f"picture {number}"
            try:
                waiting.append((source, self.fit(picture)))
            except DeeperError as error:
                if on_error == "raise":
                    yield from self._flush(waiting)
                    raise type(error)(f"{printable(source)}: {error}") from None
                waiting.append(Failed(source, str(error)))
            if len(waiting) == self.batch:
                yield from self._flush(waiting)
                waiting = []
        yield from self._flush(waiting)

    def _flush(self, waiting: list[tuple[str, NDArray[np.uint8]] | Failed]) -> Iterator[Prediction | Failed]:
        fitted = [one[1] for one in waiting if not isinstance(one, Failed)]
        logits = iter(self.logits(np.stack(fitted))) if fitted else iter(())
        temperature = self.info.temperature or 1.0
        for one in waiting:
            yield one if isinstance(one, Failed) else Prediction(self.classes, next(logits), one[0], temperature)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N × H × W × C at the model's size → logits. Shape: N × K. Raises: UsageError, for other arrays."""
        return self._predict(images).logits

    def fit(self, picture: Picture) -> NDArray[np.uint8]:
        """Any one picture → uint8 at the model's size. Raises: SourceError; MissingExtraError."""
        if isinstance(picture, (bytes, bytearray, memoryview)):
            return self.preprocess.read(bytes(picture))
        if isinstance(picture, (str, os.PathLike)):
            return self.preprocess.read(_file(picture))
        if isinstance(picture, Image.Image):
            return self.preprocess.fit(_from_pillow(picture))
        if hasattr(picture, "__array__") or isinstance(picture, (list, tuple)):
            return self.preprocess.fit(as_picture(picture))
        raise SourceError(
            f"a {type(picture).__name__} is no picture; wanted a file name, bytes, a PIL image or an array"
        )


def find_bundle(path: Path) -> Path:
    """The bundle in a run folder, or the folder itself. Raises: BundleError."""
    for place in (path, path / "bundle"):
        if bundle.is_bundle(place):
            return place
    what = (
        "does not exist"
        if not path.exists()
        else "holds no bundle (an unfinished run has none before its first validation)"
    )
    raise BundleError(f"{printable(path)} {what}; give a run or bundle folder, made by `deeper train`")


def _is_one(pictures: Any) -> bool:
    return isinstance(pictures, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image))


def _unstacked(array: NDArray[Any], height: int, width: int) -> list[NDArray[Any]] | None:
    """The pictures of an array of several; None for an array that is one."""
    shape = "×".join(map(str, array.shape)) or "a single number"
    if array.ndim == 2 and array.shape[1] == height * width:
        raise SourceError(
            f"an array of {shape} may be {array.shape[0]} flat pictures of {height}×{width} or a single very wide one; "
            f"say which: array.reshape(-1, {height}, {width}), or array[..., None] for a single one"
        )
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4)):
        return None
    if array.ndim not in (3, 4):
        raise SourceError(f"an array of {shape} is neither a picture nor pictures; wanted H×W, H×W×C, N×H×W or N×H×W×C")
    # The scale of floats is one decision for the whole array: a dark picture among bright ones stays dark.
    if np.issubdtype(array.dtype, np.floating) and array.size and np.isfinite(array).all() and array.max() > 1:
        if array.min() < 0 or array.max() > 255:
            raise SourceError(
                f"pixels from {array.min():g} to {array.max():g}; wanted 0 to 1 (or 0 to 255); undo any normalisation"
            )
        array = np.rint(array).astype(np.uint8)
    return list(array)


def _file(name: str | os.PathLike[str]) -> bytes:
    try:
        # A FIFO would hang, a device would never end.
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise SourceError("no regular file; wanted a picture file")
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise SourceError((error.strerror or str(error)).lower()) from None
    except ValueError:  # a NUL in the name
        raise SourceError("no file can have this name") from None


def _from_pillow(image: Image.Image) -> NDArray[np.uint8]:
    # The same policy as for files: an image that Pillow opened and nobody turned is turned here.
    load(image)
    return turn(to_pixels(image), orientation(exif_of(image)))
