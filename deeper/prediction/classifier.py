"""`Classifier`: a trained network as a function from pictures to ranked class names.

    classifier = Classifier("runs/first")
    classifier("photo.jpg").label
    classifier(numpy_batch)                                # a list, in order
    for prediction in classifier.predict_many(paths): …    # any number, in bounded memory

torch is imported when a classifier runs on it, not before: engines without it come through here too.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.bundle.info import Info
from deeper.engines import EngineName, Precision, open_engine
from deeper.errors import DeeperError, SourceError, UsageError, printable
from deeper.images import Preprocess, as_picture, png
from deeper.images.arrays import SLACK, are_shares
from deeper.images.containers import exif_of, load, orientation
from deeper.images.decode import turn
from deeper.images.pixels import to_pixels
from deeper.inference import BATCH, familiarity, softmax
from deeper.prediction.answers import NO_CLASS, Failed, Named, Pause, Prediction, told
from deeper.prediction.views import averaged
from deeper.records.encoding import read_file
from deeper.records.workers import available_processors

Picture: TypeAlias = "NDArray[Any] | str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image"
"""A file name, a file's bytes, a PIL image, or an array H × W or H × W × C."""

_END = Pause()
_UNFAMILIAR = "unlike the training pictures: no class speaks up for it as it does for them"
_NOT_SURE = NO_CLASS + " is probable enough ({:.1%}, where right answers have at least {:.1%})"

# Seconds that pictures may be long in coming before those that are there are answered, in a smaller batch.
_SLOW = 0.5

OnError: TypeAlias = Literal["raise", "skip"]


