"""The speed benchmarks in miniature: both paths draw the same codes, and every figure of the report is there."""

from dataclasses import replace
from pathlib import Path

import duplicates
import numpy as np
import pytest
import slicing
import text_peer
import text_records
import text_volume
import torch
import training_step
from generation import agreement, measure
from live_bytes import LiveBytes
from memory import beside_one, parameter_bytes
from random_model import MIDSIZE
from timing import compared, in_turn

from healthgpt.data.shards import load_manifest
from healthgpt.plugins.moelora import MoELoRA
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


def test_the_search_for_duplicates_is_measured_and_misses_nothing():
    draw = np.random.default_rng(0)
    for hashes in (duplicates.uniform(1500, draw), duplicates.alike(1500, draw, pictures=3)):
        figures = duplicates.measure(*duplicates.with_copies(hashes, draw), sample=400)
        assert figures["planted_recall"] == 1
        assert figures["planted_within_distance"] > 150
        assert figures["sample_pairs_by_brute_force"] > 100
        assert figures["sample_pairs_missed"] == figures["pairs_beyond_distance"] == 0


def test_slicing_cuts_every_slice_of_both_kinds_of_file(tmp_path):
    figures = slicing.measure(tmp_path, (64, 64, 6), files=2, rounds=1)
    assert figures.keys() == {"gzip", "plain"}
    assert all(row["scans_a_second"] > 0 and row["cpu_seconds_a_scan"] >= 0 for row in figures.values())


def test_text_records_are_built_and_their_peer_makes_as_many(tmp_path):
    packs = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not packs.is_dir():
        pytest.skip(f"no real data packs: {packs.name} folder of the repository's sibling 'shared' is missing")
    large = text_volume.Volume(packs, tmp_path / "volume").write(600)
    figures = text_records.built(large, tmp_path / "set")
    assert 590 <= figures["questions"] <= 630
    assert figures["records"] == figures["questions"] - sum(figures["left_out"].values())
    assert figures["quarantined"] <= 1
    assert figures["peak_gb"] > 0
    (tmp_path / "peer").mkdir()
    peer = text_peer.mapped(large, tmp_path / "peer")
    ours = load_manifest(tmp_path / "set").sources
    assert peer["records"] == sum(ours[name]["drafts"] for name in peer["sources"])


def test_a_training_step_is_measured_beside_its_peers():
    figures = training_step.on_cpu(TINY, rank=32, positions=8, rounds=1, threads=(1,))
    assert len(figures["threads: 1"]["seconds"]) == len(training_step.CHOICES) == 8
    for experts in ("4 experts", "32 experts"):
        assert all(ratio > 0 for ratio in figures["threads: 1"][experts].values())
        assert figures["peak memory"][experts]["H-LoRA over peft LoRA"] > 0
    assert len(set(figures["peak memory"]["mb"])) == 8


def test_both_orders_of_the_expert_loop_give_the_same_sum():
    ours, published = (kind(6, 5, 8, 4, 16.0) for kind in (MoELoRA, training_step.PublishedMoELoRA))
    for up in ours.lora_B:
        torch.nn.init.normal_(up.weight)
    published.load_state_dict(ours.state_dict())
    x, onto = torch.randn(2, 3, 6), torch.randn(2, 3, 5)
    torch.testing.assert_close(published(x, onto), ours(x, onto))


def test_bytes_alive_are_counted_by_storage_and_given_back():
    with LiveBytes() as counter:
        x = torch.zeros(1000)
        x.view(10, 100).add_(1)
        (x + x).sum()
        y = x * 2
        del x
    assert counter.most == 8004  # two of four thousand bytes, and one sum
    assert counter.now == y.nbytes == 4000
