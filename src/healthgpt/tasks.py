"""The task table: seven comprehension modalities and five generation tasks (VL-Health's task types).

A task fixes, before any weight is read, the family (which plugin set works), the grain (which
visual features are used), what goes in and what comes out. The router is this table: hard,
task-level, never learned (HealthGPT, section 3.3, "hierarchical visual perception").
"""

from dataclasses import dataclass
from typing import Literal

from healthgpt.errors import TaskError, closest

Family = Literal["comprehension", "generation"]
Grain = Literal["abstract", "concrete"]


@dataclass(frozen=True)
class Task:
    """One row of the table.

    ``takes_image`` / ``takes_text``: what the caller must give. ``draws``: the modality of the image
    that comes out, ``"same"`` for the input's own, ``None`` for tasks that answer in words.
    ``instructions``: phrasings of the task; the first is the default prompt.
    """

    name: str
    family: Family
    title: str
    takes_image: bool
    takes_text: bool
    draws: str | None
    instructions: tuple[str, ...]

    @property
    def grain(self) -> Grain:
        """Abstract (deep) features for reading, concrete (shallow) ones for drawing."""
        return "abstract" if self.family == "comprehension" else "concrete"


def _reads(name: str, title: str) -> Task:
    return Task(
        name,
        "comprehension",
        title,
        takes_image=True,
        takes_text=True,
        draws=None,
        instructions=("Describe this image.", "What does this image show?", "Write a short report of this image."),
    )


TASKS: dict[str, Task] = {
    "x-ray": _reads("x-ray", "X-ray"),
    "ct": _reads("ct", "CT"),
    "mri": _reads("mri", "MRI"),
    "microscopy": _reads("microscopy", "microscopy"),
    "oct": _reads("oct", "OCT"),
    "ultrasound": _reads("ultrasound", "ultrasound"),
    "fundus": _reads("fundus", "fundus photograph"),
    "ct-to-mri": Task(
        "ct-to-mri",
        "generation",
        "CT to MRI",
        True,
        False,
        "mri",
        ("Turn this CT into an MRI.", "Draw the MRI of this CT.", "Convert the CT image to MRI."),
    ),
    "mri-to-ct": Task(
        "mri-to-ct",
        "generation",
        "MRI to CT",
        True,
        False,
        "ct",
        ("Turn this MRI into a CT.", "Draw the CT of this MRI.", "Convert the MRI image to CT."),
    ),
    "super-resolution": Task(
        "super-resolution",
        "generation",
        "4x super-resolution",
        True,
        False,
        "same",
        ("Sharpen this image four times.", "Draw this image at four times the resolution.", "Restore the fine detail."),
    ),
    "reconstruct": Task(
        "reconstruct",
        "generation",
        "reconstruction",
        True,
        False,
        "same",
        ("Reconstruct the image.", "Draw this image again.", "Reproduce the image."),
    ),
    "report-to-cxr": Task(
        "report-to-cxr",
        "generation",
        "report to chest X-ray",
        False,
        True,
        "x-ray",
        ("Draw the chest X-ray of this report:", "Make a chest X-ray from this report:", "Chest X-ray for:"),
    ),
    "other": _reads("other", "other image"),
}

READING_TASKS: tuple[str, ...] = tuple(name for name, task in TASKS.items() if task.family == "comprehension")
MODALITIES: tuple[str, ...] = tuple(name for name in READING_TASKS if name != "other")
"""The seven of VL-Health's task types. ``other`` is what its sources hold beside them: endoscopy, dermoscopy, figures,
everyday photographs, and questions without an image."""
GENERATION_TASKS: tuple[str, ...] = tuple(name for name, task in TASKS.items() if task.family == "generation")

PHRASINGS: dict[str, tuple[str, ...]] = {
    "ct-to-mri": (
        *TASKS["ct-to-mri"].instructions,
        "Synthesize the MRI that corresponds to this CT slice.",
        "What would this slice look like on MRI? Draw it.",
        "Generate a magnetic resonance image from the given computed tomography image.",
        "Show the same anatomy as an MR image.",
        "From this CT, predict the MRI of the same patient at the same level.",
        "Translate the image from CT contrast to MR contrast.",
        "Produce an MR image that is aligned with this CT.",
        "Please create the matching MRI for the CT shown.",
        "Replace the CT appearance with that of MRI and keep the anatomy.",
    ),
    "mri-to-ct": (
        *TASKS["mri-to-ct"].instructions,
        "Synthesize the CT that corresponds to this MRI slice.",
        "What would this slice look like on CT? Draw it.",
        "Generate a computed tomography image from the given magnetic resonance image.",
        "Show the same anatomy as a CT image.",
        "From this MRI, predict the CT of the same patient at the same level.",
        "Translate the image from MR contrast to CT attenuation.",
        "Produce a synthetic CT that is aligned with this MR image.",
        "Please create the matching CT for the MRI shown.",
        "Replace the MRI appearance with that of CT and keep the anatomy.",
    ),
    "super-resolution": (
        *TASKS["super-resolution"].instructions,
        "Recover a high-resolution image from this low-resolution one.",
        "Increase the resolution of this scan by a factor of four.",
        "Remove the blur and draw the image in full detail.",
        "Upsample this image fourfold and keep the anatomy unchanged.",
        "Produce the high-resolution version of the given image.",
        "This image was acquired at a quarter of the resolution. Draw it at full resolution.",
        "Make the edges and small structures of this image sharp again.",
        "Please enhance the spatial resolution four times.",
        "Generate a 4x super-resolved image.",
    ),
    "reconstruct": (
        *TASKS["reconstruct"].instructions,
        "Draw the same image as the one given.",
        "Copy this image as faithfully as possible.",
        "Generate an identical version of the input image.",
        "Rebuild the picture from what you see.",
        "Output the input image unchanged.",
        "Recreate this scan without altering it.",
        "Please return the image exactly as shown.",
        "Give back the original picture.",
        "Encode this image and decode it again.",
    ),
    "report-to-cxr": (
        *TASKS["report-to-cxr"].instructions,
        "Generate a chest radiograph that shows these findings:",
        "Create the frontal chest film described here:",
        "What chest X-ray would a radiologist have described like this? Draw it:",
        "Synthesize a chest X-ray that matches the following report:",
        "Please produce a radiograph of the chest with the following findings:",
        "Here is a radiology report. Draw the chest X-ray it was written for:",
        "Turn this report into a chest radiograph:",
        "Illustrate the following description with a chest X-ray:",
        "The radiologist dictated the text below. Show the image:",
    ),
}
"""Phrasings of the generation tasks for instruction data, the task's own first. A table of its own, as nano's simulated
data picks among ``Task.instructions`` by number and its weights were trained with those. None begins another."""


def task_named(name: str) -> Task:
    """The task of that name; ``TaskError`` with the closest match when there is none."""
    if name not in TASKS:
        raise TaskError(
            f"unknown task '{name}'",
            allowed=", ".join(TASKS),
            next_step=closest(name, list(TASKS)),
        )
    return TASKS[name]
