"""``healthgpt ask``: one question, with or without an image."""

import os
from typing import Annotated

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, print_json, research_note, working
from healthgpt.errors import QuestionError


def split_words(words: list[str]) -> tuple[str | None, str]:
    """(image path or None, question) from what was typed after ``ask``.

    A lone word is the question; ``QuestionError`` when it names a file, for then the question was forgotten.
    """
    if len(words) == 1:
        if os.path.exists(words[0]):  # Path.exists raises on a question too long for a file name
            raise QuestionError(
                "the question is missing",
                found=f"only the file {words[0]}",
                next_step=f'healthgpt ask {words[0]} "What does this image show?"',
            )
        return None, words[0]
    if len(words) == 2:
        return words[0], words[1]
    raise QuestionError(
        "ask takes an image and one question",
        found=f"{len(words)} words after 'ask'",
        next_step="put the question in quotes",
    )


def ask(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[IMAGE] QUESTION", help="The image may be left out; the question goes in quotes."),
    ],
    model: options.Model = "nano",
    json: options.Json = False,
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
    """Ask a question about an image, or one without."""
    path, question = split_words(words)
    options.check_slice(path, slice_index)

    from healthgpt.imaging.read import read_image
    from healthgpt.request import ASK, Request

    Request(ASK, path, question)
    image = None if path is None else read_image(path, slice_index)

    from healthgpt.inference.sampling import Sampling
    from healthgpt.inference.session import Session

    Sampling(temperature, top_k, top_p, seed)  # refuses numbers out of range before the model loads

    with working(f"thinking ({model})"):
        session = Session.from_pretrained(model, device=device, dtype=dtype, quantize=quantize)
        answer = session.ask(
            image,
            question,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
    if json:
        print_json(answer.as_json())
    else:
        print(answer.text)
        said = "" if answer.text else "the model said nothing; "
        note(f"{said}confidence {answer.confidence:.2f}, {answer.model}, {answer.seconds:.1f} s")
    research_note()
