"""Three single images distributed with scikit-image: a fundus photograph, a piece of one, a stained tissue."""

from collections.abc import Iterator
from pathlib import Path

from healthgpt.record import Sample
from healthgpt.sources.base import Source, required_file, split_of
from healthgpt.sources.picture import Picture, load_pixels

IMAGES = (
    ("retina.jpg", "Public domain", "fundus", "eye", "Fundus photograph."),
    (
        "microaneurysms.png", "CC0", "fundus", "eye",
        "Detail of a fundus photograph with microaneurysms, in grey values.",
    ),
    (
        "ihc.png", "No known copyright", "microscopy", "tissue section",
        "Colon tissue, immunohistochemical staining with haematoxylin.",
    ),
)  # fmt: skip
"""File, licence, modality, region, description (from the scikit-image data documentation)."""


def samples(root: Path) -> Iterator[Sample]:
    """All three with questions and as reconstruction targets."""
    folder = SOURCE.folder_in(root)
    for file, licence, modality, region, report in IMAGES:
        pixels = load_pixels(required_file(folder / file, SOURCE.name), colour=True)
        name = Path(file).stem
        picture = Picture(SOURCE.name, licence, name, name, split_of(SOURCE.name, name), modality, region, pixels)
        yield from picture.about()
        yield picture.described(report)
        yield picture.reconstructed()


SOURCE = Source(
    name="fundus_histology_2d",
    title="Fundus photograph, retina crop and histology tile of scikit-image",
    licence="CC0, public domain, no known copyright (per file)",
    obtain="https://github.com/scikit-image/scikit-image",
    folder="fundus_histology_2d",
    published_images=3,
    published_questions=0,
    samples=samples,
)
