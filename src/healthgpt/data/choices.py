"""Questions in their two forms: open, and single choice with options A to D.

The wrong options of a choice are answers that other questions of the same type have, in the same data set.
``AnswerPool`` remembers them while a data set is read: a fixed number of distinct answers for each (source, question
type), chosen by their hash. So the pool does not depend on order or on how the work is cut into chunks, pools of
parts merge into the pool of the whole, and its size does not grow with the data.

What this cannot know: whether a wrong option happens to be right for the picture as well ("heart" beside "lung" for
an organ in a chest X-ray). Options that say the same as the answer, more or less of it, are kept out by their words.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import nsmallest
from itertools import islice
from math import gcd
from typing import Literal, NamedTuple

from healthgpt.data.normalise import clean_text, normalise_answer
from healthgpt.errors import DataError
from healthgpt.record import choice_text
from healthgpt.sources.base import fraction_of

LETTERS = "ABCD"
KEPT = 256
"""Distinct answers kept for each (source, question type, form of answer)."""
LONGEST_OPTION = 80
"""Characters of the longest answer that makes a sensible option."""
SHORTLIST = 12
"""Wrong answers drawn for a question; three of them become its options, those most like the answer in length first."""

Shape = Literal["number", "measure", "side", "word", "phrase", "clause"]
"""What an answer looks like: a count, a number with more, a side, one word, up to three words, more."""
RELATIVES: dict[Shape, tuple[Shape, ...]] = {
    "number": ("number",),
    "measure": ("measure",),
    "side": ("side",),
    "word": ("word", "phrase", "clause"),
    "phrase": ("phrase", "word", "clause"),
    "clause": ("clause", "phrase", "word"),
}
"""Where wrong options are looked for, nearest first: a count stands among counts, a side among sides."""

FormPolicy = Literal["open", "choice", "both"] | float
"""Which forms a question takes; a number in [0, 1] is the share of questions put as a choice, the others are open."""


class Posed(NamedTuple):
    """A question in one of its forms. ``options`` is empty in the open form, else ``response`` is one of them."""

    instruction: str
    response: str
    options: tuple[str, ...]


class AnswerPool:
    """Distinct open answers of each (source, question type): the ``KEPT`` of smallest hash for each shape.

    Equal contents make equal pools, whatever the order of ``add`` and ``|``. Yes, no, whole sentences and answers
    longer than ``LONGEST_OPTION`` are never kept. Spellings that differ in case only are one answer.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.kept = kept
        self._sketches: dict[tuple[str, str, Shape], dict[int, str]] = {}
        self._sorted: dict[tuple[str, str, Shape], tuple[str, ...]] = {}

    def add(self, source: str, kind: str, answer: str) -> None:
        """Remember the normalised answer to an open question of type ``kind``."""
        if answer in ("yes", "no") or not _is_option(answer):
            return
        rank, shape = _rank_and_shape(answer)
        key = (source, kind, shape)
        sketch = self._sketches.setdefault(key, {})
        known = sketch.get(rank)
        if known is None or answer < known:
            sketch[rank] = answer
            self._sorted.pop(key, None)
            # Trimmed at double size, so that the cost of sorting is spread over as many additions.
            if len(sketch) > 2 * self.kept:
                self._sketches[key] = self._trimmed(sketch)

    def answers(self, source: str, kind: str, shape: Shape) -> tuple[str, ...]:
        """At most ``kept`` answers of that shape, in an order that depends on the answers alone."""
        key = (source, kind, shape)
        if key not in self._sorted:
            self._sorted[key] = tuple(self._trimmed(self._sketches.get(key, {})).values())
        return self._sorted[key]

    def __or__(self, other: "AnswerPool") -> "AnswerPool":
        """The pool of everything that was added to either; both keep the same number of answers."""
        if self.kept != other.kept:
            raise ValueError(f"pools that keep {self.kept} and {other.kept} answers do not merge")
        merged = AnswerPool(self.kept)
        for pool in (self, other):
            for key, sketch in pool._sketches.items():
                both = merged._sketches.setdefault(key, {})
                for rank, answer in sketch.items():
                    both[rank] = min(answer, both.get(rank, answer))
        return merged

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnswerPool) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> dict[str, object]:
        """The pool as JSON holds it: ``{"kept": 256, "answers": [[source, kind, shape, [answer, ...]], ...]}``."""
        keys = sorted(key for key, sketch in self._sketches.items() if sketch)
        return {"kept": self.kept, "answers": [[*key, list(self.answers(*key))] for key in keys]}

    @classmethod
    def from_json(cls, data: dict) -> "AnswerPool":
        """The pool that ``to_json`` wrote; ``DataError`` when ``data`` is something else."""
        try:
            pool = cls(int(data["kept"]))
            for source, kind, _, answers in data["answers"]:
                for answer in answers:
                    pool.add(source, kind, answer)
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise DataError("not a pool of answers", found=repr(fault)) from fault
        return pool

    def _trimmed(self, sketch: dict[int, str]) -> dict[int, str]:
        ranks = sorted(sketch) if len(sketch) <= self.kept else nsmallest(self.kept, sketch)
        return {rank: sketch[rank] for rank in ranks}


