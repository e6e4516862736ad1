"""The model that ships: small enough, whole, reads and draws the bundled samples, mixed equals apart."""

import numpy as np
import pytest
from PIL import Image

from healthgpt.cli.samples import read_samples
from healthgpt.errors import ModelError
from healthgpt.evaluation.answers import normalised
from healthgpt.evaluation.pictures import ssim
from healthgpt.inference.session import BUNDLED, Session
from healthgpt.model.checkpoint import read_config
from healthgpt.model.export import export_released
from healthgpt.request import Request

FOLDER = BUNDLED / "nano"
LARGEST = 40_000_000
"""Bytes of safetensors the bundled model may take in all."""


@pytest.fixture(scope="module")
def nano():
    return Session.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def drawn(nano):
    _, drawings = read_samples(FOLDER / "samples")
    requests = [Request(d.task, FOLDER / "samples" / d.input if d.input else None, d.text) for d in drawings]
    return drawings, nano.run(requests)


def pixels(name):
    with Image.open(FOLDER / "samples" / name) as picture:
        return np.asarray(picture)


def test_weights_are_small_and_have_a_card():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.safetensors")) <= LARGEST
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "Research use only" in card
    assert "Licence" in card
    assert not [path for path in FOLDER.rglob("*") if path.suffix in (".bin", ".pt", ".ckpt", ".pkl")]


def test_it_names_the_modality_of_the_samples(nano):
    images, _ = read_samples(FOLDER / "samples")
    requests = [Request("ask", FOLDER / "samples" / one.file, "What modality is this image?") for one in images]
    answers = [normalised(answer.text) for answer in nano.run(requests)]
    truth = [normalised("fundus photograph" if one.modality == "fundus" else one.modality) for one in images]
    assert len(truth) == 7
    assert sum(said == right for said, right in zip(answers, truth, strict=True)) >= 6


def test_drawings_are_closer_to_the_truth_than_the_input_is(drawn):
    for sample, drawing in zip(*drawn, strict=True):
        assert drawing.pixels.shape[:2] == (128, 128)
        assert np.array(drawing.codes).shape == (16, 16)
        if sample.task in ("ct-to-mri", "mri-to-ct", "super-resolution"):
            truth = pixels(sample.reference)
            assert ssim(drawing.pixels, truth) > ssim(pixels(sample.input), truth), sample.task


def test_an_x_ray_drawn_from_its_report_looks_like_it_more_than_other_pictures_do(drawn):
    sample, drawing = next((s, d) for s, d in zip(*drawn, strict=True) if s.task == "report-to-cxr")
    truth = pixels(sample.reference)
    others = [pixels(name) for name in ("ct.png", "mri.png", "ultrasound.png", "oct.png")]
    assert ssim(drawing.pixels, truth) > max(ssim(other, truth) for other in others)


def test_mixed_batch_equals_rows_apart(nano, drawn):
    sample, expected = drawn[0][0], drawn[1][0]
    source = FOLDER / "samples" / sample.input
    question = "What modality is this image?"
    answer, drawing = nano.run([Request("ask", source, question), Request(sample.task, source)])
    assert drawing.codes == expected.codes == nano.generate(sample.task, source).codes
    assert answer.token_ids == nano.ask(source, question).token_ids


def test_its_own_embeddings_keep_it_from_the_released_layout(tmp_path):
    with pytest.raises(ModelError, match=r"trained task_embedding.* no place"):
        export_released(FOLDER, read_config(FOLDER), tmp_path)
    assert not list(tmp_path.iterdir())
