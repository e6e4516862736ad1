"""Recipes: bundled ones hold, wrong ones are refused with every problem at once."""

import pytest
import yaml

from healthgpt.errors import RecipeError
from healthgpt.training.nano.loop import learning_rate_factor
from healthgpt.training.nano.recipe import load_recipe, merged, recipe_names, recipe_path


def test_bundled_recipes_hold_on_cpu_and_cuda():
    assert "nano" in recipe_names()
    for name in recipe_names():
        load_recipe(name)
        load_recipe(name, cuda=True)


def test_all_problems_at_once(tmp_path):
    content = yaml.safe_load(recipe_path("nano").read_text())
    content["surprise"] = 1
    content["codec"]["steps"] = -3
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert "surprise" in str(caught.value)
    assert "codec.steps" in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "name: x\nvariant: none"])
def test_not_a_recipe(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError):
        load_recipe(str(path))


def test_unknown_recipe_names_the_closest():
    with pytest.raises(RecipeError, match="did you mean 'nano'"):
        load_recipe("nanno")


def test_merging_lays_changes_over_key_by_key():
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}


def test_schedules():
    plan = load_recipe("nano").language
    constant = plan.model_copy(update={"schedule": "constant", "warm_up": 10, "steps": 100})
    rise = plan.model_copy(update={"schedule": "warm-up", "warm_up": 10, "steps": 100})
    cosine = plan.model_copy(update={"schedule": "cosine", "warm_up": 10, "steps": 100})
    assert learning_rate_factor(0, constant) == 1.0
    assert learning_rate_factor(4, rise) == 0.5
    assert learning_rate_factor(99, rise) == 1.0
    assert learning_rate_factor(9, cosine) == 1.0
    assert 0.05 <= learning_rate_factor(99, cosine) < 0.06
