"""Names of modalities and of generation tasks, as data sets and people write them."""

import pytest

from healthgpt.sources.modality import first_modality, generation_task, task_of_modality


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("mri", ["Magnetic Resonance Imaging", "MR", "mri", "T2w_MRI", "MR (Mag-netic Resonance Imaging)", "fMRI"]),
        ("ct", ["Computed Tomography", "CT(Computed Tomography)", "HRCT", "ct scan", "CBCT", "CT angiography"]),
        ("x-ray", ["X-Ray", "x ray", "XRAY", "chest radiograph", "Mammography", "DX", "CR", "Angiography", "xr"]),
        ("ultrasound", ["Ultrasound", "ultrasound imaging", "US", "Echocardiogram", "endoscopic ultrasound"]),
        ("microscopy", ["Microscopy Images", "Histopathology", "Electron microscopy", "Pathology", "photomicrograph"]),
        ("fundus", ["Fundus Photography", "fundus", "Colour fundus photograph"]),
        ("oct", ["Optical Coherence Tomography", "OCT", "oct"]),
        ("other", ["Endoscopy", "Digital Photography", "PET/CT", "SPECT", "other", "Fluorescein angiography"]),
        (None, ["Others", "Infrared Reflectance Imaging", "", "unknown"]),
    ],
)  # fmt: skip
def test_names_of_modalities(task: str | None, names: list[str]) -> None:
    assert {name: task_of_modality(name) for name in names} == dict.fromkeys(names, task)


@pytest.mark.parametrize(
    ("caption", "task"),
    [
        ("An axial CT scan, on which one could see the MRI verified herniation.", "ct"),
        ("Single photon emission computed tomography of a patient.", "other"),
        ("Let us see what Mr. Smith had in Oct 2008.", None),
        ("History of pathology in the gastric fundus.", None),
        ("Retrograde venography, then PET-CT.", "other"),
    ],
)
def test_captions_name_their_modality_in_passing(caption: str, task: str | None) -> None:
    assert first_modality(caption) == task


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ("ct-to-mri", "ct-to-mri"),
        ("CT2MRI", "ct-to-mri"),
        ("MR_to_CT", "mri-to-ct"),
        ("Generate a CT image from this MRI.", "mri-to-ct"),
        ("Please convert the CT into an MRI.", "ct-to-mri"),
        ("Super Resolution", "super-resolution"),
        ("sr", "super-resolution"),
        ("Reconstruct the image.", "reconstruct"),
        ("Draw a chest X-ray of this report: effusion", "report-to-cxr"),
        ("colourise", None),
    ],
)
def test_generation_tasks(words: str, task: str | None) -> None:
    assert generation_task(words) == task