class Classifier:
    """A run's, bundle's or export's network, ready to classify.

    `engine`: `torch`, `openvino` or `onnx` (an export made by `deeper export`), or `auto`: the OpenVINO export where a
    current one that has the precision lies beside the run, else torch. `precision`: `fp32`, `bf16`, `int8`, or `auto`, which is fp32: answers
    that agree everywhere. `device` (torch's): `cpu`, `cuda`, or `auto` (a GPU where there is one). `model`: the import
    path of a network of one's own, which only the loading user can allow to run. `batch`: pictures at once; it bounds
    the memory. `views`: above 1, answers are averaged over so many safe distortions of each picture (`views.averaged`).

    Raises: BundleError, when there is no sound bundle or export; UsageError, for options that cannot be;
    MissingExtraError, for an engine that is not installed.
    """

    path: Path
    """Of the bundle; of the export, where one is run."""
    info: Info
    """What the bundle says of itself: classes, architecture, measured accuracy, temperature."""
    preprocess: Preprocess
    """How any picture becomes the network's input."""
    engine: str
    """What computes: `torch`, `openvino` or `onnx`."""
    precision: str
    """What it computes in."""
    batch: int
    """Pictures that are computed at once."""

    def __init__(
        self,
        run_or_bundle: str | os.PathLike[str],
        *,
        engine: EngineName = "auto",
        device: str = "auto",
        precision: Precision = "auto",
        model: str | None = None,
        batch: int = BATCH,
        views: int = 1,
    ) -> None:
        opened = open_engine(
            Path(run_or_bundle), engine=engine, precision=precision, device=device, model=model, batch=batch
        )
        self.path, self.info = opened.path, opened.info
        self.engine, self.precision = opened.name, opened.precision
        self.preprocess = opened.info.preprocess
        self.batch = batch
        self._predict = averaged(opened.predict, opened.info, views) if views > 1 else opened.predict

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

        One picture is a file name, a file's bytes, an opened file, a PIL image, or an array H × W or H × W × C. Several are a list (or
        any iterable) of such, sizes and kinds mixed, or an array N × H × W or N × H × W × C. **An array of three axes is
        one picture if its last axis is 1, 3 or 4, else N grey ones** (3 × H × W is asked about where the network takes
        colour: its channels may come first). Values: uint8, bool, integers 0..255, floats 0..1
        or 0..255 (which of the two is decided once for all pictures of one array, one by one for those of a list).

        `on_error`: `raise`, or `skip`, which puts a `Failed` in the place of a picture that cannot be read.

        Raises: SourceError, naming the picture that cannot be read; UsageError, for what is no picture at all.
        """
        if _is_one(pictures):
            return next(self._stream([pictures], _known(on_error)))
        if hasattr(pictures, "__array__") and np.asarray(pictures).dtype.kind in "USO":
            # File names, or pictures of several sizes, that numpy holds.
            pictures = np.asarray(pictures).tolist()
            if _is_one(pictures):
                return self(pictures, on_error=on_error)
        if hasattr(pictures, "__array__"):
            several = self._several(np.asarray(pictures), asks=True)
            if several is None:
                return next(self._stream([pictures], _known(on_error)))
            return list(self._stream(several, _known(on_error)))
        if isinstance(pictures, Mapping) or not isinstance(pictures, Iterable):
            raise UsageError(
                f"a {type(pictures).__name__} is no picture; wanted a file name, bytes, a PIL image, an array, or a list"
            )
        return list(self.predict_many(pictures, on_error=on_error))

    @overload
    def predict_many(self, pictures: Iterable[Picture | Named | Pause]) -> Iterator[Prediction]: ...
    @overload
    def predict_many(
        self, pictures: Iterable[Picture | Named | Failed | Pause], *, on_error: OnError
    ) -> Iterator[Prediction | Failed]: ...
    def predict_many(
        self, pictures: Iterable[Picture | Named | Failed | Pause], *, on_error: OnError = "raise"
    ) -> Iterator[Prediction] | Iterator[Prediction | Failed]:
        """Classify pictures as they come, a batch at a time, in order; no more than two batches are ever held, one that is
        answered and one that is decoded meanwhile. Where they are long in coming (a camera, a video, a `Pause`), batches
        are smaller, and answers not. A `Failed` among them passes through.

        `on_error`: `raise` (after the predictions of the pictures before), or `skip`: a picture that cannot be read, for
        whatever reason, yields `Failed` and stops nothing.

        Raises: SourceError, naming the picture; MissingExtraError, where reading it needs an optional package; UsageError,
        for a single picture.
        """
        # Other arrays (of a file, say) are taken picture by picture: the whole may not fit into memory.
        several = self._several(pictures) if isinstance(pictures, np.ndarray) else pictures
        if _is_one(pictures) or several is None:
            raise UsageError(
                "predict_many takes several pictures; for one, call the classifier itself, or give a list of it"
            )
        return self._stream(several, _known(on_error))

    def _several(self, array: NDArray[Any], asks: bool = False) -> Iterable[Any] | None:
        """The pictures, or names, of an array of several; None for an array that is one. `asks`: raises SourceError, for
        what may be one with its channels first."""
        fit = self.preprocess
        if array.dtype.kind in "USO":
            return list(np.atleast_1d(array).tolist())
        if asks and array.ndim == 3 and array.shape[0] == fit.channels == 3 and array.shape[2] not in (1, 3, 4):
            shape = "×".join(map(str, array.shape))
            raise SourceError(
                f"an array of {shape} may be one picture with its channels first or three grey ones; say which: "
                "array.transpose(1, 2, 0), or array[..., None]"
            )
        return _unstacked(array, fit.height, fit.width, fit.channels)

    def _stream(
        self, pictures: Iterable[Picture | Named | Failed | Pause], on_error: OnError
    ) -> Iterator[Prediction | Failed]:
        # Decoding leaves Python's lock, and so does the engine: the next pictures are fitted while a batch runs.
        with ThreadPoolExecutor(available_processors(), thread_name_prefix="deeper-decode") as pool:
            ahead: deque[tuple[str, Future[NDArray[np.uint8]]]] = deque()
            waiting: list[tuple[str, NDArray[np.uint8]] | Failed] = []
            source, number, slow = iter(pictures), 0, 0.0
            try:
                while True:
                    began = time.perf_counter()
                    picture = next(source, _END)
                    slow += time.perf_counter() - began
                    if not isinstance(picture, Pause):
                        ahead.append((_name(picture, number), self._begun(pool, picture)))
                        number += 1
                    if isinstance(picture, Pause) or slow > _SLOW:
                        while ahead:
                            yield from self._take(ahead, waiting, on_error)
                        yield from self._flush(waiting)
                        waiting.clear()
                        slow = 0.0
                    elif len(ahead) > self.batch:
                        yield from self._take(ahead, waiting, on_error)
                    if picture is _END:
                        return
            finally:
                # Also when the caller stops listening: nothing more is decoded for nobody.
                for _, pending in ahead:
                    pending.cancel()

    def _take(
        self,
        ahead: deque[tuple[str, Future[NDArray[np.uint8]]]],
        waiting: list[tuple[str, NDArray[np.uint8]] | Failed],
        on_error: OnError,
    ) -> Iterator[Prediction | Failed]:
        """Move the oldest picture from `ahead` to `waiting`, and run a batch where that makes one."""
        source, pending = ahead.popleft()
        try:
            waiting.append((source, pending.result()))
        except Exception as error:
            known = isinstance(error, DeeperError)
            if on_error == "raise":
                yield from self._flush(waiting)
                if not known:
                    raise
                raise type(error)(f"{printable(source)}: {error}") from None
            waiting.append(Failed(source, told(error)))
        if len(waiting) == self.batch:
            full = waiting.copy()
            waiting.clear()
            yield from self._flush(full)

    def _flush(self, waiting: list[tuple[str, NDArray[np.uint8]] | Failed]) -> Iterator[Prediction | Failed]:
        fitted = [one for one in waiting if not isinstance(one, Failed)]
        answers = iter(
            self.answer(np.stack([picture for _, picture in fitted]), [name for name, _ in fitted]) if fitted else ()
        )
        for one in waiting:
            yield one if isinstance(one, Failed) else next(answers)

    def answer(self, images: NDArray[np.uint8], sources: Sequence[str] = ()) -> list[Prediction]:
        """Predictions for uint8 N × H × W × C at the model's size, as `fit` gives them. `sources`: N names, or none.

        Raises: UsageError, for other arrays.
        """
        logits = self.logits(images)
        temperature, threshold = self.info.temperature or 1.0, self.info.threshold or 0.0
        sure = softmax(logits / np.float32(temperature)).max(axis=1) if len(logits) else ()
        least = self.info.familiarity
        unfamiliar = familiarity(logits) < least if least is not None and len(logits) else [False] * len(logits)
        appearance = self.info.appearance
        remarks = appearance.remarks(images) if appearance else [""] * len(images)
        return [
            Prediction(
                self.classes,
                one,
                sources[number] if sources else "",
                temperature,
                remarks[number]
                or (_NOT_SURE.format(sure[number], threshold) if sure[number] < threshold else "")
                or (_UNFAMILIAR if unfamiliar[number] else ""),
            )
            for number, one in enumerate(logits)
        ]

    def _begun(self, pool: ThreadPoolExecutor, picture: Picture | Named | Failed) -> Future[NDArray[np.uint8]]:
        """A picture on its way to the network's size, while its source goes on to the next one."""
        try:
            return pool.submit(self._fit, _owned(picture))
        except Exception as error:
            failed: Future[NDArray[np.uint8]] = Future()
            failed.set_exception(error)
            return failed

    def _fit(self, picture: Picture | Named | Failed) -> NDArray[np.uint8]:
        if isinstance(picture, Failed):
            raise SourceError(picture.reason)
        return self.fit(picture.picture if isinstance(picture, Named) else picture)

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


