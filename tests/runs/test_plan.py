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


def test_recipe_best_takes_the_better_network_for_small_pictures() -> None:
    plan = make_plan(dataset(400, side=32), recipe="best")
    assert (plan.options.model, plan.height, plan.width) == ("inception_small", 32, 32)
    assert any("--model" in reason and "small Inception" in reason for reason in plan.reasons)
    assert make_plan(dataset(400, side=32)).options.model == "nielsen"
    assert make_plan(dataset(400, side=32), model="nielsen", recipe="best").options.model == "nielsen"


@pytest.mark.parametrize(
    ("side", "channels", "recipe", "model"),
    [
        (40, 1, None, "nielsen"),
        (40, 3, None, "inception_small"),
        (40, 3, "best", "inception_small"),
        (40, 3, "guide", "nielsen"),
        (41, 1, None, "inception_small"),
        (64, 3, "best", "inception_small"),
        (64, 3, "guide", "inception_v3"),
        (65, 3, None, "inception_v3"),
        (65, 1, None, "inception_v3"),
        (41, 1, "best", "inception_small"),
        (40, 3, "fine-tune", "inception_small"),
    ],
)
def test_the_network_is_chosen_by_size_colour_and_recipe(side, channels, recipe, model) -> None:
    pictures = dataset(400, side=side)
    pictures.info.channels = channels
    plan = make_plan(pictures, recipe=recipe)
    assert plan.options.model == model
    title = {"nielsen": "NielsenNet", "inception_small": "the small Inception", "inception_v3": "Inception v3"}[model]
    assert f"{title}, because the pictures are" in plan.reasons[0]
    assert ("colour" in plan.reasons[0]) == (model == "inception_small" and side <= 40 and channels == 3)


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ({"height": 299, "width": 299}, "inception_v3"),
        ({"height": 20, "width": 65}, "inception_v3"),
        ({"stages": ({"size": 80, "share": 0.5}, {"size": 128, "share": 0.5})}, "inception_v3"),
        ({"stages": [{"size": 80, "share": 0.5}, {"size": 128, "share": 0.5}]}, "inception_v3"),
        ({"stages": [{"scale": 0.5, "share": 0.5}, {"share": 0.5}]}, "inception_small"),
        ({"height": 28, "width": 28}, "nielsen"),
    ],
)
def test_the_size_that_is_asked_for_decides_and_not_that_of_the_pictures(asked, model) -> None:
    plan = make_plan(dataset(400, side=50), overrides=asked)
    assert plan.options.model == model
    assert ("to be shown at" in plan.reasons[0]) == ("scale" not in str(asked))


@pytest.mark.parametrize(
    ("model", "side", "input_side"),
    [
        ("inception_small", 64, 64),
        ("inception_small", 65, 28),
        ("inception_small", 5, 8),
        ("nielsen", 40, 40),
        ("nielsen", 41, 28),
        ("inception_v1", 64, 224),
    ],
)
def test_small_networks_take_small_pictures_as_they_are(model, side, input_side) -> None:
    assert make_plan(dataset(400, side=side), model=model).height == input_side


def test_one_side_alone_does_not_choose_the_network() -> None:
    assert make_plan(dataset(400, side=300), overrides={"width": 75}).options.model == "inception_v3"


