"""What a run will do, decided before it starts: network, size, recipe, flags; each choice said with its reason.

Precedence, later wins: 1. defaults of `Options`; 2. the recipe; 3. the flags that the user gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deeper.distortions import AnyDistortion, parse
from deeper.errors import UsageError, nearest
from deeper.images import Preprocess
from deeper.models.architecture import Architecture
from deeper.records import Dataset
from deeper.runs.dataset import largest_side
from deeper.training import recipes
from deeper.training.options import Options
from deeper.values import from_plain, to_plain

if TYPE_CHECKING:
    from deeper.runs.folder import Config

# Pictures up to this many pixels on their longer side get NielsenNet, larger ones an Inception.
SMALL_PICTURE = 40


@dataclass(frozen=True)
class Plan:
    """Options, input size, and one line for each choice that was made for the user."""

    options: Options
    height: int
    width: int
    reasons: tuple[str, ...]


def default_model(dataset: Dataset) -> tuple[str, str]:
    """The network for a dataset, and why."""
    side = largest_side(dataset)
    if side <= SMALL_PICTURE:
        return "nielsen", f"NielsenNet, because the pictures are at most {side} pixels large (choose with --model)"
    return "inception_v3", f"Inception v3, because the pictures are up to {side} pixels large (choose with --model)"


def _override(plain: dict[str, Any], assignments: Mapping[str, Any]) -> dict[str, Any]:
    """Set dotted names in nested plain data: `{"optimizer.rate": 0.1}`. None values are left out."""
    result = dict(plain)
    for dotted, value in assignments.items():
        if value is None:
            continue
        head, _, rest = dotted.partition(".")
        if rest:
            inner = result.get(head, {})
            if not isinstance(inner, Mapping):
                raise UsageError(f"{dotted}: {head} has no parts to set")
            result[head] = _override(dict(inner), {rest: value})
        else:
            result[head] = value
    return result


def _distortions(
    recipe: Sequence[AnyDistortion], added: Sequence[str], removed: Sequence[str]
) -> tuple[AnyDistortion, ...]:
    by_name = {distortion.name: distortion for distortion in recipe}
    for name in removed:
        if name == "all":
            by_name.clear()
        elif name in by_name:
            del by_name[name]
        else:
            known = list(by_name) or ["none"]
            raise UsageError(f"--no-distort {name}: the recipe has no such distortion{nearest(name, known)}")
    for text in added:
        distortion = parse(text)
        by_name[distortion.name] = distortion
    return tuple(by_name.values())


def make_plan(
    dataset: Dataset,
    *,
    model: str | None = None,
    recipe: str | None = None,
    distort: Sequence[str] = (),
    no_distort: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide a run. `overrides`: dotted option names to values, e.g. `{"optimizer.rate": 0.01}`; None means not given.

    Raises: UsageError, for names or values that cannot be.
    """
    from deeper.models import MODELS, native_size

    reasons = []
    if model is None:
        model, why = default_model(dataset)
        reasons.append(why)
    elif ":" not in model and model not in MODELS:
        raise UsageError(f"no model {model!r}{nearest(model, MODELS)}; or give your own as package.module:Class")
    recipe = recipe or "fast"
    plain = recipes.load(recipe, model)
    if overrides and isinstance(overrides.get("optimizer"), str):
        # Another optimizer than the recipe's begins from its own defaults.
        plain["optimizer"] = {"name": overrides["optimizer"]}
        overrides = {key: value for key, value in overrides.items() if key != "optimizer"}
    plain = _override({**to_plain(Options()), **plain}, overrides or {})
    plain["model"] = model
    options = from_plain(Options, plain, f"recipe {recipe!r}")
    chosen = _distortions(options.distortions, distort, no_distort)
    options = from_plain(Options, {**plain, "distortions": to_plain(chosen)}, f"recipe {recipe!r}")
    sized, why_size = native_size(model)
    side = largest_side(dataset)
    if sized is None:
        sized, why_size = side, "the size of the pictures"
    elif model == "nielsen" and side <= SMALL_PICTURE:
        sized, why_size = max(side, 12), "the size of the pictures"
    height = options.height or sized
    width = options.width or sized
    if options.height is None and options.width is None:
        reasons.append(f"input {height}×{width}: {why_size} (choose with --size)")
    return Plan(options, height, width, tuple(reasons))


def architecture_of(config: Config, dataset: Dataset) -> Architecture:
    """The network of a run as a value."""
    return Architecture(
        model=config.options.model,
        classes=len(dataset.classes),
        channels=dataset.info.channels,
        height=config.height,
        width=config.width,
        arguments=dict(config.options.arguments),
    )


def preprocess_of(config: Config, dataset: Dataset) -> Preprocess:
    """From picture to the network's input, as the run does it."""
    return Preprocess(
        height=config.height,
        width=config.width,
        channels=dataset.info.channels,
        mode=config.options.fit,
        mean=dataset.info.mean,
        deviation=dataset.info.deviation,
    )
