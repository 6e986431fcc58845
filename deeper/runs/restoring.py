"""Going on with a run: its newest sound checkpoint, where `config.toml` still says what it was trained by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from deeper import checkpoint
from deeper.errors import RunError, printable
from deeper.monitor.metrics_file import read
from deeper.runs import estimate
from deeper.runs.folder import Config, Run
from deeper.training.state import State
from deeper.values import to_plain

# Options that change nothing that is trained, and what a checkpoint makes superfluous.
FREE = frozenset({"keep", "report_every", "detail_every", "checkpoint_every", "weights"})


def training_facts(config: Config) -> dict[str, Any]:
    """What a checkpoint remembers of the training that it is a state of, as plain data."""
    options = {name: value for name, value in to_plain(config.options).items() if name not in FREE}
    others = ("height", "width", "precision", "fold", "share", "policy", "stage_steps")
    facts = {**options, **{name: to_plain(getattr(config, name)) for name in others}}
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def is_finished(run: Run) -> bool:
    """Whether its training has ended, by itself."""
    ends = [line for line in read(run.path / "metrics.jsonl") if line.get("event") == "finished"]
    return bool(ends) and ends[-1].get("reason") != "interrupted"


def restore(state: State, run: Run, config: Config, say: Callable[[str], None]) -> None:
    """Load the newest checkpoint that can be read into `state`; where the run never had one, begin at step 0.

    Raises: RunError, where nothing can be read of a run that had more than that to lose, and as `State.load`.
    """
    there = run.steps()
    for step in reversed(there):
        try:
            facts, tensors = checkpoint.read(run.checkpoints, step)
        except RunError as error:
            say(f"{error}; taking the one before")
            continue
        if not state.is_finite(tensors):
            say(f"the weights of the checkpoint of step {step:,} are not finite; taking the one before")
            continue
        _refuse_edited(run, facts.get("training"), training_facts(config))
        state.load(facts, tensors, planned=config.steps)
        say(estimate.going_on(state))
        return
    where = printable(run.path)
    if config.steps == 0:
        raise RunError(f"{where} was never begun; delete it and train again")
    if there:
        raise RunError(f"no checkpoint of {where} can be read; train again into a new folder")
    if is_finished(run):
        raise RunError(
            f"{where} is finished and its checkpoints are gone: there is nothing to go on from, and its bundle stays as it is; "
            "train into a new folder"
        )
    say("it has no checkpoint yet: beginning at step 0")


def _refuse_edited(run: Run, then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """`then`: None in checkpoints of before they noted it. Raises: RunError."""
    if then is None:
        return
    # An option that one of the two versions does not know has its default there.
    others = sorted(name for name in then.keys() & now.keys() if then[name] != now[name])
    if others:
        name = others[0]
        raise RunError(
            f"{printable(run.path)}/config.toml has another {', '.join(others)} than its checkpoint ({name}: "
            f"{printable(json.dumps(now[name]), 60)}, was {printable(json.dumps(then[name]), 60)}); put the old config.toml "
            "back, or train again into a new folder"
        )