def _name(picture: Picture | Named | Failed, number: int) -> str:
    if isinstance(picture, (Named, Failed)):
        return picture.source
    return os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else f"picture {number}"


def _owned(picture: Picture | Named | Failed) -> Picture | Named | Failed:
    """The picture as it is now: whoever gives pictures may have one buffer for all of them, and a PIL image is read by one
    thread at a time and may be about to seek its next frame."""
    if isinstance(picture, Named):
        return replace(picture, picture=_owned(picture.picture))
    if isinstance(picture, Image.Image):
        return _from_pillow(picture)
    if isinstance(picture, (bytearray, memoryview)):
        return bytes(picture)
    if not isinstance(picture, os.PathLike) and callable(read := getattr(picture, "read", None)):
        return _owned(read())
    # numpy's texts and bytes are Python's too, and arrays of no axes.
    if isinstance(picture, str):
        return str(picture)
    if isinstance(picture, bytes):
        return bytes(picture)
    return np.asarray(picture).copy() if hasattr(picture, "__array__") else picture


def _is_one(pictures: Any) -> bool:
    # An opened file is an iterable too, of its lines.
    one = isinstance(pictures, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image))
    return one or callable(getattr(pictures, "read", None))


def _known(on_error: OnError) -> OnError:
    if on_error not in ("raise", "skip"):
        raise UsageError(f"on_error {on_error!r}; wanted raise or skip")
    return on_error


