"""MR volumes: axial slices for questions, reconstruction and 4x super-resolution.

A volume of ``mri_misc`` is one group. ``mri_t1_fnndsc`` is one patient, split by slabs of neighbouring slices
(``base.slab_of``), each slab one group: its held-out slices are of the patient seen in training, so a score on them
says less than one on unseen patients would.

Left out: the small echo-planar volume of ``formats``, into which a white line is drawn, and the single DICOM slices
of the T1 head series, which are the same head as its volume.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from healthgpt.imaging.volume import read_volume
from healthgpt.record import Sample
from healthgpt.sources.base import Source, required_file, slab_of, split_of, split_of_slab
from healthgpt.sources.picture import Picture
from healthgpt.sources.volume_slices import axial_slices


@dataclass(frozen=True)
class Scan:
    """``from_mm``: height above the volume's lowest slice where the named region begins.
    ``by_slab``: split within the volume, where it is the only one of its pack."""

    file: str
    licence: str
    region: str
    report: str
    from_mm: float = 0.0
    by_slab: bool = False


EVERY_MM = 4.0
SMALLEST_SHARPENED = 100
"""Long side in pixels from which a slice has fine detail to restore; coarse volumes stay below."""

SCANS: dict[str, tuple[Scan, ...]] = {
    "mri_misc": (
        Scan("MR_Gd.nii.gz", "CC BY 4.0", "head", "Contrast-enhanced MRI of the brain without the skull, axial slice."),
        Scan("T2.nii.gz", "BSD-2-Clause", "head", "T2-weighted MRI of the head, axial slice."),
        Scan("example_mr_sm.nii.gz", "Apache-2.0", "abdomen", "MRI of the abdomen, axial slice."),
        Scan("someones_anatomy.nii.gz", "MIT", "head", "Coarse MRI of the head, axial slice."),
    ),
    "mri_t1_fnndsc": (
        Scan(
            "sag_mprage_t1.nii.gz",
            "MIT",
            "head",
            "T1-weighted MRI of the head, axial slice.",
            from_mm=50.0,
            by_slab=True,
        ),
    ),
}


def samples(name: str, root: Path) -> Iterator[Sample]:
    """The slices of the source of that name."""
    folder = SOURCES[name].folder_in(root)
    for scan in SCANS[name]:
        volume = read_volume(required_file(folder / scan.file, name))
        stem = scan.file.split(".")[0]
        for plane in axial_slices(volume, EVERY_MM, modality="mri", units="arbitrary"):
            if plane.index * volume.spacing_mm[2] < scan.from_mm:
                continue
            group, split = stem, split_of(name, stem)
            if scan.by_slab:
                slab = slab_of(plane.number)
                if slab is None:
                    continue
                group, split = f"{stem}/slab-{slab}", split_of_slab(slab)
            picture = Picture(
                name, scan.licence, f"{stem}/z{plane.index:03d}", group, split,
                "mri", scan.region, plane.pixels,
            )  # fmt: skip
            yield from picture.about()
            yield picture.described(scan.report)
            yield picture.reconstructed()
            if max(plane.pixels.shape) >= SMALLEST_SHARPENED:
                yield picture.sharpened()


SOURCES = {
    "mri_misc": Source(
        name="mri_misc",
        title="Assorted MR volumes",
        licence="CC BY 4.0, BSD-2-Clause, Apache-2.0, MIT (per volume)",
        obtain="https://github.com/niivue/niivue-demo-images, neurolabusc/Clinical, wasserth/TotalSegmentator "
        "and nipy/nibabel",
        folder="mri_misc",
        published_images=4,
        published_questions=0,
        samples=partial(samples, "mri_misc"),
    ),
    "mri_t1_fnndsc": Source(
        name="mri_t1_fnndsc",
        title="T1-weighted MPRAGE head volume (SAG-anon)",
        licence="MIT",
        obtain="https://github.com/FNNDSC/SAG-anon",
        folder="mri_t1_fnndsc",
        published_images=1,
        published_questions=0,
        samples=partial(samples, "mri_t1_fnndsc"),
    ),
}
