"""Words for imaging modalities, and the reading task each belongs to.

Data sets name modalities in many ways (``Magnetic Resonance Imaging``, ``MR``, ``T2w MRI``); a caption names them in
passing. What belongs to none of the seven (endoscopy, PET, dermoscopy, photographs) is ``other``.
"""

import re
from functools import lru_cache

from healthgpt.tasks import READING_TASKS

_NAMES: tuple[tuple[str, str, str], ...] = (
    # Task, words in any case, abbreviations in capitals ("us", "oct" and "mr" are words of captions too).
    # First what contains the name of a modality and is another.
    (
        "other",
        "single[- ]photon[- ]emission(?: computed tomography)?|positron[- ]emission|fluorescein angiogra[a-z]*"
        "|(?:endo|dermo|colono|gastro|broncho|laparo|cysto)scop[a-z]*(?! ultraso)|photograph(?:s|y)?",
        "SPECT(?:/CT)?|PET(?:[-/ ]?CT)?",
    ),
    ("fundus", "fundus (?:photograph|image|camera)[a-z]*|retinal photograph[a-z]*", ""),
    ("oct", "optical coherence tomogra[a-z]*", "OCT"),
    ("ct", "(?:comput(?:ed|eri[sz]ed)|cone[- ]beam(?: computed)?) tomogra[a-z]*", "(?:HR|CB)?CTA?"),
    ("mri", "magnetic resonance", "F?MRI?S?|MRIs|fMRI|MRA|MRCP"),
    ("ultrasound", "ultraso[a-z]*|(?:echo)?sonogra[a-z]*|echocardiogra[a-z]*|doppler", "US"),
    (
        "microscopy",
        "microscop(?:es?|y|ic)|(?:photo)?micrograph[a-z]*|histo(?:log|path|chem)[a-z]*|immunohisto[a-z]*|cytolog[a-z]*",
        "H&E",
    ),
    # Angiography without another modality named is X-ray with contrast.
    (
        "x-ray",
        "x[- ]?rays?|(?:tele)?radiogra[a-z]*|mammogra[a-z]*|fluoroscop[a-z]*|angiogra[a-z]*"
        "|(?:ortho)?pantomogra[a-z]*|panoramic",
        "CXR|DSA|DX",
    ),
)
_TASKS = tuple(task for task, _, _ in _NAMES)
_PATTERN = re.compile(
    "(?<![A-Za-z0-9])(?:"
    + "|".join(f"((?i:{words}){'|' + capitals if capitals else ''})" for _, words, capitals in _NAMES)
    + ")(?![A-Za-z0-9])"
)
_SHORT_NAMES = {"pathology": "microscopy", "oct scan": "oct", "xr": "x-ray", "cr": "x-ray", "mammo": "x-ray"}


def first_modality(text: str) -> str | None:
    """Reading task of the modality that a text names first; None when it names none."""
    found = _PATTERN.search(text)
    return _TASKS[found.lastindex - 1] if found and found.lastindex else None


@lru_cache(maxsize=4096)
def task_of_modality(name: str) -> str | None:
    """Reading task of a modality's name; None for a name that is not known."""
    plain = " ".join(name.replace("_", " ").lower().split())
    if plain.replace(" ", "-") in READING_TASKS:
        return plain.replace(" ", "-")
    return _SHORT_NAMES.get(plain) or first_modality(plain.upper())


_MRI, _CT = r"\b(?:mri?|t[12]w?)\b", r"\b(?:cb)?ct\b"
_GENERATION = (
    ("report-to-cxr", re.compile(r"\breport\b.*\b(?:cxr|x rays?|radiograph)\b|\b(?:cxr|x rays?)\b.*\breport\b")),
    ("super-resolution", re.compile(r"super ?resol|\bsharpen|\bsr\b|high(?:er)? resolution")),
    ("mri-to-ct", re.compile(rf"{_MRI}.*\b(?:to|into)\b.*{_CT}|{_CT}.*\bfrom\b.*{_MRI}")),
    ("ct-to-mri", re.compile(rf"{_CT}.*\b(?:to|into)\b.*{_MRI}|{_MRI}.*\bfrom\b.*{_CT}")),
    ("reconstruct", re.compile(r"\breconstruct")),
)


@lru_cache(maxsize=4096)
def generation_task(words: str) -> str | None:
    """Generation task that a name (``CT2MRI``, ``sr``) or an instruction stands for; None when it is not clear."""
    plain = re.sub(r"(?<=[a-z])2(?=[a-z])|->|→", " to ", words.lower())
    plain = " ".join(re.split(r"[\s_-]+", plain)).strip()
    return next((task for task, pattern in _GENERATION if pattern.search(plain)), None)
