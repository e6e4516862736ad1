"""What a build left out, for its inspection page: reasons with counts and places, from the files beside the records."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REASONS = 200
"""(source, reason) pairs told apart; reasons may quote what was found. The rest count together."""
PLACES = 3


@dataclass
class LeftOut:
    """Quarantined rows by (source, reason), each with a few places, and withheld records with a few ids."""

    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    places: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    withheld: int = 0
    withheld_ids: list[str] = field(default_factory=list)


def left_out(folder: Path) -> LeftOut:
    """Read quarantine.jsonl and withheld.jsonl line by line; lines that are damaged count as such."""
    found = LeftOut()
    for row in _lines(folder / "quarantine.jsonl"):
        key = (str(row.get("source", "")), str(row.get("reason", "a damaged line of quarantine.jsonl"))[:200])
        if key not in found.reasons and len(found.reasons) >= REASONS:
            key = ("", "other reasons")
        found.reasons[key] += 1
        places = found.places.setdefault(key, [])
        if len(places) < PLACES and "file" in row:
            places.append(f"{row['file']}, {row.get('line')}")
    for row in _lines(folder / "withheld.jsonl"):
        found.withheld += 1
        if len(found.withheld_ids) < PLACES:
            found.withheld_ids.append(str(row.get("id")))
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                row = {}
            yield row if isinstance(row, dict) else {}
