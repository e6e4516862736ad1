"""Single MR slices of the ITK and ANTs test data.

Left out: ``simple.jpg``, a drawing, and ``VisibleWomanHeadSlice.png``, a photograph of a frozen section. The
T1 and proton-density slices come from one simulated brain (BrainWeb) and are one group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from healthgpt.record import Sample
from healthgpt.sources.base import Source, required_file, split_of
from healthgpt.sources.picture import Picture, load_pixels


@dataclass(frozen=True)
class Slice:
    """One file; ``group`` tells whose brain or body it is."""

    file: str
    group: str
    region: str
    report: str


T1 = "T1-weighted MRI of the head, axial slice."
PROTON_DENSITY = "Proton-density MRI of the head, axial slice."
SLICES = (
    Slice("itk/BrainT1Slice.png", "brainweb", "head", T1),
    Slice("itk/BrainT1SliceBorder20.png", "brainweb", "head", T1),
    Slice("itk/BrainProtonDensitySlice.png", "brainweb", "head", PROTON_DENSITY),
    Slice("itk/BrainProtonDensitySlice256x256.png", "brainweb", "head", PROTON_DENSITY),
    Slice("itk/BrainProtonDensitySliceBorder20.png", "brainweb", "head", PROTON_DENSITY),
    Slice("itk/BrainMidSagittalSlice.png", "mid-sagittal", "head", "MRI of the head, mid-sagittal slice."),
    Slice("itk/FatMRISlice.png", "fat", "abdomen", "MRI of the abdomen, axial slice."),
    Slice("ants/r16slice.jpg", "r16", "head", "T1-weighted MRI of the brain without the skull, axial slice."),
    Slice("ants/r64slice.jpg", "r64", "head", "T1-weighted MRI of the brain without the skull, axial slice."),
)


def samples(root: Path) -> Iterator[Sample]:
    """All slices with questions, as reconstruction and as super-resolution targets."""
    folder = SOURCE.folder_in(root)
    for one in SLICES:
        pixels = load_pixels(required_file(folder / one.file, SOURCE.name))
        picture = Picture(
            SOURCE.name, SOURCE.licence, one.file.rsplit(".", 1)[0], one.group, split_of(SOURCE.name, one.group),
            "mri", one.region, pixels,
        )  # fmt: skip
        yield from picture.about()
        yield picture.described(one.report)
        yield picture.reconstructed()
        yield picture.sharpened()


SOURCE = Source(
    name="mri_2d_slices",
    title="2-D MR slices of the ITK and ANTs test data",
    licence="Apache-2.0",
    obtain="https://github.com/InsightSoftwareConsortium/ITK and https://github.com/ANTsX/ANTsPy",
    folder="mri_2d_slices",
    published_images=9,
    published_questions=0,
    samples=samples,
)
