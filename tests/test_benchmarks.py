"""The speed benchmarks in miniature: both paths draw the same codes, and every figure of the report is there."""

from dataclasses import replace

import pytest
import torch
from generation import agreement, measure
from memory import beside_one, parameter_bytes
from random_model import MIDSIZE
from timing import compared, in_turn

from healthgpt.variants import PluginSize

TINY = replace(
    MIDSIZE, hidden_size=32, layers=2, mlp_size=48, heads=2, kv_heads=2, text_size=300, code_count=16, image_size=28,
    vision_width=64, vision_layers=3, grid=4, comprehension=PluginSize(4, 2, 8), generation=PluginSize(8, 4, 16),
)  # fmt: skip


def test_both_paths_draw_the_same_codes_and_say_the_same_word(monkeypatch):
    monkeypatch.setattr("timing.LARGE", (64, 32))
    figures = measure(TINY, codes=16, drawing_rounds=2, reading_rounds=1)
    assert figures["same codes"]
    assert figures["codes before the first difference"] == 16
    assert figures["first word of an answer"]["same word"]
    assert {"one image", "an image in a batch of 8", "one code", "bound"} <= figures.keys()


def test_both_families_take_more_than_one_and_less_than_two():
    sizes = {
        "comprehension": parameter_bytes(TINY, ("comprehension",), torch.float32),
        "generation": parameter_bytes(TINY, ("generation",), torch.float32),
        "both": parameter_bytes(TINY, ("comprehension", "generation"), torch.float32),
    }
    figures = beside_one(sizes)
    assert 1 < figures["both_over_larger"] <= figures["both_over_smaller"] < 2


def test_the_first_round_does_not_count_and_ratios_are_by_round():
    turns = []
    seconds = in_turn({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, 2)
    assert turns == ["a", "b"] * 3
    assert len(seconds["a"]) == 2
    assert compared([2.0, 9.0, 4.0], [1.0, 3.0, 2.0])["times_faster"] == pytest.approx(2.0)


def test_agreement_counts_to_the_first_difference():
    assert agreement([[1, 2, 3], [1, 2, 4], [1, 2, 3]]) == 2
    assert agreement([[1, 2], [1, 2]]) == 2