def _is_option(answer: str) -> bool:
    return bool(answer) and len(answer) <= LONGEST_OPTION and not answer.endswith(".")


@lru_cache(maxsize=1 << 15)
def _rank_and_shape(answer: str) -> tuple[int, Shape]:
    digest = hashlib.blake2b(answer.lower().encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big"), shape_of(answer)


# --- what an answer looks like and says -----------------------------------------------------------------------------

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"
_VALUE_OF = {word: str(value) for value, word in enumerate(_NUMBERS.split())}
_NUMBER = re.compile(r"[<>~]?\s?-?\d+(?:[.,]\d+)?%?")
_MEASURE = re.compile(
    r"[<>~]?\s?\d+(?:[.,]\d+)?\s?(?:%|x|cm|mm|m|ml|cc|hu|percent|(?:year|month|week|day|hour|minute)s?)(?![^\W_])"
)
_SIDES = frozenset({"left", "right", "both", "bilateral", "bilaterally", "unilateral", "middle", "center", "centre"})
_SIDE_FILLING = frozenset({"side", "sided", "the", "on", "sides"})
_WORDS = re.compile(r"[^\W_]+")
_SAYS_NOTHING = frozenset(
    ("a", "an", "the", "of", "in", "on", "at", "to", "and", "or", "with", "is", "are", "it", "its")
)
_SAME = {
    **_VALUE_OF,
    "bilateral": "both", "bilaterally": "both", "centre": "center", "grey": "gray", "transverse": "axial",
    "pa": "posteroanterior", "ap": "anteroposterior", "mr": "mri", "xr": "radiograph", "cxr": "radiograph",
    "film": "radiograph", "xray": "radiograph", "tumour": "tumor", "oedema": "edema", "haemorrhage": "hemorrhage",
    "bleeding": "hemorrhage", "hepatic": "liver", "renal": "kidney", "pulmonary": "lung", "cardiac": "heart",
    "cerebral": "brain", "splenic": "spleen", "enlarged": "enlargement",
}  # fmt: skip
_PHRASES = (
    ("x-ray", "radiograph"), ("x ray", "radiograph"), ("posterior-anterior", "posteroanterior"),
    ("anterior-posterior", "anteroposterior"), ("magnetic resonance imaging", "mri"), ("computed tomography", "ct"),
)  # fmt: skip
"""Different words for one thing: two options that differ in these only would both be right."""
_PART_OF = {
    "t1": "mri", "t2": "mri", "flair": "mri", "dwi": "mri", "adc": "mri", "diffusion": "mri", "swi": "mri",
    "posteroanterior": "radiograph", "anteroposterior": "radiograph",
    "brain": "head", "skull": "head", "lung": "chest", "heart": "chest", "liver": "abdomen", "spleen": "abdomen",
    "kidney": "abdomen", "pancreas": "abdomen", "stomach": "abdomen", "colon": "abdomen", "bowel": "abdomen",
    "intestine": "abdomen", "bladder": "pelvis", "rectum": "pelvis", "retina": "eye",
}  # fmt: skip
"""What a word says along with itself: T2 is no wrong option for MRI, nor the heart for the chest it lies in."""


def shape_of(answer: str) -> Shape:
    """What an answer looks like."""
    words = answer.lower().split()
    if len(words) == 1 and (words[0] in _VALUE_OF or _NUMBER.fullmatch(words[0])):
        return "number"
    if _MEASURE.match(answer.lower()):
        return "measure"
    bare = [word for word in _WORDS.findall(answer.lower()) if word not in _SIDE_FILLING]
    if bare and all(word in _SIDES for word in bare):
        return "side"
    return "word" if len(words) == 1 else "phrase" if len(words) <= 3 else "clause"


@lru_cache(maxsize=1 << 15)
def _said(answer: str) -> frozenset[str]:
    """The words that matter, singular and in one spelling."""
    text = answer.lower()
    for phrase, word in _PHRASES:
        if phrase in text:
            text = text.replace(phrase, word)
    words = [_singular(word) for word in _WORDS.findall(text)]
    said = {_SAME.get(word, word) for word in words if word not in _SAYS_NOTHING}
    return frozenset(said.union(_PART_OF[word] for word in said if word in _PART_OF))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _tells_apart(one: str, other: str) -> bool:
    """Whether one answer is wrong where the other is right, as far as words tell: neither says all the other says."""
    said, also = _said(one), _said(other)
    return not (said <= also or also <= said or _letters(one) == _letters(other) or _is_cut_short(one, other))


@lru_cache(maxsize=1 << 15)
def _letters(answer: str) -> str:
    """Equal for spellings that differ in blanks, case or swapped letters ("barin" for "brain")."""
    return "".join(sorted(answer.lower())).strip()


def _is_cut_short(one: str, other: str) -> bool:
    """Whether one is the other without its end ("cardiomega")."""
    shorter = min(len(one), len(other))
    return shorter >= 5 and one[:shorter].lower() == other[:shorter].lower()


_TYPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("count", re.compile(r"\bhow many\b|\bnumber of\b")),
    ("modality", re.compile(r"\bmodality\b|\b(?:type|kind) of (?:image|imaging|scan|study)\b|\bweighting\b")),
    ("plane", re.compile(r"\bplane\b|\bview\b|\bprojection\b")),
    ("region", re.compile(r"\b(?:organ|region|body part|part of (?:the )?body)\b")),
    ("position", re.compile(r"^where\b|\bwhere\b.{0,20}\blocated\b|\b(?:which|what) (?:side|lobe|part|location)\b")),
    ("colour", re.compile(r"\bcolou?rs?\b")),
    ("size", re.compile(r"\bhow (?:large|big|long|wide)\b|\bsize\b|\b(?:largest|biggest)\b")),
    ("abnormality", re.compile(r"\b(?:abnormal\w*|disease|diagnosis|pathology|lesion|wrong)\b")),
)
_OPENING = re.compile(r"(?:in |on |at |of )?(what|which|when|why|who|whose|how)\b")


