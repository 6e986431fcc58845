import pytest

from deeper.errors import UsageError
from deeper.training import recipes
from deeper.training.options import Options
from deeper.values import from_plain, to_plain


@pytest.mark.parametrize("stem", sorted(recipes._files()))
def test_every_recipe_builds_and_says_what_it_reaches(stem):
    model, name = stem.split("-", 1)
    plain = recipes.load(name, model)
    options = from_plain(Options, {**to_plain(Options()), **plain, "model": model}, stem)
    assert options.recipe == name
    assert len(recipes.header(name, model)) > 20


def test_nothing_flips_unless_the_recipe_is_the_guides():
    for stem, text in recipes._files().items():
        if not stem.endswith("-guide"):
            assert "flip" not in "".join(line for line in text.splitlines() if not line.startswith("#")), stem


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="no recipe 'fats'; did you mean 'fast'"):
        recipes.load("fats", "nielsen")


def test_options_refuse_what_cannot_be():
    for bad in ({"epochs": 0.0}, {"batch": 0}, {"label_smoothing": 1.0}, {"clip_norm": 0.0}, {"seed": -1}, {"keep": 0}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            Options(**bad)


def test_options_survive_the_file():
    options = from_plain(Options, {**to_plain(Options()), **recipes.load("fast", "nielsen")}, "fast")
    assert from_plain(Options, to_plain(options), "again") == options
