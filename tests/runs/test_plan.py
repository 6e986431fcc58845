"""A recipe made on 55,000 pictures is fitted to a few hundred, unless the user said how long and in what batches."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from deeper.errors import UsageError
from deeper.runs.plan import make_plan, preprocess_of
from deeper.training import recipes
from deeper.training.optimizers import Sgd
from deeper.training.options import NOTHING, Options
from deeper.training.schedules import Cosine, OneCycle

FAST = recipes.load("fast", "nielsen")
EPOCHS, LEAST = FAST["epochs"], FAST["least_steps"]


def dataset(pictures: int, side: int = 28) -> SimpleNamespace:
    sizes = SimpleNamespace(largest_height=side, largest_width=side)
    info = SimpleNamespace(splits={"train": SimpleNamespace(count=pictures)}, sizes=sizes, channels=1)
    return SimpleNamespace(info=info, classes=("a", "b"))


@pytest.fixture(autouse=True)
def _sides(monkeypatch):
    import deeper.runs.plan as plan

    monkeypatch.setattr(plan, "largest_side", lambda dataset: dataset.info.sizes.largest_height)


def planned(pictures: int, **overrides):
    return make_plan(dataset(pictures), model="nielsen", recipe="fast", overrides=overrides)


def test_a_large_dataset_gets_the_recipe_as_it_is() -> None:
    plan = planned(55_000)
    least = -(-LEAST // (55_000 // FAST["batch"]))
    assert (plan.options.batch, plan.options.epochs) == (FAST["batch"], max(EPOCHS, least))


@pytest.mark.parametrize(
    ("pictures", "batch"), [(10_240, 512), (10_239, 256), (2_000, 64), (400, 16), (40, 16), (3, 16)]
)
def test_a_small_one_gets_smaller_batches_and_more_epochs(pictures, batch) -> None:
    plan = planned(pictures)
    per_epoch = max(1, pictures // plan.options.batch)
    assert plan.options.batch == batch
    assert LEAST <= plan.options.epochs * per_epoch < LEAST + per_epoch
    assert pictures >= 10_240 or any("--batch" in reason and "are few" in reason for reason in plan.reasons)


def test_what_the_user_gave_stays() -> None:
    assert planned(400, epochs=3).options.epochs == 3
    assert planned(400, epochs=3).options.batch == 16
    assert planned(400, batch=100).options.batch == 100
    plan = planned(400, batch=100, epochs=2)
    assert (plan.options.batch, plan.options.epochs) == (100, 2) and not any("--batch" in why for why in plan.reasons)
    assert planned(400, minutes=1).options.epochs == EPOCHS


def test_a_recipe_without_least_steps_is_left_alone() -> None:
    plan = make_plan(dataset(400), model="nielsen", recipe="guide")
    assert (plan.options.batch, plan.options.epochs) == (128, 233)


def test_a_recipe_decides_how_pixels_are_scaled_and_judged() -> None:
    pictures = SimpleNamespace(channels=3, mean=(0.1, 0.2, 0.3), deviation=(0.2, 0.2, 0.2))

    def shown(**options):
        config = SimpleNamespace(height=75, width=75, weights=None, options=Options(**options))
        return preprocess_of(config, pictures)

    assert (shown().mean, shown().crop) == ((0.1, 0.2, 0.3), 1.0)
    guide = shown(mean=(0.5,), deviation=(0.5,), crop=0.875)
    assert (guide.mean, guide.deviation, guide.crop) == ((0.5,) * 3, (0.5,) * 3, 0.875)


def test_null_takes_away_what_the_recipe_sets() -> None:
    kept, taken = planned(400, clip_norm=5.0), planned(400, averaging=NOTHING, clip_norm=NOTHING)
    assert kept.options.averaging is not None and kept.options.clip_norm == 5.0
    assert taken.options.averaging is None and taken.options.clip_norm is None
    assert taken.options == replace(kept.options, averaging=None, clip_norm=None), "and nothing else"
    # None is what was not given.
    assert planned(400, averaging=None).options.averaging == kept.options.averaging
    assert planned(400, weights=NOTHING, minutes=NOTHING).options.epochs == planned(400).options.epochs


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("batch", r"options\.batch: wanted int, got None"),
        ("optimizer.rate", r"options\.optimizer\.rate: wanted float, got None"),
        ("arguments.hidden", "an argument of the network cannot be null"),
    ],
)
def test_null_for_what_must_have_a_value_is_refused(name, message) -> None:
    with pytest.raises(UsageError, match=message):
        planned(400, **{name: NOTHING})


@pytest.mark.parametrize("name", ["model", "recipe"])
def test_what_decides_the_recipe_is_no_option(name) -> None:
    with pytest.raises(UsageError, match=f"{name} is no option among others: give it by itself"):
        planned(400, **{name: "best"})


def test_another_schedule_begins_from_its_own_defaults() -> None:
    recipe = planned(400).options.schedule
    assert recipe == OneCycle(peak_at=FAST["schedule"]["peak_at"])
    # The recipe's own by its name is the recipe's own.
    own = planned(400, schedule="one_cycle", optimizer="adamw").options
    assert own.schedule == recipe and own.optimizer == planned(400).options.optimizer
    for given in ({"schedule": "cosine"}, {"schedule.name": "cosine"}):
        assert planned(400, **given).options.schedule == Cosine()
        assert planned(400, **given, **{"schedule.floor": 0.1}).options.schedule == Cosine(floor=0.1)
    assert planned(400, **{"optimizer.name": "sgd"}).options.optimizer == Sgd()
    # The one that it is keeps what the recipe says of it.
    kept = planned(400, **{"schedule.name": "one_cycle", "optimizer.name": "adamw", "schedule.end": 0.1}).options
    assert kept.optimizer == planned(400).options.optimizer and kept.schedule == replace(recipe, end=0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "cosin"}, r"schedule: no 'cosin'; did you mean 'cosine'\?"),
        ({"schedule.name": "cosin"}, r"schedule: no 'cosin'; did you mean 'cosine'\?"),
        ({"schedule": "cosine", "schedule.peak_at": 0.3}, r"schedule: no option 'peak_at'; known: warm_up, floor"),
        ({"schedule": 5}, r"schedule: wanted a table whose name is one of constant, step, .*, got 5"),
    ],
)
def test_a_schedule_that_cannot_be_is_told_what_can(given, message) -> None:
    with pytest.raises(UsageError, match=message):
        planned(400, **given)


def test_early_stopping_keeps_the_best_however_it_is_asked_for() -> None:
    assert not planned(400).options.keep_best and planned(400, early_stopping=3).options.keep_best
    assert not planned(400, early_stopping=3, keep_best=False).options.keep_best
