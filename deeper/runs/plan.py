"""What a run will do, decided before it starts: network, size, recipe, flags; each choice said with its reason.

Precedence, later wins: 1. defaults of `Options`; 2. the recipe; 3. the user's own recipe; 4. the flags that the user gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeper.distortions import AnyDistortion, parse
from deeper.download import Progress
from deeper.errors import DatasetError, UsageError, nearest, printable
from deeper.images import Preprocess
from deeper.models.architecture import Architecture
from deeper.records import Dataset
from deeper.runs.dataset import largest_side
from deeper.training import recipes
from deeper.training.course import Sized, sized
from deeper.training.options import NOTHING, Options
from deeper.training.stages import own_size
from deeper.values import from_plain, to_plain

if TYPE_CHECKING:
    from deeper.runs.folder import Config, PictureFacts
    from deeper.runs.initial import Initial

# Pictures up to this many pixels on their longer side get NielsenNet where nothing speaks for the small Inception.
SMALL_PICTURE = 40
# Where a recipe is fitted to a small dataset, its batch is halved until an epoch has so many steps, down to this batch.
STEPS_PER_EPOCH, SMALLEST_BATCH = 20, 16


@dataclass(frozen=True)
class Plan:
    """Options, input size, and one line for each choice that was made for the user."""

    options: Options
    height: int
    width: int
    reasons: tuple[str, ...]
    initial: Initial | None = None
    """The weights to begin with, where not random."""


def default_model(dataset: Dataset, recipe: str | None, shown: int | None = None) -> tuple[str, str]:
    """The network for a dataset, and why. `shown`: pixels of the longer side of the input, where that was asked for."""
    from deeper.models import MODELS

    side, size = shown, f"the pictures are to be shown at {shown} pixels"
    if side is None:
        side = largest_side(dataset)
        size = f"the pictures are at most {side} pixels large"
    small, colour = side <= SMALL_PICTURE, dataset.info.channels == 3
    fits = side <= MODELS["inception_small"].largest_own and recipes.made_for(recipe or "fast", "inception_small")
    if fits and (not small or colour or recipe == "best"):
        also = "" if not small else " and in colour" if colour else " and recipe best takes its time"
        return "inception_small", f"the small Inception, because {size}{also} (choose with --model)"
    if small:
        return "nielsen", f"NielsenNet, because {size} (choose with --model)"
    return "inception_v3", f"Inception v3, because {size.replace('at most', 'up to')} (choose with --model)"


def _shown(given: Mapping[str, Any]) -> int | None:
    """Pixels of the input's longer side, where they are asked for."""
    stages = given.get("stages")
    last = stages[-1] if isinstance(stages, (list, tuple)) and stages else None
    if isinstance(last, Mapping) and isinstance(last.get("size"), int):
        return int(last["size"])
    height, width = given.get("height"), given.get("width")
    return max(height, width) if isinstance(height, int) and isinstance(width, int) else None


def _override(plain: dict[str, Any], assignments: Mapping[str, Any]) -> dict[str, Any]:
    """Set dotted names in nested plain data: `{"optimizer.rate": 0.1}`. None values are left out, `NOTHING` sets None."""
    result = dict(plain)
    for dotted, value in assignments.items():
        if value is None:
            continue
        head, _, rest = dotted.partition(".")
        if rest:
            inner = result.get(head)
            inner = {} if inner is None else inner
            if not isinstance(inner, Mapping):
                raise UsageError(f"{dotted}: {head} has no parts to set")
            result[head] = _override(dict(inner), {rest: value})
        else:
            result[head] = None if value is NOTHING else value
    return result


def _exchange(plain: dict[str, Any], asked: dict[str, Any]) -> None:
    """Where another optimizer or schedule than the recipe's is asked for, let it begin from its own defaults: the
    recipe's numbers mean nothing to it."""
    for kind in ("optimizer", "schedule"):
        name = asked.pop(kind) if isinstance(asked.get(kind), str) else asked.get(f"{kind}.name")
        if isinstance(name, str) and name != plain[kind]["name"]:
            plain[kind] = {"name": name}


