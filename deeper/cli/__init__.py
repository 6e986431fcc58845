"""The command line: `deeper VERB …`. One short file per verb: parse, call the library, print.

A verb's module has `Arguments`, a dataclass that tyro turns into flags (its docstring is the help), and
`main(arguments)`. Modules are imported only when their verb is used, so that `deeper --help` is quick.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from importlib import import_module

from deeper.errors import DeeperError, MemoryShortageError, StorageError, UsageError, nearest, printable

# In the order in which people use them.
VERBS = {
    "demo": "train NielsenNet on MNIST (or on embedded digits) and test it: the tour in one command",
    "build": "pictures, a table, arrays or a named set → a checked dataset of TFRecords",
    "verify": "check every byte of a dataset, and repair it",
    "show-distortions": "draw what the training distortions do to your pictures",
    "audit": "tell before training which distortions which classes can bear; writes a policy",
    "train": "train a network on a source or dataset, or resume a run",
    "find-rate": "search the learning rate by a short training, with its plot",
    "learn-curve": "would more photographs help? accuracy at 25, 50 and 100 % of them",
    "board": "watch runs in TensorBoard",
    "evaluate": "judge a run on a split: accuracy with interval, per class, errors",
    "inspect": "find out why a run errs: which training distortion, with controls",
    "compare": "compare runs on the same pictures: paired tests, figure, table",
    "labels": "find doubtful labels, doubled pictures, leaks between splits, outliers",
    "review": "look at doubtful pictures in the browser: keep, relabel, exclude, unsure",
    "predict": "classify files with a trained run",
    "export": "write a run for other programs: ONNX, OpenVINO, int8, SavedModel; compared at once",
    "serve": "a prediction server with a page: HTTP, Open Inference Protocol, TensorFlow Serving's REST",
    "doctor": "what is installed, what this machine offers, and a self-test",
    "models": "list the networks, print one layer by layer, or draw it on one page",
    "completion": "teach bash, zsh or fish to complete verbs, flags, names and paths",
}

EXIT_CODES = """exit codes:
  0 done                          5 run unusable or in the way     10 an optional package is missing
  1 unexpected error              6 bundle damaged or refused      11 weights unusable or another network's
  2 wrong option or value         7 training diverged              12 out of memory
  3 pictures or labels unusable   8 download failed                130 interrupted (SIGINT), work saved
  4 dataset unfit or in the way   9 disk full or not writable      143 interrupted (SIGTERM), work saved"""


def help_text() -> str:
    """What `deeper --help` prints."""
    width = max(map(len, VERBS))
    lines = [
        "deeper: train an Inception on your own pictures, find out why it errs, and ship it",
        "",
        "usage: deeper VERB …        deeper VERB --help explains a verb, with an example",
        "",
        *(f"  {verb:<{width}}  {what}" for verb, what in VERBS.items()),
        "",
        "the way through:",
        "  deeper build my_photos --out datasets/mine     a folder with one sub-folder per class",
        "  deeper train datasets/mine --out runs/first    then: deeper board runs/first",
        "  deeper evaluate runs/first                     then: deeper predict runs/first photo.jpg",
        "",
        EXIT_CODES,
    ]
    return "\n".join(lines)


def greeting() -> str:
    """What `deeper` alone prints: the way through, in the order in which it is gone."""
    way = {
        "deeper demo": "see it work: handwritten digits, one to four minutes",
        "deeper build my_photos --out datasets/mine": "your pictures, one sub-folder per class",
        "deeper train datasets/mine --out runs/first": "chooses network and recipe, says why; Ctrl-C saves",
        "deeper evaluate runs/first": "how good it is, and which pictures it gets wrong",
        "deeper inspect runs/first": "why: which training distortion its errors look like",
        "deeper predict runs/first photo.jpg": "use it; `deeper export` and `deeper serve` ship it",
    }
    width = max(map(len, way))
    return "\n".join(
        [
            "deeper: train an Inception on your own pictures, find out why it errs, and ship it",
            "",
            *(f"  {command:<{width}}  {what}" for command, what in way.items()),
            "",
            "deeper --help lists every verb, deeper VERB --help explains one, deeper doctor looks at this machine",
        ]
    )


def _run(verb: str, rest: list[str]) -> None:
    from deeper.cli.parsing import parse

    module = import_module(f"deeper.cli.{verb.replace('-', '_')}")
    module.main(parse(module.Arguments, rest, f"deeper {verb}"))


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Exits with the codes of `EXIT_CODES`; a deliberate error is one line on standard error."""
    words = sys.argv[1:] if arguments is None else arguments
    verb, rest = (words[0], words[1:]) if words else ("", [])
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Arrows, and other people's class names, in a terminal that has no signs for them.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if not verb:
            print(greeting())
        elif verb == "help" and rest[:1] and rest[0] in VERBS:
            _run(rest[0], ["--help"])
        elif verb in ("-h", "--help", "help"):
            print(help_text())
        elif verb in ("-V", "--version", "version"):
            from deeper import __version__

            print(f"deeper {__version__}")
        elif verb not in VERBS:
            known = ["--help", "--version"] if verb.startswith("-") else VERBS
            raise UsageError(f"no such verb{nearest(verb, known)} (deeper --help explains them)")
        else:
            _run(verb, rest)
        _flush()
    except DeeperError as error:
        _fail(verb, str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not an error.
        _forget_output()
    except KeyboardInterrupt:
        _fail(verb, "interrupted", 130)
    except MemoryError:
        _fail(verb, "out of memory; free some, or give it less at once", MemoryShortageError.exit_code)
    except OSError as error:
        _forget_output()
        place = f" ({printable(error.filename)})" if error.filename else ""
        _fail(
            verb,
            f"{error.strerror or error}{place}; check the path, its permissions and the free space",
            StorageError.exit_code,
        )
    finally:
        if arguments is None:
            # The process ends: a second Ctrl-C would now only print a traceback of the interpreter's own clearing up.
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _flush() -> None:
    """Now, while what goes wrong with it can still be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _forget_output() -> None:
    """What cannot be written is not tried again when the interpreter ends, which would complain and exit with a code of
    its own."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(verb: str, message: str, code: int) -> None:
    line = " ".join(message.split())
    print(f"deeper {printable(verb)}: {line}", file=sys.stderr)
    raise SystemExit(code)
