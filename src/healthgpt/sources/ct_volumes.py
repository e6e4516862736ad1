"""CT volumes: axial slices of an abdomen and pelvis, a chest and an average brain.

Left out: ``example_ct_sm``, which is slices 82 to 111 of ``example_ct`` voxel for voxel, and
``CT_2D_head_fixed``, which is called CT and shows a T1-weighted MRI. Voxels around the average brain hold 0 and
not the -1000 HU of air; they are set to air.

Three scans are too few to hold one out, so each is split by slabs of neighbouring slices (``base.slab_of``), each
slab one group. The held-out slices are of patients seen in training: a score on them says less than one on unseen
patients would.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from healthgpt.imaging.image import Window
from healthgpt.imaging.volume import read_volume
from healthgpt.record import Sample
from healthgpt.sources.base import Source, required_file, slab_of, split_of_slab
from healthgpt.sources.picture import Picture
from healthgpt.sources.volume_slices import axial_slices

BODY_WINDOW = Window(centre=40.0, width=400.0)
LUNG_WINDOW = Window(centre=-600.0, width=1500.0)
BRAIN_WINDOW = Window(centre=40.0, width=120.0)
AIR_HU = -1000.0


@dataclass(frozen=True)
class Scan:
    """``region``: from the slice's index, since one scan can cover two; None in between.
    ``first``: lowest slice index that shows the region in this window."""

    file: str
    window: Window
    every_mm: float
    region: Callable[[int], str | None]
    report: str
    first: int = 0
    zero_is_air: bool = False


def trunk_region(index: int) -> str | None:
    """Region of a slice of ``example_ct`` (3 mm apart): hips to iliac crest, or lower kidney to diaphragm."""
    if index < 44:
        return "pelvis"
    return "abdomen" if index >= 60 else None


SCANS = (
    Scan("example_ct.nii.gz", BODY_WINDOW, 3.0, trunk_region, "CT of the {region}, axial slice."),
    Scan(
        "3DCT_lung_baseline_small.mha", LUNG_WINDOW, 5.0, lambda _: "chest",
        "CT of one side of the chest, axial slice.", first=15,
    ),
    Scan(
        "ct_brain_atlas_1mm.nii.gz", BRAIN_WINDOW, 4.0, lambda _: "head",
        "CT of the brain without the skull, average of many people, axial slice.", zero_is_air=True,
    ),
)  # fmt: skip


def samples(root: Path) -> Iterator[Sample]:
    """The slices of all scans with questions and as reconstruction targets; a slab of a scan is one group."""
    folder = SOURCE.folder_in(root)
    for scan in SCANS:
        volume = read_volume(required_file(folder / scan.file, SOURCE.name))
        if scan.zero_is_air:
            volume = replace(volume, values=np.where(volume.values == 0, np.float32(AIR_HU), volume.values))
        name = scan.file.split(".")[0]
        for plane in axial_slices(volume, scan.every_mm, modality="ct", units="hounsfield", window=scan.window):
            slab = slab_of(plane.number)
            if plane.index < scan.first or slab is None:
                continue
            region = scan.region(plane.index)
            picture = Picture(
                SOURCE.name, SOURCE.licence, f"{name}/z{plane.index:03d}", f"{name}/slab-{slab}",
                split_of_slab(slab), "ct", region, plane.pixels,
            )  # fmt: skip
            yield from picture.about()
            yield picture.described(scan.report.format(region=region or "trunk"))
            yield picture.reconstructed()


SOURCE = Source(
    name="ct_volumes",
    title="CT volumes of TotalSegmentator, elastix and ITKElastix",
    licence="Apache-2.0",
    obtain="https://github.com/wasserth/TotalSegmentator and https://github.com/SuperElastix/elastix",
    folder="ct_volumes",
    published_images=3,
    published_questions=0,
    samples=samples,
)
