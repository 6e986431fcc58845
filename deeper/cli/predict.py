"""`deeper predict`."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from deeper import files
from deeper.errors import DeeperError, SourceError, StorageError, UsageError, printable

if TYPE_CHECKING:
    from deeper.prediction import Failed, Prediction
    from deeper.prediction.sorting import Frames, Sorter

# Pictures at once: large enough for speed, small enough that the first answers come soon.
BATCH = 64


ALL = 0


def _how_many(words: list[str]) -> int:
    if not words:
        return ALL
    if len(words) == 1 and words[0].isdecimal() and int(words[0]) > 0:
        return int(words[0])
    wrong = repr(" ".join(words))
    raise ValueError(f"invalid literal for int() with base 10: {wrong}; it stands behind the paths, alone or with one")


# A flag that may stand alone.
_HowMany = tyro.constructors.PrimitiveConstructorSpec(
    nargs="*",
    metavar="[INT]",
    instance_from_str=_how_many,
    is_instance=lambda value: isinstance(value, int),
    str_from_instance=lambda value: [str(value)],
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Classify pictures with a trained run. A bad file stops nothing; it is named at the end.

    Exits with 3 only when no picture at all could be classified.

    Example: deeper predict runs/first photos/ 'more/*.jpg' --top 3
    """

    run: tyro.conf.Positional[Path]
    """A run folder or a bundle."""
    paths: tyro.conf.Positional[tuple[str, ...]]
    """Files, folders (searched through as `deeper build` does), patterns, or - for a list of files on standard input. Of a
    video, a picture every --every seconds."""
    top: int = 1
    """How many classes to print for each picture."""
    json: bool = False
    """Print one JSON object: {"predictions": […], "failed": […], "not_copied": […]} (docs/json.md describes its keys)."""
    csv: bool = False
    """Print CSV: path, class, probability, and so on for --top, and why an answer is unsure."""
    engine: Literal["auto", "torch", "openvino", "onnx"] = "auto"
    """What runs the network: torch, or an export made by `deeper export`; auto takes a current OpenVINO export."""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    """auto is fp32."""
    tta: bool = False
    """Test-time augmentation: the answer is the average over eight views of each picture, moved or turned a little as in
    training, which takes eight times as long. Of the run's distortions those are used that its policy calls safe."""
    sort_into: Path | None = None
    """Copy each picture, and each frame of a video that is looked at, into a folder per class under this one; unsure ones
    under _unsure."""
    rank_uncertain: Annotated[int | None, _HowMany] = None
    """Print the pictures that the network is least decided about first, those worth labelling next; with a number only so
    many. Behind the paths."""
    every: float = 1.0
    """Seconds of video between two pictures; 0 takes all."""
    device: str = "auto"
    """cpu or cuda, for torch; auto takes a GPU where there is one."""
    model: str | None = None
    """The import path of a network of your own, where a bundle needs it."""


def main(arguments: Arguments) -> None:
    """Classify and print, file by file."""
    if arguments.json and arguments.csv:
        raise UsageError("give --json or --csv, not both")
    if arguments.top < 1:
        raise UsageError(f"--top: wanted at least 1, got {arguments.top}")
    # Not `< 0`: NaN must not pass.
    if not 0 <= arguments.every < math.inf:
        raise UsageError(f"--every: wanted seconds from 0, got {arguments.every:g}")
    if not arguments.paths:
        raise UsageError("name at least one picture, folder or pattern, or - for a list on standard input")
    for stream in (sys.stdin, sys.stdout):
        # File names are bytes; those that are no UTF-8 pass through as they are.
        given = stream is sys.stdin
        if isinstance(stream, io.TextIOWrapper) and (given or codecs.lookup(stream.encoding).name == "utf-8"):
            stream.reconfigure(errors="surrogateescape")
    from deeper.cli.bar import bar
    from deeper.prediction import Classifier, Failed
    from deeper.prediction.inputs import pictures_of
    from deeper.prediction.ranking import rank_uncertain
    from deeper.prediction.sorting import Frames, Sorter
    from deeper.prediction.views import VIEWS

    classifier = Classifier(
        arguments.run,
        engine=arguments.engine,
        precision=arguments.precision,
        device=arguments.device,
        model=arguments.model,
        batch=BATCH,
        views=VIEWS if arguments.tta else 1,
    )
    if arguments.precision not in ("auto", classifier.precision):
        print(
            f"note: this processor has no {arguments.precision} arithmetic: {classifier.engine} runs {classifier.precision}",
            file=sys.stderr,
        )
    sorter = Sorter(arguments.sort_into, classifier.classes) if arguments.sort_into else None
    # Last: its first words stand on standard output from now on.
    printer = _Json(arguments.top) if arguments.json else _Csv(arguments.top) if arguments.csv else _Text(arguments.top)
    failed: list[Failed] = []
    uncopied: list[Failed] = []
    done = 0

    def classified() -> Iterator[Prediction]:
        nonlocal done
        # On a terminal the answers themselves show how far it is, where they are printed one by one.
        shown = arguments.rank_uncertain is None and sys.stdout is not None and sys.stdout.isatty()
        pictures = pictures_of(arguments.paths, arguments.every)
        with bar("classifying", show=not shown) as moved, closing(pictures):
            frames = Frames(sorter.folder) if sorter else None
            given = frames.held(pictures) if frames else pictures
            for number, result in enumerate(classifier.predict_many(given, on_error="skip")):
                moved(done + len(failed) + 1, None)
                if sorter and frames and (reason := _uncopied(sorter, frames, number, result)):
                    uncopied.append(Failed(result.source, reason))
                if isinstance(result, Failed):
                    failed.append(result)
                    continue
                done += 1
                yield result

    try:
        if arguments.rank_uncertain is None:
            for result in classified():
                printer.print(result)
        else:
            # Logits of a picture are small; the pictures themselves are not kept.
            kept = list(classified())
            for ranked in rank_uncertain(kept, arguments.rank_uncertain or None):
                printer.print(kept[ranked.index])
    except BrokenPipeError:
        raise  # nobody reads on
    except BaseException:
        # Ctrl-C, say: what is printed so far is a whole all the same.
        printer.finish(failed, uncopied)
        raise
    printer.finish(failed, uncopied)
    _report(arguments, done, failed, uncopied)


