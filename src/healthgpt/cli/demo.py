"""``healthgpt demo``: read one image of each modality, draw each of the five tasks, show everything."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from healthgpt.cli import options
from healthgpt.cli.console import RESEARCH_ONLY, note, print_table, research_note, working
from healthgpt.cli.models import bundled
from healthgpt.errors import OutputError
from healthgpt.tasks import TASKS

QUESTIONS_SHOWN = 3
"""Questions asked of each image, of those bundled with it."""


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the images.")] = Path("demo"),
    samples: Annotated[
        Path | None, typer.Option("--samples", help="Another samples folder ('healthgpt data samples').")
    ] = None,
    model: options.Model = "nano",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Show all it can do on bundled sample images."""

    from healthgpt.cli.contact_sheet import contact_sheet
    from healthgpt.cli.samples import read_samples
    from healthgpt.imaging.write import write_png

    folder = samples or bundled("nano") / "samples"
    images, drawings = read_samples(folder)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(f"cannot make the folder {output}", found=str(fault.strerror)) from fault

    from healthgpt.inference.session import Session

    with working(f"loading {model}"):
        session = Session.from_pretrained(model, device=device, dtype=dtype)
    reading_tiles, answer_rows = _read_all(session, folder, output, images)
    print_table(
        "Reading: one image of each modality",
        ["image", "question", "answer", "truth", "confidence"],
        answer_rows,
    )
    right = sum(row[2].strip().lower() == row[3].lower() for row in answer_rows)
    print(f"{right} of {len(answer_rows)} answers are exactly right.\n")
    drawing_rows, task_rows = _draw_all(session, folder, output, drawings)
    print_table("Drawing: the five generation tasks", ["task", "from", "drawing", "confidence"], task_rows)
    sheet = output / "contact_sheet.png"
    pairs_of_tasks = [
        [tile for row in drawing_rows[first : first + 2] for tile in row] for first in range(0, len(drawing_rows), 2)
    ]
    page = contact_sheet([row for row in (reading_tiles, *pairs_of_tasks) if row], RESEARCH_ONLY)
    write_png(sheet, page, {"Task": "demo", "Model": model}, synthetic=True)
    command = _command_name()
    print(f"\nEverything is in {output}/; look at {sheet} first. Then type, for example:")
    print(f'  {command} ask {output / images[0].file} "Describe this image."')
    print(f'  {command} generate report-to-cxr --text "Frontal chest X-ray. The heart is enlarged." -o chest.png')
    print(f"  {command} chat {output / images[-1].file}")
    research_note()


def _read_all(session: Any, folder: Path, output: Path, images: list[Any]) -> tuple[list[Any], list[list[str]]]:
    """Ask all questions about all images in one batch; returns contact sheet tiles and table rows."""
    from healthgpt.cli.contact_sheet import Tile
    from healthgpt.imaging.intensity import to_display
    from healthgpt.imaging.read import read_image
    from healthgpt.request import ASK, Request

    pictures = [read_image(folder / sample.file) for sample in images]
    asked = [(number, line) for number, sample in enumerate(images) for line in sample.questions[:QUESTIONS_SHOWN]]
    with working(f"reading {len(images)} images"):
        answers = session.run([Request(ASK, pictures[number], line.question) for number, line in asked])
    tiles, rows = [], []
    for number, sample in enumerate(images):
        shutil.copyfile(folder / sample.file, output / sample.file)
        own = [(line, answer) for (place, line), answer in zip(asked, answers, strict=True) if place == number]
        for line, answer in own:
            label = "" if line is not own[0][0] else sample.file
            rows.append([label, line.question, answer.text, line.answer, f"{answer.confidence:.2f}"])
        said = ", ".join(answer.text for _, answer in own)
        tiles.append(Tile(to_display(pictures[number]), f"{sample.modality}: {said}"))
    return tiles, rows


def _draw_all(session: Any, folder: Path, output: Path, drawings: list[Any]) -> tuple[list[list[Any]], list[list[str]]]:
    """Draw all tasks in one batch; returns contact sheet rows (input, drawing, reference) and table rows."""
    from healthgpt.cli.contact_sheet import Tile
    from healthgpt.imaging.intensity import to_display
    from healthgpt.imaging.read import read_image
    from healthgpt.request import Request

    inputs = [None if sample.input is None else read_image(folder / sample.input) for sample in drawings]
    with working(f"drawing {len(drawings)} tasks"):
        drawn = session.run(
            [Request(sample.task, image, sample.text) for sample, image in zip(drawings, inputs, strict=True)]
        )
    sheet_rows, table_rows = [], []
    for sample, image, drawing in zip(drawings, inputs, drawn, strict=True):
        for name in filter(None, (sample.input, sample.reference)):
            shutil.copyfile(folder / name, output / name)
        written = drawing.save(output / f"{sample.task}-drawn.png")
        given = [] if image is None else [Tile(to_display(image), f"{TASKS[sample.task].title}: input")]
        caption = "drawn by the model" if sample.input else f"drawn from: {sample.text}"
        reference = Tile(to_display(read_image(folder / sample.reference)), "reference")
        sheet_rows.append([*given, Tile(drawing.pixels, caption), reference])
        source = sample.input or f'"{sample.text}"'
        table_rows.append([sample.task, source, written.name, f"{drawing.confidence:.2f}"])
    note("synthetic images: each PNG says so in its text chunks")
    return sheet_rows, table_rows


def _command_name() -> str:
    """How this person can call healthgpt again: plainly, or through the environment it runs in."""
    if shutil.which("healthgpt"):
        return "healthgpt"
    beside = Path(sys.executable).parent / "healthgpt"
    try:
        return str(beside.relative_to(Path.cwd()))
    except ValueError:
        return str(beside)
