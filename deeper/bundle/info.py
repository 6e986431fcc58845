"""`bundle.json` as a value. Knows no torch: servers and engines without it read it too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deeper import files
from deeper.bundle import folder
from deeper.bundle.folder import DESCRIPTION, damaged
from deeper.bundle.folder import is_bundle as is_bundle
from deeper.errors import BundleError, UsageError, printable
from deeper.images import Appearance, Preprocess
from deeper.models.architecture import Architecture
from deeper.values import from_plain, to_plain

FORMAT_VERSION = 1
# Between machines and thread counts fp32 sums differ in the last bits (1e-6 of the largest logit); a wrong
# preprocessing or a damaged weight differs by far more.
GOLDEN_TOLERANCE = 1e-3
# No bundle may allow itself more.
LARGEST_TOLERANCE = 0.05
# Classes that the card names; it says how many more there are.
_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Info:
    """What `bundle.json` holds, described in docs/formats.md. None (null): not known, or not fitted yet.

    Raises: UsageError, for parts that contradict each other.
    """

    format_version: int = FORMAT_VERSION
    architecture: Architecture
    classes: tuple[str, ...]
    """Names in the order of the logits."""
    preprocess: Preprocess
    distortions: list[dict[str, Any]] = field(default_factory=list)
    """What the training pictures went through, in order."""
    policy: dict[str, Any] | None = None
    """Which classes each distortion left alone."""
    temperature: float | None = None
    """Divides the logits before the softmax; fitted on validation pictures."""
    threshold: float | None = None
    """Below this probability the answer is "unsure"."""
    familiarity: float | None = None
    """Below this log Σ exp(logit) the picture is unlike the training pictures, and the answer "unsure"."""
    appearance: Appearance | None = None
    """What training pictures look like: an input that is quite unlike is answered "unsure", with the reason."""
    dataset: dict[str, Any] = field(default_factory=dict)
    """Name, hash and counts per split of what it was trained on."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Headline numbers by split."""
    training: dict[str, Any] = field(default_factory=dict)
    """Recipe, step, epochs, seed, precision, options."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of deeper, torch and Python, when it was written."""
    weights_sha256: str = ""
    golden_sha256: str = ""
    golden_tolerance: float = GOLDEN_TOLERANCE
    """Largest allowed difference of a golden logit, as a share of the largest one (of 1, where all are smaller)."""
    card: str = ""
    """A short model card, in words."""

    def __post_init__(self) -> None:
        built, fit = self.architecture, self.preprocess
        if len(self.classes) != built.classes:
            raise UsageError(f"{len(self.classes)} class names for a network of {built.classes} classes")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise UsageError(f"two classes are named {printable(twice, 60)!r}")
        if (fit.height, fit.width, fit.channels) != (built.height, built.width, built.channels):
            raise UsageError(
                f"preprocess gives {fit.height}×{fit.width}×{fit.channels}, "
                f"the network takes {built.height}×{built.width}×{built.channels}"
            )
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"temperature {self.temperature}; wanted a number above 0")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold {self.threshold}; wanted a probability")
        if self.familiarity is not None and not math.isfinite(self.familiarity):
            raise UsageError(f"familiarity {self.familiarity}; wanted a number")
        if not 0 < self.golden_tolerance <= LARGEST_TOLERANCE:
            raise UsageError(f"golden_tolerance {self.golden_tolerance}; wanted at most {LARGEST_TOLERANCE}")

    def with_card(self) -> Info:
        """The same with its model card written from the other fields."""
        return replace(self, card=_card(self))

    def to_bytes(self) -> bytes:
        """The text of `bundle.json`. Its last key, `content_sha256`, is the hash of all others."""
        plain = to_plain(self)
        # None is left out by to_plain; a reader should see that the field exists.
        plain = {name: plain.get(name) for name in self.__dataclass_fields__}
        plain["content_sha256"] = _content_hash(plain)
        return (json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_info(path: str | Path) -> Info:
    """`bundle.json` of the bundle at `path`, checked. Raises: BundleError."""
    path = Path(path)
    with folder.opened(path) as handle:
        return info_from(path, handle)


def info_from(path: Path, handle: int) -> Info:
    """`bundle.json` of an opened folder, checked. Raises: BundleError."""
    data = folder.read(path, handle, DESCRIPTION, folder.LARGEST_DESCRIPTION)
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        raise damaged(path, f"{DESCRIPTION} is no JSON") from None
    if not isinstance(plain, dict):
        raise damaged(path, f"{DESCRIPTION} holds no table")
    version = plain.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise BundleError(
            f"the bundle {printable(path)} has format {version}, newer than {FORMAT_VERSION}, the newest that this "
            "version of deeper reads; update deeper"
        )
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise damaged(path, f"its format_version is {printable(repr(version), 40)}, no version of this format")
    given = plain.pop("content_sha256", None)
    if given != _content_hash(plain):
        raise damaged(path, f"{DESCRIPTION} was changed (its hash does not match)")
    try:
        return from_plain(Info, plain, DESCRIPTION)
    except UsageError as error:
        raise damaged(path, str(error)) from None


def _content_hash(plain: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON: sorted keys, no spaces, ASCII. Python's own NaN and Infinity, which JSON has not,
    are hashed like any text: they are refused where a number is wanted."""
    return files.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())


def _card(info: Info) -> str:
    architecture, training, dataset = info.architecture, info.training, info.dataset
    names = ", ".join(printable(name, 40) for name in info.classes[:_NAMED])
    more = f" and {len(info.classes) - _NAMED:,} more" if len(info.classes) > _NAMED else ""
    lines = [
        f"A {printable(architecture.model, 80)} network that tells {len(info.classes)} classes apart: {names}{more}.",
        f"Input: {info.preprocess.describe()}.",
    ]
    if dataset:
        counts = ", ".join(f"{count:,} {printable(name, 20)}" for name, count in dataset.get("counts", {}).items())
        recipe = f", recipe {printable(training['recipe'], 40)}" if training.get("recipe") else ""
        lines.append(f"Trained on {printable(dataset.get('name'), 80)} ({counts} pictures){recipe}.")
    used = ", ".join(printable(distortion.get("name"), 40) for distortion in info.distortions)
    lines.append(f"Training distortions: {used or 'none'}.")
    for split, numbers in info.metrics.items():
        low, high = numbers["interval"]
        lines.append(
            f"Accuracy on {numbers['total']:,} {split} pictures: {numbers['accuracy']:.2%} "
            f"(95 % interval {low:.2%} to {high:.2%})."
        )
    lines.append("It answers with one of its classes whatever it is shown: pictures of anything else are misread.")
    return " ".join(lines)
