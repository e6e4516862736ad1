"""One inference request: a question about an image, or an image to draw; checked before anything is loaded."""

from dataclasses import dataclass
from pathlib import Path

from healthgpt.errors import QuestionError, TaskError, closest
from healthgpt.imaging.image import Image
from healthgpt.tasks import GENERATION_TASKS, TASKS, Family, task_named

ASK = "ask"
"""Task name of a plain question: the model reads, and the modality need not be known."""


@dataclass(frozen=True, eq=False)
class Request:
    """What one row of a batch asks for; families may be mixed among the requests of one call.

    ``task``: ``ask``, a modality (a question about an image known to be of it) or a generation task.
    ``image``: a path, pixels already read, or None for a task (or a question) without one.
    ``text``: the question, or the report to draw. ``slice_index``: which slice of a volume, the middle if None.

    Raises ``TaskError`` for an unknown task or inputs that do not fit it, ``QuestionError`` for an empty question.
    """

    task: str
    image: str | Path | Image | None = None
    text: str | None = None
    slice_index: int | None = None

    def __post_init__(self) -> None:
        if self.family == "comprehension":
            self._check_question()
        else:
            self._check_drawing()

    @property
    def family(self) -> Family:
        """Which plugin set serves the request."""
        return "comprehension" if self.task == ASK else task_named(self.task).family

    def _check_question(self) -> None:
        if self.text is None or not self.text.strip():
            raise QuestionError(
                "the question is empty",
                found=repr(self.text or ""),
                allowed="a question in words",
                next_step='for example "Which organ is shown?"',
            )

    def _check_drawing(self) -> None:
        task = TASKS[self.task]
        if task.takes_image and self.image is None:
            raise TaskError(
                f"task '{self.task}' needs an input image", found="none", next_step="name an image file after the task"
            )
        if not task.takes_image and self.image is not None:
            raise TaskError(
                f"task '{self.task}' takes no input image",
                found=str(self.image) if isinstance(self.image, str | Path) else "an image",
                allowed="a report as text",
                next_step="leave the image out",
            )
        if task.takes_text and (self.text is None or not self.text.strip()):
            raise TaskError(
                f"task '{self.task}' needs a report as text",
                found="none" if self.text is None else repr(self.text),
                next_step='give one with --text "Frontal chest X-ray. The heart is enlarged."',
            )
        if not task.takes_text and self.text is not None:
            raise TaskError(
                f"task '{self.task}' takes no text",
                found=repr(self.text),
                allowed="an input image only",
                next_step="leave the text out",
            )


def drawing_task(name: str) -> str:
    """``name`` if it is a generation task; ``TaskError`` with the closest match, or pointing to ``ask``, if not."""
    if name in GENERATION_TASKS:
        return name
    if name in TASKS:
        raise TaskError(
            f"'{name}' is a reading task and draws nothing",
            allowed=", ".join(GENERATION_TASKS),
            next_step="ask about the image with 'healthgpt ask IMAGE QUESTION'",
        )
    raise TaskError(
        f"unknown task '{name}'",
        allowed=", ".join(GENERATION_TASKS),
        next_step=closest(name, list(GENERATION_TASKS)),
    )


def check_guidance(task: str, guidance: float | None) -> None:
    """``TaskError`` when guidance is asked for where no words guide."""
    if guidance is not None and not TASKS[task].takes_text:
        with_words = [name for name in GENERATION_TASKS if TASKS[name].takes_text]
        raise TaskError(
            f"task '{task}' draws from no words that could guide it",
            found=f"guidance {guidance:g}",
            allowed=", ".join(with_words),
            next_step="leave the guidance out",
        )
