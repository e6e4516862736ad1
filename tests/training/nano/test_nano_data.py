"""Drawing batches: shares obeyed, groups balanced, the same seed the same batch."""

from collections import Counter

import numpy as np

from healthgpt.data.dataset import Reading
from healthgpt.record import Provenance, Record
from healthgpt.training.nano.stage_data import Pool


def reading(task, source, number):
    origin = Provenance(source=source, licence="none", original_id=str(number), group=str(number))
    record = Record(
        id=f"{source}-{number}", task=task, instruction="how many", response="1", split="train", provenance=origin
    )
    return Reading(task, number, (record,))


EXAMPLES = [
    *(reading("ct", "vl-phantom", n) for n in range(90)),
    *(reading("mri", "vl-phantom", n) for n in range(10)),
    *(reading("ct", "large", n) for n in range(400)),
    *(reading("mri", "small", n) for n in range(100)),
]


def drawn(pool, count=4000, seed=0):
    return pool.draw(count, np.random.default_rng(seed))


def test_real_share_tasks_alike_and_packs_by_square_root():
    counts = Counter((e.task, e.records[0].provenance.source) for e in drawn(Pool(EXAMPLES, 0.25)))
    assert abs(counts["ct", "vl-phantom"] / 4000 - 0.375) < 0.03
    assert abs(counts["mri", "vl-phantom"] / 4000 - 0.375) < 0.03
    assert abs(counts["ct", "large"] / counts["mri", "small"] - 2) < 0.4


def test_without_one_kind_the_other_fills_the_batch():
    simulated = [e for e in EXAMPLES if e.records[0].provenance.source == "vl-phantom"]
    real = [e for e in EXAMPLES if e.records[0].provenance.source != "vl-phantom"]
    assert len(drawn(Pool(simulated, 0.25), 50)) == 50
    assert len(drawn(Pool(real, 0.25), 50)) == 50


def test_the_same_seed_draws_the_same():
    pool = Pool(EXAMPLES, 0.25)
    assert drawn(pool, 100, 5) == drawn(pool, 100, 5)
    assert drawn(pool, 100, 5) != drawn(pool, 100, 6)
