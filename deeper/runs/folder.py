"""The run folder: what a run is on disk, and how to open one.

RUN/config.toml       options, dataset, frozen step count: enough to run it again
RUN/metrics.jsonl     every number that was shown
RUN/tensorboard/      event files
RUN/checkpoints/      states, for resuming
RUN/bundle/           the finished artefact
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tomli_w

from deeper import checkpoint, files
from deeper.errors import RunError, UsageError, nearest_path, printable, typed
from deeper.records import Dataset
from deeper.runs.machine import Machine
from deeper.runs.origin import Origin
from deeper.training.options import Options
from deeper.values import from_plain, to_plain

if TYPE_CHECKING:
    from torch import nn

    from deeper.images import Preprocess
    from deeper.models.architecture import Architecture

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Which part of a k-fold run this is: training pictures whose draw falls into `index` of `count` validate.

    `drawn`: `groups` takes groups whole and of each class an equal part; `pictures` drew each picture by itself, as
    runs did that do not say which.
    """

    index: int
    count: int
    drawn: Literal["groups", "pictures"] = "groups"


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What of its dataset a network was built for: a run can be judged elsewhere where the dataset is gone."""

    classes: tuple[str, ...]
    channels: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @staticmethod
    def of(dataset: Dataset) -> PictureFacts:
        info = dataset.info
        return PictureFacts(
            classes=info.classes, channels=info.channels, mean=tuple(info.mean), deviation=tuple(info.deviation)
        )


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `config.toml` holds."""

    format_version: int = FORMAT_VERSION
    dataset: str
    """Path of the dataset folder, relative to the run folder where both share a root."""
    dataset_hash: str
    pictures: PictureFacts | None = None
    """None in runs of before they noted it: then the dataset must still be there."""
    steps: int
    """Steps of the whole run; fixed when it began, also by `--minutes`."""
    stage_steps: tuple[int, ...] = ()
    """Of each stage, where the picture size changes; they add up to `steps`."""
    height: int
    width: int
    precision: str
    device: str
    fold: Fold | None = None
    share: float | None = None
    """Of each class's training pictures, how much is trained on; None: all."""
    policy: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    machine: Machine | None = None
    """What the run was begun on; None in runs of before they noted it."""
    weights: Origin | None = None
    """What the run began with; None: random weights."""
    options: Options

    @property
    def counts(self) -> tuple[int, ...]:
        """Steps of each stage; none until they are fixed."""
        return self.stage_steps or ((self.steps,) if self.steps else ())


@dataclass(frozen=True)
class Loaded:
    """A run's network with the weights of one checkpoint."""

    model: nn.Module
    """In evaluation mode, on the processor."""
    architecture: Architecture
    """What it was built from."""
    preprocess: Preprocess
    """How any picture becomes its input."""
    classes: tuple[str, ...]
    """Names in the order of the logits."""
    step: int
    """Of the checkpoint."""


def is_run(path: Path) -> bool:
    """Whether `path` holds a run."""
    return (path / "config.toml").is_file()


class Run:
    """A run folder, opened. Raises: RunError, when there is none or its config cannot be read."""

    path: Path
    """The folder."""
    config: Config
    """What its `config.toml` holds: all options, the dataset, the frozen number of steps."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not is_run(self.path):
            what = "no such folder" if not self.path.exists() else "no config.toml in it"
            raise RunError(
                f"{printable(self.path)} is no run ({what}); make one with `deeper train SOURCE --out {typed(self.path)}`"
                f"{'' if self.path.exists() else nearest_path(self.path)}"
            )
        try:
            plain = tomllib.loads((self.path / "config.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{printable(self.path)}/config.toml cannot be read ({printable(error)}); train again into a new folder"
            ) from None
        if plain.get("format_version") != FORMAT_VERSION:
            raise RunError(
                f"{printable(self.path)} has format {plain.get('format_version')!r}, this version reads {FORMAT_VERSION}; "
                "use the version that wrote it"
            )
        if isinstance(plain.get("fold"), dict):
            plain["fold"].setdefault("drawn", "pictures")
        try:
            self.config = from_plain(Config, plain, f"{printable(self.path)}/config.toml")
        except UsageError as error:
            raise RunError(f"{error}; put the old config.toml back, or train again into a new folder") from None

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.path / "checkpoints"

    @property
    def bundle_path(self) -> Path:
        """Where its bundle lies once there is one."""
        return self.path / "bundle"

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.resolve().name

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, rising."""
        return checkpoint.steps(self.checkpoints)

    def dataset(self) -> Dataset:
        """The dataset that the run was trained on. Raises: DatasetError; RunError, when it has changed since."""
        place = (self.path / self.config.dataset).resolve()
        # As its owner would type it: from here where it lies below, not by way of the run.
        dataset = Dataset(place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place)
        if dataset.info.hash != self.config.dataset_hash:
            raise RunError(
                f"the dataset {printable(dataset.path)} is no longer the one that {printable(self.path)} was trained on; "
                "put the old one back, or train anew"
            )
        return dataset

    def step_of(self, which: str | int) -> int:
        """The step that `best`, `last` or a number names. Raises: RunError, when it has no checkpoint, or for another word."""
        known = self.steps()
        if not known:
            raise RunError(f"{printable(self.path)} has no checkpoint yet; let it train to the end of an epoch")
        if which == "last":
            return known[-1]
        if which == "best":
            facts, _ = checkpoint.read(self.checkpoints, known[-1])
            best = facts.get("best_step")
            return best if best in known else known[-1]
        try:
            return int(which)
        except ValueError:
            raise RunError(
                f"no checkpoint {which!r}: wanted best, last or a step ({', '.join(map(str, known))})"
            ) from None

    def load(self, which: Literal["best", "last"] | int | str = "best") -> Loaded:
        """The network with the weights of a checkpoint (the averaged ones where the run averages).

        Raises: RunError, when there is no such checkpoint or it is damaged.
        """
        from deeper.models import create
        from deeper.runs.plan import architecture_of, preprocess_of

        step = self.step_of(which)
        weights = checkpoint.weights(self.checkpoints, step)
        pictures = self.config.pictures or PictureFacts.of(self.dataset())
        architecture = architecture_of(self.config, pictures)
        network = create(architecture)
        network.load_state_dict(weights)
        return Loaded(network.eval(), architecture, preprocess_of(self.config, pictures), pictures.classes, step)


def write_config(path: Path, config: Config) -> None:
    """Write `config.toml` atomically. Raises: as `as_toml`; StorageError."""
    files.write_bytes(path / "config.toml", as_toml(config))


def as_toml(config: Config) -> bytes:
    """What `config.toml` holds. Raises: RunError, for a path in it whose bytes are no UTF-8, which TOML cannot hold."""
    text = tomli_w.dumps(to_plain(config))
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        line = text[: error.end].rpartition("\n")[2] + text[error.end :].partition("\n")[0]
        raise RunError(
            f"config.toml would hold {printable(line)}, which is no UTF-8: rename that file or folder"
        ) from None


def relative_dataset(dataset: Path, run: Path) -> str:
    """The dataset's path as seen from the run folder, so that both can move together."""
    return os.path.relpath(dataset.resolve(), run.resolve())
