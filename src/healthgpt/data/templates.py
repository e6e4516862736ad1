"""Instructions: at least ten ways to ask for each task, chosen by record and seed.

The phrasings of generation tasks are ``tasks.PHRASINGS``, where ``Record.words`` sees them too. Those for saying what
an image shows are here. They do not name the modality: that is for the model to see.
"""

from typing import Literal

from healthgpt.sources.base import fraction_of
from healthgpt.tasks import PHRASINGS, task_named

Saying = Literal["caption", "report", "impression"]
"""What is to be said of an image: what it shows, a whole report, or only its conclusion."""

SAYINGS: dict[Saying, tuple[str, ...]] = {
    "caption": (
        "Describe this image.",
        "What does this image show?",
        "What can be seen in this picture?",
        "Give a caption for this medical image.",
        "Summarise the visible content of the image.",
        "Explain briefly what is depicted here.",
        "Provide a short description of this scan.",
        "Tell me what you see.",
        "How would you describe this image to a colleague?",
        "Please state what the image demonstrates.",
        "Write one or two sentences about this image.",
    ),
    "report": (
        "Write a short report of this image.",
        "Report the findings of this examination.",
        "Dictate the findings section for this study.",
        "Compose a radiology report for the image shown.",
        "What are the findings on this image?",
        "List the normal and abnormal findings.",
        "As the reading radiologist, describe this study.",
        "Please interpret this examination in the form of a report.",
        "Go through the image systematically and report what you find.",
        "Draft the text of the report for this image.",
        "Document the relevant observations in this image.",
    ),
    "impression": (
        "Give the impression for this study.",
        "Conclude this examination in one or two sentences.",
        "What is your overall impression of this image?",
        "Sum up the main finding.",
        "State the diagnosis this image supports.",
        "Write only the impression section of the report.",
        "What should the referring clinician know from this image?",
        "In short, what is the result of this examination?",
        "Please provide a concise radiological conclusion.",
        "Which conclusion do you draw from these images?",
        "Name the key finding, or say that there is none.",
    ),
}


def phrasing(task: str, record_id: str, seed: int, *, saying: Saying = "caption") -> str:
    """The instruction for a record: any of the task's phrasings, the same on every run with that seed.

    For a generation task from ``PHRASINGS``, for a reading task from ``SAYINGS[saying]``. The report to draw goes
    after the instruction, parted by a blank. ``TaskError`` for an unknown task.
    """
    known = PHRASINGS[task] if task_named(task).family == "generation" else SAYINGS[saying]
    return known[int(fraction_of(f"{seed}/phrasing/{record_id}") * len(known))]