def _given(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, without what is only to be taken away."""
    return {name: value for name, value in asked.items() if value is not NOTHING}


def _changed(plain: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """`plain` with what a person asks for: in a recipe of their own, or above that by flags."""
    plain, asked, given = dict(plain), dict(asked), _given(asked)
    if "epochs" in given and "minutes" in given:
        raise UsageError("both epochs and minutes were given; give the one that should decide")
    _exchange(plain, asked)
    if "epochs" in given:
        plain["minutes"] = None
    if "batch" in given:
        # A batch that was asked for holds at every size.
        plain["stages"] = [{**stage, "batch": None} for stage in plain.get("stages", [])]
    return _override(plain, asked)


def _frozen_for_nothing(given: Mapping[str, Any], model: str) -> list[str]:
    """What is to be said of layers that are kept at their random weights. A network of one's own may come with others."""
    if ":" in model:
        return []
    keeps = (("freeze_epochs", 0), ("freeze_until", None), ("batch_norm", "train"))
    asked = [name for name, none in keeps if given.get(f"fine_tuning.{name}") not in (None, none)]
    return [f"{' and '.join(asked)}: what is kept are random weights (--weights gives others)"] if asked else []


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
    recipe: str | Path | None = None,
    distort: Sequence[str] = (),
    no_distort: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Decide a run. `recipe`: a name, or the path of one's own. `overrides`: dotted option names to values, e.g.
    `{"optimizer.rate": 0.01}`; None means not given, `NOTHING` that the option is to be None whatever the recipe
    says. Another `optimizer` or `schedule`, by its name alone, begins from its own defaults; early stopping keeps
    the best weights unless `keep_best` is given too.
    `progress(done, total)`: bytes of weights that are downloaded.

    Raises: UsageError, for names or values that cannot be; DatasetError, for a dataset with nothing to tell apart; as
    `open_initial`, for weights.
    """
    from deeper.models import MODELS, native_size
    from deeper.runs.initial import adopted, open_initial

    if len(dataset.classes) < 2:
        raise DatasetError(
            f"{printable(dataset.path)} has a single class, {printable(dataset.classes[0], 60)!r}: there is nothing to "
            "tell apart; give each kind of picture a folder of its own, at least two, and build again"
        )
    if not dataset.info.splits["train"].count:
        raise DatasetError(
            f"{printable(dataset.path)} has no picture to train on, only {', '.join(dataset.info.splits)} pictures; give a "
            "source with training pictures"
        )
    asked = {name: value for name, value in (overrides or {}).items() if value is not None}
    recipe = None if recipe is None else str(recipe)
    title = recipe
    own: dict[str, Any] = {}
    if recipe is not None and recipe.endswith(recipes.SUFFIX):
        title = Path(recipe).stem
        recipe, own = recipes.own(Path(recipe))
    given = {**_given(own), **_given(asked)}
    for decisive in ("model", "recipe"):
        if decisive in asked:
            raise UsageError(
                f"{decisive} is no option among others: give it by itself (--{decisive}, in Python {decisive}='…')"
            )
    reasons = []
    initial = None
    if (name := given.get("weights")) is not None:
        initial = open_initial(str(name), model=model, progress=progress)
        model = initial.weights.model
        reasons.append(initial.weights.describe())
    if model is None:
        model, why = default_model(dataset, recipe, _shown(given))
        reasons.append(why)
    elif ":" not in model and model not in MODELS:
        raise UsageError(f"no model {model!r}{nearest(model, MODELS)}; or give your own as package.module:Class")
    if recipe is None:
        recipe = "fast" if initial is None else "fine-tune"
        if initial is not None:
            reasons.append("recipe fine-tune, because the weights were trained before (choose with --recipe)")
    if initial is None:
        reasons += _frozen_for_nothing(given, model)
        if recipe == "fine-tune":
            reasons.append(
                "recipe fine-tune is made for weights that were trained before; these are random (--weights)"
            )
    plain = recipes.load(recipe, model, with_weights=initial is not None)
    plain = {**to_plain(Options()), **plain}
    where = f"recipe {title or recipe!r}" + (" with your options" if asked else "")
    try:
        plain = _changed(plain, own)
    except UsageError as error:
        raise UsageError(f"recipe {title!r}: {error}") from None
    plain = _changed(plain, asked)
    plain["model"] = model
    plain["recipe"] = title or recipe
    options = from_plain(Options, plain, where)
    if None in options.arguments.values():
        raise UsageError(
            "an argument of the network cannot be null, for config.toml has none: leave it out for its default"
        )
    chosen = _distortions(options.distortions, distort, no_distort)
    options = from_plain(Options, {**plain, "distortions": to_plain(chosen)}, where)
    if options.early_stopping is not None and "keep_best" not in given:
        # Those that it stopped at validated worse.
        options = replace(options, keep_best=True)
    options, why_length = _fitting(options, dataset, given)
    if why_length:
        reasons.append(why_length)
    side_given = own_size(options.stages)
    if side_given is not None and options.height is None and options.width is None:
        options = replace(options, height=side_given, width=side_given)
    native, why_size = native_size(model)
    size = (native, native) if native is not None else None
    if initial is not None:
        options = adopted(options, initial, given)
        if initial.size is not None:
            size, why_size = initial.size, "the size the weights were trained at"
    side = largest_side(dataset)
    if size is None:
        size, why_size = (side, side), "the size of the pictures"
    elif initial is None and native is not None and side <= MODELS[model].largest_own:
        size, why_size = (max(side, MODELS[model].smallest),) * 2, "the size of the pictures"
    height = options.height or size[0]
    width = options.width or size[1]
    if options.height is None and options.width is None:
        reasons.append(f"input {height}×{width}: {why_size} (choose with --size)")
    stages_for(options, height, width)
    return Plan(options, height, width, tuple(reasons), initial)


def stages_for(options: Options, height: int, width: int) -> tuple[Sized, ...]:
    """The stages of a run of this input size. Raises: UsageError, for one that the network cannot take."""
    from deeper.models import MODELS

    entry = MODELS.get(options.model)
    stages = sized(
        options.stages,
        height=height,
        width=width,
        batch=options.batch,
        smallest=entry.smallest if entry else 1,
        model=options.model,
    )
    if entry and entry.one_size and len({stage.size for stage in stages}) > 1:
        raise UsageError(
            f"{options.model} takes only the size it was built for: leave the sizes out (--sizes off), or choose an "
            "Inception (--model inception_v3)"
        )
    return stages


def stages_of(config: Config) -> tuple[Sized, ...]:
    """The stages of a run, at least one."""
    return stages_for(config.options, config.height, config.width)


def _fitting(options: Options, dataset: Dataset, given: Mapping[str, Any]) -> tuple[Options, str]:
    """A recipe's batch and epochs for a dataset that is smaller than those it was made on, and why they changed."""
    if not options.least_steps:
        return options, ""
    pictures = dataset.info.splits["train"].count
    batch = options.batch
    if given.get("batch") is None:
        while batch > SMALLEST_BATCH and pictures < batch * STEPS_PER_EPOCH:
            batch //= 2
    per_epoch = max(1, pictures // batch)
    epochs = options.epochs
    if given.get("epochs") is None and given.get("minutes") is None:
        epochs = max(epochs, float(-(-options.least_steps // per_epoch)))
    if (batch, epochs) == (options.batch, options.epochs):
        return options, ""
    fitted = replace(options, batch=batch, epochs=epochs)
    changes = []
    if batch != options.batch:
        changes.append(f"batches of {batch} where the recipe has {options.batch} (choose with --batch)")
    if epochs != options.epochs:
        changes.append(f"{epochs:g} epochs where it has {options.epochs:g} (choose with --epochs)")
    return fitted, f"{' and '.join(changes)}, because {pictures:,} training pictures are few"


def architecture_of(config: Config, pictures: PictureFacts) -> Architecture:
    """The network of a run as a value."""
    return Architecture(
        model=config.options.model,
        classes=len(pictures.classes),
        channels=pictures.channels,
        height=config.height,
        width=config.width,
        arguments=dict(config.options.arguments),
    )


def preprocess_of(config: Config, pictures: PictureFacts) -> Preprocess:
    """From picture to the network's input, as the run does it; as the weights that it began with want it."""
    options = config.options
    own = Preprocess(
        height=config.height,
        width=config.width,
        channels=pictures.channels,
        mode=options.fit,
        crop=options.crop,
        mean=options.mean or pictures.mean,
        deviation=options.deviation or pictures.deviation,
    )
    return own if config.weights is None else config.weights.show(own)
