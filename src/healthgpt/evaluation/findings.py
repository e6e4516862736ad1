"""Does a drawn chest X-ray show what its report says? Measured from its pixels by the phantom's reader."""

from collections.abc import Sequence

import numpy as np

from healthgpt.evaluation.pictures import grey
from healthgpt.phantoms.cxr_report import agreement, parse_report
from healthgpt.phantoms.read_chest_xray import measure


def measured(pixels: np.ndarray) -> dict:
    """The reader's findings in one uint8 image."""
    return measure((grey(pixels) / 255).astype(np.float32))


def finding_agreement(findings: Sequence[dict], reports: Sequence[str]) -> dict[str, float]:
    """Percent of images whose measured finding is the report's, per finding and on average."""
    said = [parse_report(report) for report in reports]
    return _rates([agreement(seen, own) for seen, own in zip(findings, said, strict=True)])


def agreement_with_others(findings: Sequence[dict], reports: Sequence[str]) -> dict[str, float]:
    """The same for every image with every report but its own: what drawing without reading the report gets."""
    said = [parse_report(report) for report in reports]
    pairs = [(seen, other) for row, seen in enumerate(findings) for place, other in enumerate(said) if place != row]
    return _rates([agreement(seen, other) for seen, other in pairs])


def _rates(compared: Sequence[dict[str, bool]]) -> dict[str, float]:
    hits: dict[str, list[bool]] = {}
    for agreed in compared:
        for name, agrees in agreed.items():
            hits.setdefault(name, []).append(agrees)
    rates = {name: round(100 * float(np.mean(values)), 1) for name, values in hits.items()}
    return rates | {"mean": round(float(np.mean(list(rates.values()))), 1)} if rates else {}
