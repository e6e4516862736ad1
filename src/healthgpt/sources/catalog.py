"""The table of sources: every published data set this package reads, and which of them are at hand."""

from pathlib import Path

from healthgpt.errors import DataError, closest
from healthgpt.sources import (
    bccd,
    bids,
    busi,
    covid_cxr_notes,
    ct_mr_atlas,
    ct_volumes,
    cxr_hannover,
    dicom_samples,
    fundus_histology,
    idrid,
    ixi,
    llava,
    llava_med,
    medmnist,
    medmnist_sets,
    mimic_cxr,
    mimic_cxr_vqa,
    mri_slices,
    mri_volumes,
    omnimed_vqa,
    openi,
    path_vqa,
    plain_folder,
    pubmedvision,
    roco,
    slake,
    synthrad,
    visible_human,
    vl_health,
    vqa_med,
    vqa_med_2020,
    vqa_med_2021,
    vqa_rad,
)
from healthgpt.sources.base import Source

SOURCES: dict[str, Source] = {
    "bccd_microscopy": bccd.SOURCE,
    "bids": bids.SOURCE,
    "busi_ultrasound": busi.SOURCE,
    "covid_cxr_notes": covid_cxr_notes.SOURCE,
    "ct_mr_atlas": ct_mr_atlas.SOURCE,
    "ct_visible_human": visible_human.SOURCE,
    "ct_volumes": ct_volumes.SOURCE,
    "cxr_hannover": cxr_hannover.SOURCE,
    "dicom_samples": dicom_samples.SOURCE,
    "folder": plain_folder.SOURCE,
    "fundus_histology_2d": fundus_histology.SOURCE,
    "idrid_fundus": idrid.SOURCE,
    "ixi": ixi.SOURCE,
    "llava_558k": llava.ALIGNMENT,
    "llava_665k": llava.INSTRUCT,
    "llava_med_alignment": llava_med.ALIGNMENT,
    "llava_med_eval": llava_med.EVALUATION,
    "llava_med_instruct": llava_med.INSTRUCT,
    "medmnist": medmnist_sets.SOURCE,
    "medmnist_subsets": medmnist.SOURCE,
    "mimic_cxr": mimic_cxr.SOURCE,
    "mimic_cxr_vqa": mimic_cxr_vqa.SOURCE,
    "mri_2d_slices": mri_slices.SOURCE,
    "mri_misc": mri_volumes.SOURCES["mri_misc"],
    "mri_t1_fnndsc": mri_volumes.SOURCES["mri_t1_fnndsc"],
    "omnimed_vqa": omnimed_vqa.SOURCE,
    "openi": openi.SOURCE,
    "path_vqa": path_vqa.SOURCE,
    "pubmedvision_alignment": pubmedvision.ALIGNMENT,
    "pubmedvision_instruct": pubmedvision.INSTRUCT,
    "roco": roco.SOURCE,
    "slake": slake.SOURCE,
    "synthrad2023": synthrad.SOURCE,
    "vl_health": vl_health.SOURCE,
    "vqa_med_2019": vqa_med.SOURCE,
    "vqa_med_2020": vqa_med_2020.SOURCE,
    "vqa_med_2021": vqa_med_2021.SOURCE,
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
