"""What a run writes down as it goes on: losses, validations, events; one JSON line each, so a kill loses one at most.

RUN/journal.jsonl      every logged step          RUN/validation.jsonl      every validation
RUN/events.jsonl       skipped steps, restarts    RUN/groups.json, data.json    what trains, what from
"""

import json
from pathlib import Path
from typing import Any

JOURNAL, VALIDATION, HELD_OUT, EVENTS = "journal.jsonl", "validation.jsonl", "held_out.jsonl", "events.jsonl"


class Journal:
    """The files of one run; only the main process has one that writes."""

    def __init__(self, run: Path, *, writes: bool = True) -> None:
        self.run = run
        self.writes = writes

    def add(self, file: str, line: dict[str, Any]) -> None:
        """Append a line."""
        if self.writes:
            with (self.run / file).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")

    def event(self, step: int, what: str, why: str = "") -> None:
        """Append an event."""
        self.add(EVENTS, {"step": step, "what": what, "why": why})

    def lines(self, file: str) -> list[dict[str, Any]]:
        """All whole lines of a file; what a kill cut off is left out."""
        path = self.run / file
        found = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return found

    def go_back(self, step: int) -> None:
        """Forget steps after ``step``, which are made again."""
        for file in (JOURNAL, VALIDATION, HELD_OUT):
            if self.writes and (self.run / file).is_file():
                kept = [line for line in self.lines(file) if line["step"] <= step]
                partial = self.run / f"{file}.partial"
                partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
                partial.replace(self.run / file)
