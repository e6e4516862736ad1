"""``healthgpt models check``: is a model folder whole, do its parts fit together, does it work."""

from typing import Annotated, Any

import typer

from healthgpt.cli.console import note, print_table, working
from healthgpt.errors import HealthGPTError, ModelError

QUESTION = "What does this image show?"
WORDS = 4


def check(model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or its folder.")]) -> None:
    """Check a model: every file's hash, every tensor's shape, and a self-test of each family."""
    from healthgpt.inference.session import Session, model_folder
    from healthgpt.model.checkpoint import read_config, verify

    folder = model_folder(model)
    config = read_config(folder)
    rows: list[list[str]] = []
    faults: list[str] = []

    def tried(name: str, check: Any) -> Any:
        """Note how one check went; its result, None when it failed."""
        try:
            result, found = check()
        except HealthGPTError as fault:
            rows.append(["FAULT", name, fault.line()])
            faults.append(fault.line())
            return None
        rows.append(["ok", name, found])
        return result

    def hashes() -> tuple[bool, str]:
        verify(folder, config)
        return True, f"{len(config.hashes)} files are as recorded"

    def shapes() -> tuple[Session, str]:
        session = Session.from_pretrained(folder, device="cpu")
        count = sum(parameter.numel() for parameter in session.model.parameters())
        return session, f"{count:,} parameters fit together"

    with working(f"checking {model}"):
        whole = tried("files", hashes)
        session = tried("shapes", shapes) if whole else None
        if session is not None:
            tried("self-test", lambda: (True, self_test(session)))
    print_table(f"{config.name} in {folder}", ["", "part", "found"], rows)
    if faults:
        raise ModelError(f"the model in {folder} is not sound", found=f"{len(faults)} fault", next_step="see the table")
    note(f"{config.name} is sound")


def self_test(session: Any) -> str:
    """Each family works on a grey ramp, alone and in one batch; ``ModelError`` when the two differ."""
    import numpy as np

    from healthgpt.imaging.image import Image
    from healthgpt.request import ASK, Request
    from healthgpt.tasks import TASKS

    square = Image(np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64), "display")
    requests = [Request(ASK, square, QUESTION)] if "comprehension" in session.specs else []
    if "generation" in session.specs:
        task = session.specs["generation"].tasks[0]
        given = TASKS[task]
        requests.append(Request(task, square if given.takes_image else None, QUESTION if given.takes_text else None))
    if not requests:
        return "nothing to try: the model has no plugins"

    def said(result: Any) -> list[Any]:
        return result.token_ids if hasattr(result, "token_ids") else result.codes

    apart = [said(session.run([request], max_new_tokens=WORDS)[0]) for request in requests]
    together = [said(result) for result in session.run(requests, max_new_tokens=WORDS)]
    if apart != together:
        raise ModelError("rows in one batch differ from the same rows apart")
    return f"{', '.join(request.task for request in requests)}: the same alone and in one batch"
