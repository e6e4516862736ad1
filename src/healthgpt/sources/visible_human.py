"""Visible Human head CT: axial slices of one man from neck to vertex, 8-bit and windowed by the publisher.

Hounsfield units cannot be recovered. The publisher's window is wide and the head fills a third of the picture,
so the grey values are stretched and all slices are cut to the same box around the head.

One man is all there is, so he is split by slabs of neighbouring slices (``base.slab_of``), each slab one group. The
held-out slices are of the man seen in training: a score on them says less than one on unseen patients would.
"""

from collections.abc import Iterator
from pathlib import Path

from healthgpt.imaging.read import read_image
from healthgpt.record import Sample
from healthgpt.sources.base import Source, slab_of, split_of_slab
from healthgpt.sources.picture import Picture, shrink, to_bytes

PUBLISHED_STEP = 4
"""The numbers in the file names count every slice of the scan; one in four is in the pack."""
WHITE = 110 / 255
"""The published grey value, as a share of white, that is shown white: soft tissue lies about 65, bone above 100."""
HEAD_SLICES = range(24, 224)
"""Below lie neck and shoulders, above the last rim of the scalp."""
BOX = (slice(100, 420), slice(90, 410))


def samples(root: Path) -> Iterator[Sample]:
    """The head slices with questions and as reconstruction targets."""
    for path in sorted(SOURCE.folder_in(root).glob("slice_*.png")):
        index = int(path.stem.removeprefix("slice_"))
        slab = slab_of(index // PUBLISHED_STEP)
        if index not in HEAD_SLICES or slab is None:
            continue
        pixels = shrink(to_bytes(read_image(path).pixels[BOX] / WHITE))
        picture = Picture(
            SOURCE.name, SOURCE.licence, path.stem, f"slab-{slab}", split_of_slab(slab), "ct", "head", pixels
        )
        yield from picture.about()
        yield picture.described("CT of the head, axial slice.")
        yield picture.reconstructed()


SOURCE = Source(
    name="ct_visible_human",
    title="Visible Human head CT slices",
    licence="Public domain (US National Library of Medicine)",
    obtain="https://www.nlm.nih.gov/research/visible",
    folder="ct_visible_human",
    published_images=234,
    published_questions=0,
    samples=samples,
)
