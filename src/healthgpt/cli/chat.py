"""``healthgpt chat``: a conversation about one image, answers written as they are thought of."""

import sys
from typing import Annotated

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, research_note, working
from healthgpt.errors import QuestionError

LEAVE = ("/quit", "/exit")


def chat(
    image_path: Annotated[
        str | None, typer.Argument(metavar="IMAGE", help="The image the conversation is about; may be left out.")
    ] = None,
    model: options.Model = "nano",
    max_new_tokens: options.MaxNewTokens = 64,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quantize: options.Quantize = None,
    slice_index: options.Slice = None,
) -> None:
    """Talk about an image, one question a line."""
    options.check_slice(image_path, slice_index)

    from healthgpt.imaging.read import read_image

    image = None if image_path is None else read_image(image_path, slice_index)

    from healthgpt.inference.sampling import Sampling
    from healthgpt.inference.session import Session

    Sampling(temperature, top_k, top_p, seed)  # refuses numbers out of range before the model loads

    with working(f"loading {model}"):
        session = Session.from_pretrained(model, device=device, dtype=dtype, quantize=quantize)
    research_note()
    note("One question a line; /quit or Ctrl-D leaves.")
    history: list[tuple[str, str]] = []
    while (question := _next_question()) is not None:
        if not question:
            continue
        pieces: list[str] = []
        try:
            for piece in session.stream(
                image,
                question,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                seed=seed,
                history=history,
            ):
                print(piece, end="", flush=True)
                pieces.append(piece)
        except QuestionError as fault:
            # A question too long for the context is no reason to end the conversation.
            note(f"error: {fault.line()}")
            continue
        print(flush=True)
        history.append((question, "".join(pieces)))


def _next_question() -> str | None:
    """The next line typed, stripped; None when the person leaves."""
    print("> ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line or line.strip() in LEAVE:
        return None
    return line.strip()
