"""Single DICOM files that show a patient in a modality the model knows.

Left out: further transfer syntaxes of the same slice, files without or with another kind of picture (report,
nuclear medicine, test pattern, 36-slice mosaic, nearly empty ultrasound, 64-pixel frames, perfusion map).
Regions are those of the headers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from healthgpt.errors import DataError
from healthgpt.imaging.image import Window
from healthgpt.record import Sample
from healthgpt.sources.base import Source, split_of
from healthgpt.sources.picture import Picture, load_pixels


@dataclass(frozen=True)
class Series:
    """Files of one patient; ``pattern``: a glob below the pack; ``window``: None takes the file's own."""

    pattern: str
    group: str
    licence: str
    modality: str
    region: str | None
    window: Window | None
    report: str


HEAD_WINDOW = Window(centre=40.0, width=200.0)
BODY_WINDOW = Window(centre=40.0, width=400.0)

SERIES = (
    Series(
        "cornerstone/CTImage.dcm_LittleEndianImplicit*", "cornerstone", "MIT", "ct", "chest", BODY_WINDOW,
        "CT at the top of the chest, axial slice.",
    ),
    Series("ct_head_ge/*.dcm", "ct_head_ge", "BSD-2-Clause", "ct", "head", HEAD_WINDOW, "CT of the head, axial slice."),
    Series(
        "ct_series_siemens_j2k/CT.*", "ct_series_siemens_j2k", "Apache-2.0", "ct", "abdomen", BODY_WINDOW,
        "CT of the upper abdomen, axial slice.",
    ),
    Series("mr_uih/*.dcm", "mr_uih", "BSD-2-Clause", "mri", "head", None, "MRI of the head, sagittal slice."),
    Series(
        "pydicom/MR-SIEMENS-DICOM-WithOverlays.dcm", "mr_siemens_abdomen", "MIT", "mri", "abdomen", None,
        "MRI of the abdomen, axial slice.",
    ),
    Series("pydicom/MR2_J2KI.dcm", "MR2", "MIT", "mri", "shoulder", None, "MRI of the shoulder."),
    Series(
        "pydicom/RG3_J2KI.dcm", "RG3", "MIT", "x-ray", "leg", None, "X-ray of the lower leg.",
    ),
    Series(
        "pydicom/US1_J2KR.dcm", "US1", "MIT", "ultrasound", None, None, "Doppler ultrasound of a lymph node.",
    ),
)  # fmt: skip


def samples(root: Path) -> Iterator[Sample]:
    """The chosen files with questions and as reconstruction targets; MR slices also for super-resolution."""
    folder = SOURCE.folder_in(root)
    for series in SERIES:
        paths = sorted(folder.glob(series.pattern))
        if not paths:
            raise DataError(f"'{SOURCE.name}' lacks {series.pattern}", next_step="restore the data set")
        for path in paths:
            # Series files are named by UID; the digits behind the last dot tell them apart.
            name = series.group if len(paths) == 1 else f"{series.group}/{path.name.removesuffix('.dcm')[-12:]}"
            picture = Picture(
                SOURCE.name, series.licence, name, series.group, split_of(SOURCE.name, series.group),
                series.modality, series.region, load_pixels(path, window=series.window),
            )  # fmt: skip
            yield from picture.about()
            yield picture.described(series.report)
            yield picture.reconstructed()
            if series.modality == "mri":
                yield picture.sharpened()


SOURCE = Source(
    name="dicom_samples",
    title="DICOM files of several modalities and transfer syntaxes",
    licence="MIT, Apache-2.0, BSD-2-Clause (per file)",
    obtain="https://github.com/pydicom/pydicom-data, cornerstonejs/cornerstoneWADOImageLoader, "
    "wasserth/TotalSegmentator and neurolabusc/dcm_qa_ct, dcm_qa_uih",
    folder="dicom_samples",
    published_images=33,
    published_questions=0,
    samples=samples,
)
