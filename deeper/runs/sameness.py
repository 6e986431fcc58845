"""Whether a run that is there already is the training that is asked for: else its figures would pass for others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeper.errors import RunError, printable
from deeper.records import Dataset
from deeper.runs.folder import Config, Fold, Run
from deeper.runs.origin import Origin
from deeper.training.options import Options
from deeper.values import to_plain


def refuse_other(
    path: Path,
    dataset: Dataset,
    wanted: Options,
    *,
    fold: Fold | None = None,
    share: float | None = None,
    policy: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
) -> None:
    """`origin`: of the weights that it would begin with; under their name may lie others than then.

    Raises: RunError, when the run at `path` is not the one that would be trained.
    """
    config = Run(path).config
    if different := differences(
        config, dataset.info.hash, wanted, fold=fold, share=share, policy=policy, origin=origin
    ):
        raise RunError(
            f"{printable(path)} was trained with another {', '.join(different)}; "
            "give the same options as then, or another --out"
        )


def differences(
    config: Config,
    dataset_hash: str,
    wanted: Options,
    *,
    fold: Fold | None,
    share: float | None,
    policy: Mapping[str, Any] | None,
    origin: Origin | None,
) -> list[str]:
    """Names of the options and facts in which a run's training is another than the one that is wanted."""
    there, here = to_plain(config.options), to_plain(wanted)
    different = sorted(name for name in {*here, *there} if there.get(name) != here.get(name))
    facts = {
        "dataset": config.dataset_hash == dataset_hash,
        "fold": config.fold == fold,
        "share": config.share == share,
        "policy": config.policy == policy,
        "weights": (config.weights and config.weights.sha256) == (origin and origin.sha256),
    }
    return different + [name for name, same in facts.items() if not same and name not in different]