def written(folder, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_ones_own_recipe_changes_what_it_says(tmp_path) -> None:
    own = written(
        tmp_path, "recipe = 'best'\nepochs = 3\narguments = {first_filters = 8}\noptimizer = {rate = 0.002}\n"
    )
    plan = make_plan(dataset(400), model="nielsen", recipe=own)
    best = make_plan(dataset(400), model="nielsen", recipe="best", overrides={"epochs": 3}).options
    arguments = {**best.arguments, "first_filters": 8}
    wanted = replace(best, recipe="mine", arguments=arguments, optimizer=replace(best.optimizer, rate=0.002))
    assert plan.options == wanted


def test_ones_own_recipe_begins_from_what_is_taken_without_it(tmp_path) -> None:
    plan = make_plan(dataset(400), model="nielsen", recipe=written(tmp_path, "label_smoothing = 0.2"))
    fast = make_plan(dataset(400), model="nielsen").options
    assert plan.options == replace(fast, recipe="mine", label_smoothing=0.2)


def test_flags_stand_above_ones_own_recipe(tmp_path) -> None:
    own = written(tmp_path, "epochs = 3\noptimizer = {name = 'sgd', rate = 0.3, momentum = 0.8}\n")
    assert make_plan(dataset(400), model="nielsen", recipe=own).options.optimizer == Sgd(rate=0.3, momentum=0.8)

    def with_flags(**flags):
        return make_plan(dataset(400), model="nielsen", recipe=own, overrides=flags).options

    assert with_flags(epochs=5).epochs == 5
    assert with_flags(**{"optimizer.rate": 0.1}).optimizer == Sgd(rate=0.1, momentum=0.8)
    # Another optimizer begins from its own defaults, as always; the same one too, where it is named anew.
    assert type(with_flags(optimizer="adamw").optimizer).__name__ == "AdamW"
    assert with_flags(optimizer="adamw").optimizer.rate != 0.3
    assert with_flags(optimizer={"name": "sgd", "rate": 0.2}).optimizer == Sgd(rate=0.2)
    # The same optimizer, by its name: nothing is changed by that.
    assert with_flags(optimizer="sgd").optimizer == Sgd(rate=0.3, momentum=0.8)


@pytest.mark.parametrize("flag", ["schedule", "schedule.name"])
def test_another_schedule_than_ones_own_recipe_names(tmp_path, flag) -> None:
    own = written(tmp_path, "schedule = 'one_cycle'\n")
    assert make_plan(dataset(400), model="nielsen", recipe=own, overrides={flag: "cosine"}).options.schedule == Cosine()


def test_a_length_that_is_asked_for_stands_above_another_in_ones_own_recipe(tmp_path) -> None:
    timed, counted = written(tmp_path, "minutes = 30\n"), tmp_path / "counted.toml"
    counted.write_text("epochs = 4\n")

    def length(recipe, **flags):
        options = make_plan(dataset(400), model="nielsen", recipe=recipe, overrides=flags).options
        return options.minutes, options.epochs

    assert length(timed)[0] == 30
    assert length(timed, epochs=3) == (None, 3)
    assert length(counted) == (None, 4)
    assert length(counted, minutes=5)[0] == 5


def test_a_batch_that_is_asked_for_holds_in_the_stages_of_ones_own_recipe(tmp_path) -> None:
    own = written(tmp_path, "stages = [{scale = 0.5, share = 0.7, batch = 128}, {share = 0.3, batch = 32}]\n")
    plan = make_plan(dataset(4_000, side=200), model="inception_v1", recipe=own, overrides={"batch": 16})
    assert [stage.batch for stage in plan.options.stages] == [None, None] and plan.options.batch == 16
    plain = make_plan(dataset(4_000, side=200), model="inception_v1", recipe=own)
    assert [stage.batch for stage in plain.options.stages] == [128, 32]


def test_ones_own_recipe_takes_away(tmp_path) -> None:
    plan = make_plan(dataset(400), model="nielsen", recipe=written(tmp_path, "without = ['averaging']"))
    assert plan.options.averaging is None and make_plan(dataset(400), model="nielsen").options.averaging is not None


def test_a_path_is_as_good_as_its_name(tmp_path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text("\ufefflabel_smoothing = 0.2", "utf-8")  # as some editors begin a file
    assert make_plan(dataset(400), model="nielsen", recipe=own).options.label_smoothing == 0.2


def test_distortions_of_ones_own_recipe(tmp_path) -> None:
    own = written(tmp_path, "[[distortions]]\nname = 'rotation'\ndegrees = 5\n")
    plan = make_plan(dataset(400), model="nielsen", recipe=own, distort=["horizontal_flip"])
    assert [distortion.name for distortion in plan.options.distortions] == ["rotation", "horizontal_flip"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "'epoch'.*mean 'epochs'"),
        ("epochs = ", "not TOML"),
        ("recipe = 'fats'", "'fats' is none of best, fast"),
        ("recipe = 7", "7 is none of"),
        ("format_version = 1\n[options]\nepochs = 3", "the record of a run"),
        ("recipe = ['fast']", "is none of"),
        ("model = 'nielsen'", "give it as --model"),
        ("weights = 'a.pt'", "give it as --weights"),
        ("optimizer = {speed = 1}", "speed"),
        ("epochs = {x = 1}", "recipe 'mine': epochs.x"),
        ("epochs = 3\nminutes = 2", "both epochs and minutes"),
        ('"two\\nlines" = {}', "is an empty table"),
        ("averaging = {}", 'without = ."averaging"'),
        ("without = 'averaging'", "without must be a list"),
        ("without = ['averging']", "averging"),
        ("[with_weights.optimizer]\nrate = 0.1", "with_weights is for shipped recipes"),
        ("optimizer = 3", "optimizer"),
        ("[[distortions]]\nname = 'rotatoin'", "rotat"),
    ],
)
def test_ones_own_recipe_with_a_slip_is_one_line(tmp_path, text, said) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        make_plan(dataset(400), model="nielsen", recipe=written(tmp_path, text))
    assert "\n" not in str(caught.value) and "mine" in str(caught.value)


def test_ones_own_recipe_must_not_look_like_a_shipped_one(tmp_path) -> None:
    (tmp_path / "fast.toml").write_text("epochs = 3")
    with pytest.raises(UsageError, match="there is a recipe of that name already"):
        make_plan(dataset(400), model="nielsen", recipe=tmp_path / "fast.toml")


def test_ones_own_recipe_that_is_no_text(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(UsageError, match=r"mine\.toml: No such file or directory; give a file, or one of best, fast"):
        make_plan(dataset(400), model="nielsen", recipe=str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        make_plan(dataset(400), model="nielsen", recipe=str(path))
    with pytest.raises(UsageError, match="directory"):
        make_plan(dataset(400), model="nielsen", recipe=str(tmp_path / ".." / tmp_path.name / "mine.toml" / ".toml"))
