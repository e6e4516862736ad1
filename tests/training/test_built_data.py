"""From originals to a step: VL-Health built from the real samples trains nano, in both families."""

from pathlib import Path

import numpy as np
import pytest
import torch

from healthgpt.data.build import LocalWorkers, build
from healthgpt.data.codes import codes_of, encode_targets
from healthgpt.data.collate import drawing_batch, reading_batch
from healthgpt.data.dataset import load_examples
from healthgpt.data.settings import BuildSettings
from healthgpt.inference.session import Session
from healthgpt.training.objective import response_loss
from healthgpt.training.parameters import train_only

PACKS = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def test_nano_learns_from_what_was_built(tmp_path: Path) -> None:
    if not PACKS.is_dir():
        pytest.skip("no real data packs: the folder 'shared' beside the repository is missing")
    sources = {"synthrad2023": PACKS / "nc_synthrad2023_brain_slices", "medmnist": PACKS / "medmnist_subsets"}
    build(tmp_path / "set", BuildSettings(sources=sources), LocalWorkers())
    session = Session.from_pretrained("nano", device="cpu")
    assert session.codec is not None
    preprocessing = session.config.preprocessing
    encode_targets(tmp_path / "set", session.codec, preprocessing)
    examples = load_examples(tmp_path / "set", "train", preprocessing)
    by_name = dict(codes_of(tmp_path / "set", session.codec))
    codes = {one.target: by_name[examples.names[one.target]].astype(np.int64) for one in examples.drawings}
    batches = {
        "comprehension": reading_batch(
            examples.readings[:4], examples, session.builder, preprocessing, np.random.default_rng(0), 2
        ),
        "generation": drawing_batch(examples.drawings[:4], examples, codes, session.builder, preprocessing),
    }
    for family, batch in batches.items():
        chosen = train_only(session.model, (f"{family} plugin",))
        parameters = [one for group in chosen.values() for one in group.values()]
        optimiser = torch.optim.AdamW(parameters, lr=1e-4)
        before, _ = response_loss(session.model, batch)
        before.backward()
        optimiser.step()
        with torch.no_grad():
            after, _ = response_loss(session.model, batch)
        assert after.item() < before.item()