def question_type(question: str, answer: str) -> str:
    """The type of a question whose data set does not tell it (PathVQA, LLaVA-Med).

    "presence" for yes and no; else by words of the question; else its asking word; "other" without one.
    """
    if answer in ("yes", "no"):
        return "presence"
    asked = question.lower()
    for kind, pattern in _TYPES:
        if pattern.search(asked):
            return kind
    opening = _OPENING.match(asked)
    return opening[1] if opening else "other"


# --- the forms ------------------------------------------------------------------------------------------------------


def forms_of(record_id: str, policy: FormPolicy, seed: int) -> tuple[Literal["open", "choice"], ...]:
    """The forms the question of a record takes; the same on every run with that seed."""
    if policy == "both":
        return ("open", "choice")
    if policy == "open" or policy == "choice":
        return (policy,)
    return ("choice",) if fraction_of(f"{seed}/form/{record_id}") < policy else ("open",)


def open_form(question: str, answer: str) -> Posed:
    """The question as it is."""
    return Posed(question, answer, ())


def single_choice(
    record_id: str, question: str, answer: str, pool: AnswerPool, seed: int, *, source: str, kind: str
) -> Posed | None:
    """The question with its answer among up to three wrong ones, in an order that follows from id and seed.

    Wrong options come from ``pool``'s answers of the same source and question type: for a count other counts, for a
    side other sides, else answers of similar length. None where there is not one, and for sentences and answers
    longer than ``LONGEST_OPTION``. Yes and no always are "A. yes B. no".
    """
    if answer in ("yes", "no"):
        return _posed(question, answer, ("yes", "no"))
    if not _is_option(answer):
        return None
    # One hash is enough for all draws: it is divided down, each remainder is a draw.
    digest = hashlib.blake2b(f"{seed}/choice/{record_id}".encode()).digest()
    draw = _Draw(int.from_bytes(digest, "big"))
    wrong = _wrong_options(answer, pool, source, kind, draw)
    if not wrong:
        return None
    options = [answer, *wrong]
    for last in range(len(options) - 1, 0, -1):
        other = draw.below(last + 1)
        options[last], options[other] = options[other], options[last]
    return _posed(question, answer, tuple(options))


