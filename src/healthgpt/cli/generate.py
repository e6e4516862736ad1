"""``healthgpt generate``: draw an image from an image or from a report."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, print_json, research_note, working
from healthgpt.tasks import GENERATION_TASKS


def generate(
    task: Annotated[str, typer.Argument(metavar="TASK", help=f"One of {', '.join(GENERATION_TASKS)}.")],
    input_path: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="The image to work from; none for report-to-cxr.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the PNG.")] = ...,  # type: ignore[assignment]
    text: Annotated[str | None, typer.Option("--text", help="The report to draw, for report-to-cxr.")] = None,
    model: options.Model = "nano",
    json: options.Json = False,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quantize: options.Quantize = None,
    slice_index: options.Slice = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            "--guidance",
            help="How much a report's picture follows it; 1: as the model is.",
            show_default="the model's own",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Draw even when the model was not trained for the task.")
    ] = False,
) -> None:
    """Draw an image from an image or a report."""
    from healthgpt.request import Request, check_guidance, drawing_task

    Request(drawing_task(task), input_path, text)
    check_guidance(task, guidance)
    options.check_slice(input_path, slice_index)

    from healthgpt.imaging.read import read_image
    from healthgpt.imaging.write import check_output

    # Before the model loads: nobody should wait for a drawing that cannot be read or written.
    check_output(output)
    image = None if input_path is None else read_image(input_path, slice_index)

    from healthgpt.inference.sampling import Sampling
    from healthgpt.inference.session import Session

    # Numbers out of range are refused before the model loads.
    Sampling(temperature, top_k, top_p, seed, guidance=1.0 if guidance is None else guidance)

    with working(f"drawing ({model})"):
        session = Session.from_pretrained(model, device=device, dtype=dtype, quantize=quantize)
        drawing = session.generate(
            task,
            image,
            text=text,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            guidance=guidance,
            force=force,
        )
        drawing.save(output)
    if json:
        print_json(drawing.as_json(output))
    else:
        print(output)
        note(f"synthetic image, confidence {drawing.confidence:.2f}, {drawing.model}, {drawing.seconds:.1f} s")
    research_note()
