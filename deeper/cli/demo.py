"""`deeper demo`: the main job in one command."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from deeper import files


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Build MNIST, train NielsenNet on it for one to four minutes, and test it once on the 10,000 test digits.

    Where MNIST is neither at hand (under $DEEPER_DATA or in the cache) nor to be downloaded and kept, the embedded set
    `digits` is used instead, and said.

    Example: deeper demo
    """

    out: Path | None = None
    """The run folder; runs/demo when not given (runs/demo-2, … when that is taken)."""
    source: str | None = None
    """Another source than mnist, for example digits."""
    epochs: float | None = None
    """Passes over the training digits; as many as the recipe says when not given. One takes some seconds."""
    seed: int = 0
    """Decides initial weights, order and distortions."""
    json: bool = False
    """Print one JSON object instead of text."""


def _free(stem: str) -> Path:
    return next(path for path in files.numbered(Path("runs") / stem) if not path.exists())


def main(arguments: Arguments) -> None:
    """Build, train, evaluate, and say what to try next."""
    from deeper.errors import DownloadError, StorageError, printable, typed
    from deeper.runs import Interrupts, dataset_for, evaluate_run, train
    from deeper.training.precision import choose_device, has_bf16

    def say(text: str) -> None:
        lines = "\n".join(printable(line, 2000) for line in text.splitlines())
        print(lines, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    source = arguments.source or "mnist"
    try:
        dataset = dataset_for(source, notice=say)
    except (DownloadError, StorageError) as error:
        if arguments.source:
            raise
        say(f"{error}\nMNIST is not at hand: running on `digits`, digits drawn from fonts, instead")
        source = "digits"
        dataset = dataset_for(source, notice=say)
    if not has_bf16(choose_device()):
        say("this processor has no bf16 arithmetic: expect two to four minutes of training instead of one")
    result = train(
        dataset,
        model="nielsen",
        recipe="fast",
        epochs=arguments.epochs,
        out=arguments.out or _free("demo"),
        seed=arguments.seed,
        quiet="progress" if arguments.json else False,
    )
    if result.reason == "interrupted":
        sys.exit(128 + (Interrupts.received or 2))
    evaluation = evaluate_run(result.run, split="test")
    run = result.run.path
    low, high = evaluation.interval
    if arguments.json:
        facts = {
            "source": source,
            "accuracy": evaluation.accuracy,
            "correct": evaluation.correct,
            "total": evaluation.total,
            "interval": [low, high],
            "training_seconds": round(result.seconds, 1),
            "run": str(run),
        }
        print(json.dumps(facts))
        return
    # `make demo` puts nothing on the path of who called it.
    deeper = "deeper" if shutil.which("deeper") else typed(sys.argv[0])
    name = {"mnist": "MNIST", "digits": "the embedded digits"}.get(source, printable(source))
    print(
        f"\nNielsenNet on {name}: {evaluation.accuracy:.2%} of {evaluation.total:,} test pictures "
        f"({evaluation.correct:,} correct; 95 % interval {low:.2%} to {high:.2%}) "
        f"after {result.seconds:.0f} s of training\n"
        f"the run is in {printable(run, 1000)}; try next:\n"
        f"  {deeper} evaluate {typed(run)}             which digits it gets wrong\n"
        f"  {deeper} board {typed(run)}                watch its training in TensorBoard\n"
        f"  {deeper} predict {typed(run)} FILE.png     classify a picture of your own"
    )