class _Draw:
    """Whole numbers out of one large one."""

    def __init__(self, number: int) -> None:
        self.number = number

    def below(self, count: int) -> int:
        self.number, drawn = divmod(self.number, count)
        return drawn


def _wrong_options(answer: str, pool: AnswerPool, source: str, kind: str, draw: _Draw) -> list[str]:
    wrong: list[str] = []
    for shape in RELATIVES[shape_of(answer)]:
        if len(wrong) == len(LETTERS) - 1:
            break
        strolled = _strolled(pool.answers(source, kind, shape), draw)
        shortlist = list(islice((other for other in strolled if _tells_apart(other, answer)), SHORTLIST))
        shortlist.sort(key=lambda other: abs(len(other) - len(answer)))
        for candidate in shortlist:
            if len(wrong) < len(LETTERS) - 1 and all(_tells_apart(candidate, taken) for taken in wrong):
                wrong.append(candidate)
    return wrong


def _strolled(answers: Sequence[str], draw: _Draw) -> Iterator[str]:
    """All answers once, from a drawn start with a drawn stride."""
    count = len(answers)
    if not count:
        return
    place, stride = draw.below(count), 1 + draw.below(count)
    while gcd(stride, count) != 1:
        stride += 1
    for _ in range(count):
        yield answers[place]
        place = (place + stride) % count


_OWN_LETTER = re.compile(r"\(?([A-Da-d])\s?[).:]\s*(?=\S)")
_LETTER_ANSWER = re.compile(r"(?:option|answer)?\s*\(?([A-Da-d])\)?\s*[.:)]?", re.IGNORECASE)


def given_choice(question: str, options: Iterable[object], answer: object) -> Posed:
    """A choice whose options the publisher gives, in the publisher's order.

    Options may be empty or absent (OmniMedVQA's C and D often are) and may carry their letter ("A: left"); ``answer``
    is the text of one of them or its letter. ``DataError`` with the reason where fewer than two options are left,
    more than four are given, or none or an empty one is the right one.
    """
    texts = [_option_text(option, letter) for option, letter in zip(_at_most_four(options), LETTERS, strict=False)]
    kept = tuple(dict.fromkeys(text for text in texts if text))
    if len(kept) < 2:
        raise DataError("a choice needs two different options", found=", ".join(kept) or "none")
    right = _right_option(texts, clean_text(answer).text)
    if not right:
        raise DataError(
            "the right answer is not among the options", found=f"'{clean_text(answer).text}'", allowed=", ".join(kept)
        )
    return _posed(question, right, kept)


def _at_most_four(options: Iterable[object]) -> list[object]:
    given = list(options)
    if len(given) > len(LETTERS):
        raise DataError("too many options", found=str(len(given)), allowed=f"at most {len(LETTERS)}")
    return given


def _option_text(option: object, letter: str) -> str:
    text = clean_text(option).text
    own = _OWN_LETTER.match(text)
    if own and own[1].upper() == letter:
        text = text[own.end() :]
    return normalise_answer(text)


def _right_option(texts: Sequence[str], answer: str) -> str:
    by_key = {text.lower(): text for text in reversed(texts)}
    right = by_key.get(normalise_answer(answer).lower(), "")
    if not right and (own := _OWN_LETTER.match(answer)):
        right = by_key.get(normalise_answer(answer[own.end() :]).lower(), "")
    if not right and (letter := _LETTER_ANSWER.fullmatch(answer)):
        place = LETTERS.index(letter[1].upper())
        right = texts[place] if place < len(texts) else ""
    return right


def _posed(question: str, answer: str, options: tuple[str, ...]) -> Posed:
    return Posed(choice_text(question, options), answer, options)
