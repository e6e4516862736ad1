"""The table of sources: every published data set this package reads, and which of them are at hand."""

from pathlib import Path

from healthgpt.errors import DataError, closest
from healthgpt.sources import (
    bccd,
    busi,
    ct_mr_atlas,
    ct_volumes,
    cxr_hannover,
    dicom_samples,
    fundus_histology,
    idrid,
    medmnist,
    mri_slices,
    mri_volumes,
    path_vqa,
    slake,
    visible_human,
    vqa_med,
    vqa_rad,
)
from healthgpt.sources.base import Source

SOURCES: dict[str, Source] = {
    "bccd_microscopy": bccd.SOURCE,
    "busi_ultrasound": busi.SOURCE,
    "ct_mr_atlas": ct_mr_atlas.SOURCE,
    "ct_visible_human": visible_human.SOURCE,
    "ct_volumes": ct_volumes.SOURCE,
    "cxr_hannover": cxr_hannover.SOURCE,
    "dicom_samples": dicom_samples.SOURCE,
    "fundus_histology_2d": fundus_histology.SOURCE,
    "idrid_fundus": idrid.SOURCE,
    "medmnist_subsets": medmnist.SOURCE,
    "mri_2d_slices": mri_slices.SOURCE,
    "mri_misc": mri_volumes.SOURCES["mri_misc"],
    "mri_t1_fnndsc": mri_volumes.SOURCES["mri_t1_fnndsc"],
    "path_vqa": path_vqa.SOURCE,
    "slake": slake.SOURCE,
    "vqa_med_2019": vqa_med.SOURCE,
    "vqa_rad": vqa_rad.SOURCE,
}


def source_named(name: str) -> Source:
    """The source of that name; ``DataError`` with the closest match when there is none."""
    if name not in SOURCES:
        raise DataError(f"unknown source '{name}'", allowed=", ".join(SOURCES), next_step=closest(name, list(SOURCES)))
    return SOURCES[name]


def present(root: Path) -> list[str]:
    """Names of the sources whose folder lies below ``root``, in table order."""
    return [name for name, source in SOURCES.items() if source.is_present(root)]
