"""Records made from a picture: the same every time, options that hide the answer, drawing tasks."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from healthgpt.errors import ImageError
from healthgpt.record import Sample
from healthgpt.sources.picture import MODALITY_ANSWERS, REGIONS, Picture, load_pixels, shrink
from healthgpt.tasks import MODALITIES


def picture(name: str = "benign (12)", modality: str = "ct", region: str | None = "pelvis") -> Picture:
    pixels = np.random.default_rng(len(name)).integers(0, 256, (40, 30), dtype=np.uint8)
    return Picture("tiny", "CC0", name, "patient 1", "train", modality, region, pixels)


def test_every_modality_has_an_answer() -> None:
    assert set(MODALITY_ANSWERS) == set(MODALITIES)


def test_every_record_fits_its_task(lawful: Callable[[list[Sample]], None]) -> None:
    one = picture()
    samples = [*one.about(), one.described("CT of the pelvis."), one.reconstructed(), one.sharpened()]
    samples += [one.converted("ct-to-mri", picture("mri", "mri")), one.drawn_from("Clear lungs.")]
    lawful(samples)
    assert [sample.record.provenance.group for sample in samples] == ["tiny/patient 1"] * len(samples)


def test_ids_can_be_paths_and_keep_the_original_name() -> None:
    record = picture().reconstructed().record
    assert record.id == "tiny/benign_12_/reconstruct"
    assert record.provenance.original_id == "benign (12)"


def test_the_same_picture_gives_the_same_records() -> None:
    assert [s.record for s in picture().about()] == [s.record for s in picture().about()]


def test_neighbouring_region_is_never_a_wrong_option() -> None:
    offered = Counter(
        option for i in range(200) for sample in picture(f"slice {i}").about() for option in sample.record.options
    )
    assert offered["pelvis"] == 200
    assert "abdomen" not in offered
    assert set(REGIONS) - {"abdomen"} <= set(offered)


def test_place_of_the_right_option_and_phrasing_tell_nothing() -> None:
    places, phrasings = Counter(), Counter()
    for i in range(400):
        opened, chosen = (s.record for s in picture(f"slice {i}").about() if s.record.kind == "modality")
        places[chosen.options.index("ct")] += 1
        phrasings[opened.instruction] += 1
        assert chosen.instruction.endswith(f"D. {chosen.options[3]}")
    assert len(places) == 4
    assert min(places.values()) > 60
    assert len(phrasings) >= 3


def test_report_is_the_instruction_when_drawing_from_it() -> None:
    sample = picture(modality="x-ray", region="chest").drawn_from("Clear lungs.")
    assert sample.record.task == "report-to-cxr"
    assert sample.record.instruction.endswith(": Clear lungs.")
    assert sample.image is None


def test_unknown_region_is_not_asked() -> None:
    assert {s.record.kind for s in picture(region=None).about()} == {"modality"}


def test_super_resolution_input_lacks_fine_detail() -> None:
    sample = picture().sharpened()
    assert sample.image is not None
    assert sample.target is not None
    assert np.diff(sample.image.astype(float)).std() < 0.5 * np.diff(sample.target.astype(float)).std()


def test_super_resolution_is_cut_at_the_size_that_is_drawn() -> None:
    large = replace(picture(), pixels=np.random.default_rng(0).integers(0, 256, (256, 200), dtype=np.uint8))
    record, image, target = large.sharpened()
    assert image is not None
    assert target is not None
    assert image.shape == target.shape == (128, 100)
    lines = np.abs(np.fft.fft2(image.astype(float)))
    assert lines[20:-20].max() < 0.02 * lines[:17, :13].max()  # nothing but rounding beyond a quarter of the rows
    assert len({record.image, record.target_image, large.file}) == 3  # the whole picture keeps its own file


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.booleans())
def test_shrinking_keeps_the_aspect_ratio(height: int, width: int, colour: bool) -> None:
    pixels = np.full((height, width, 3) if colour else (height, width), 9, np.uint8)
    small = shrink(pixels)
    assert max(small.shape[:2]) == min(256, max(height, width))
    scale = max(small.shape[:2]) / max(height, width)
    assert small.shape[0] == pytest.approx(height * scale, abs=1)
    assert small.shape[1] == pytest.approx(width * scale, abs=1)
    assert (small == 9).all()


def test_loading_gives_grey_or_colour_as_asked(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))
    PillowImage.fromarray(ramp).save(tmp_path / "grey.png")
    PillowImage.fromarray(np.stack([ramp, ramp, 255 - ramp], -1)).save(tmp_path / "colour.png")
    assert load_pixels(tmp_path / "grey.png").shape == (30, 40)
    assert load_pixels(tmp_path / "grey.png", colour=True).shape == (30, 40, 3)
    assert load_pixels(tmp_path / "colour.png").shape == (30, 40)
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    with pytest.raises(ImageError, match=r"damaged\.png"):
        load_pixels(tmp_path / "damaged.png")