def _uncopied(sorter: Sorter, frames: Frames, number: int, one: Prediction | Failed) -> str | None:
    """Copy it, where it is a prediction; why that failed, where it did: it stops nothing. `number`: of the picture."""
    from deeper.prediction import Failed
    from deeper.prediction.answers import told

    try:
        frame = frames.take(number)
        if not isinstance(one, Failed):
            sorter.place(one, frame)
    except (DeeperError, OSError, MemoryError) as error:
        if not isinstance(one, Failed):
            return (error.strerror or str(error)).lower() if isinstance(error, OSError) else told(error)
    return None


def _report(arguments: Arguments, done: int, failed: list[Failed], uncopied: list[Failed]) -> None:
    if not done and not failed:
        raise SourceError(
            f"no picture found in {', '.join(map(printable, arguments.paths))}; name files, folders or patterns"
        )
    if not done:
        first = f"{printable(failed[0].source)}: {failed[0].reason}"
        spaces = (
            " (a path with spaces wants quotes)" if len(failed) > 1 and not os.path.exists(failed[0].source) else ""
        )
        several = f"none of the {len(failed):,} files could be classified; the first: " if len(failed) > 1 else ""
        raise SourceError(f"{several}{first}{spaces}")
    if failed:
        print(f"{len(failed):,} of {done + len(failed):,} files could not be classified:", file=sys.stderr)
    for one in failed:
        print(f"  {printable(one.source)}: {one.reason}", file=sys.stderr)
    if uncopied:
        first = f"{printable(uncopied[0].source)}: {uncopied[0].reason}"
        raise StorageError(
            f"{len(uncopied):,} of {done:,} classified pictures could not be copied; the first: {first}; their answers are "
            "printed, and what is copied already is not copied again by the next try"
        )


class _Text:
    """One line for each picture, at once."""

    def __init__(self, top: int) -> None:
        self.top = top

    def print(self, one: Prediction) -> None:
        answers = "   ".join(f"{printable(label, 60)} {probability:.1%}" for label, probability in one.top(self.top))
        # At once also into a pipe: whoever gives names one by one waits for answers one by one.
        print(f"{printable(one.source)}: {answers}{f'   unsure: {one.unsure}' if one.unsure else ''}", flush=True)

    def finish(self, failed: list[Failed], uncopied: list[Failed]) -> None:
        """Nothing is left to print."""


class _Csv:
    """A header and one row for each picture, at once."""

    def __init__(self, top: int) -> None:
        self.top = top
        numbers = [""] if top == 1 else [f"_{rank}" for rank in range(1, top + 1)]
        header = ["path", *(f"{name}{number}" for number in numbers for name in ("class", "probability")), "unsure"]
        sys.stdout.write(files.csv_line(header))

    def print(self, one: Prediction) -> None:
        answers = [cell for label, probability in one.top(self.top) for cell in (label, f"{probability:.6f}")]
        answers += [""] * (2 * self.top - len(answers))  # more were asked for than there are classes
        sys.stdout.write(files.csv_line([one.source, *answers, one.unsure]))
        sys.stdout.flush()

    def finish(self, failed: list[Failed], uncopied: list[Failed]) -> None:
        """Nothing is left to print."""


class _Json:
    """One object, written as it comes: memory does not grow with the number of pictures."""

    def __init__(self, top: int) -> None:
        self.top = top
        self.separator = ""
        print('{"predictions": [', end="")

    def print(self, one: Prediction) -> None:
        classes = [{"class": label, "probability": probability} for label, probability in one.top(self.top)]
        plain = {"path": one.source, "class": one.label, "probability": one.probability, "top": classes}
        plain["unsure"] = one.unsure or None
        print(f"{self.separator}{json.dumps(plain)}", end="", flush=True)
        self.separator = ",\n"

    def finish(self, failed: list[Failed], uncopied: list[Failed]) -> None:
        """Close the list and add the files that failed, and those that could not be copied."""
        lost, left = ([{"path": one.source, "reason": one.reason} for one in part] for part in (failed, uncopied))
        print(f'], "failed": {json.dumps(lost)}, "not_copied": {json.dumps(left)}}}')