def _unstacked(array: NDArray[Any], height: int, width: int, channels: int) -> list[NDArray[Any]] | None:
    """The pictures of an array of several; None for an array that is one."""
    shape = "×".join(map(str, array.shape)) or "a single number"
    if array.ndim == 2 and array.shape[1] in (height * width, height * width * channels):
        each = (height, width) if array.shape[1] == height * width else (height, width, channels)
        raise SourceError(
            f"an array of {shape} may be {array.shape[0]} flat pictures of {'×'.join(map(str, each))} or a single very wide "
            f"one; say which: array.reshape(-1, {', '.join(map(str, each))}), or array[..., None] for a single one"
        )
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4)):
        return None
    if array.ndim not in (3, 4):
        raise SourceError(f"an array of {shape} is neither a picture nor pictures; wanted H×W, H×W×C, N×H×W or N×H×W×C")
    return _of_one_scale(array) if np.issubdtype(array.dtype, np.floating) and array.size else list(array)


def _of_one_scale(array: NDArray[np.floating[Any]]) -> list[NDArray[Any]]:
    """Pictures of floats. Their scale is one decision for the whole array: a dark picture among bright ones stays dark.
    Pictures that no scale fits have no part in it and stay as they are, to be refused one by one."""
    axes = tuple(range(1, array.ndim))
    lowest, highest = array.min(axes), array.max(axes)  # NaN where any pixel is
    sound = (lowest >= -SLACK) & (highest <= 255)
    top = highest[sound].max(initial=0)
    if are_shares(float(top)):
        return list(array)
    return [
        np.rint(np.maximum(one, 0)).astype(np.uint8) if fits else one for one, fits in zip(array, sound, strict=True)
    ]


def _file(name: str | os.PathLike[str]) -> bytes:
    try:
        return read_file(name)
    except OSError as error:
        raise SourceError((error.strerror or str(error)).lower()) from None
    except ValueError:  # a NUL in the name
        raise SourceError("no file can have this name") from None


def _from_pillow(image: Image.Image) -> NDArray[np.uint8]:
    # The same policy as for files: an image that Pillow opened and nobody turned is turned here.
    bits = png.bits_of(image)
    load(image)
    if bits and "transparency" in image.info:
        image = image.copy()  # the caller's stays as it is
        image.info["transparency"] = png.as_8_bits(bits, image.mode, image.info["transparency"])
    return turn(to_pixels(image), orientation(exif_of(image)))
