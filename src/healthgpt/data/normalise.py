"""Words of other people's files made even: clean text, then questions and answers in one spelling.

``clean_text`` takes a value as a parser found it and says what was odd about it, for the build's report.
``normalise_question`` and ``normalise_answer`` take its text. All three change nothing the second time, and clean
ASCII text passes them in a few microseconds: they see every record of a build.

The case of answers. An answer of at most ``SHORT_WORDS`` words is a label, and data sets spell one label in many
ways ("Right Lung", "right lung.", "RIGHT LUNG"). Its words become lower-case, except those that are spelt with
capitals on purpose: two capitals or more (MRI, HbA1c, mRNA, II), a capital beside a digit (T2, COVID-19), a single
letter (hepatitis B). Shouted ordinary words (LEFT, PNEUMONIA) are lower-cased: they are six letters or longer, or in
the table of short ones below. Names of people lose their capital ("crohn disease"). Lower-case abbreviations stay as
their data set has them: "mri" is not made "MRI". A longer answer is a sentence and keeps case and full stop.
"""

import html
import math
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

SHORT_WORDS = 6
"""Words of the longest answer that is treated as a label, not as a sentence."""

ABSENT = frozenset({"null", "nan", "n/a", "#n/a", "<na>"})
"""How files spell that there is no value, in lower case. "None" is not among them: it is SLAKE's answer for no
abnormality."""
_LONGEST_ABSENT = max(map(len, ABSENT))

_SHOUTED_WORDS = """
LEFT RIGHT BOTH NONE UPPER LOWER ABOVE BELOW MALE HEART LUNG LUNGS LIVER BRAIN CHEST HEAD NECK SPINE SKULL COLON
AORTA BONE FAT AIR GAS CYST MASS TUMOR EDEMA FLUID WATER BLOOD AXIAL OVAL ROUND BLACK WHITE GRAY GREY RED BLUE GREEN
BROWN PINK YES NO NOT ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN THE OF IN ON AND OR WITH TO AT RAY PLAIN FILM
SIDE LOBE BASE APEX TOP RIB RIBS KNEE HIP HAND FOOT ARM LEG EYE EAR NOSE TOOTH TEETH BOWEL
"""
SHOUTED = frozenset(_SHOUTED_WORDS.split())
"""Ordinary words of up to five letters that some files print in capitals."""


class Cleaned(NamedTuple):
    """Text on one line without odd characters, and the names of what had to be changed, each once."""

    text: str
    oddities: tuple[str, ...]


# --- odd characters -------------------------------------------------------------------------------------------------

_BYTE_OF = {chr(byte): byte for byte in range(0x80, 0x100)}
for _byte in range(0x80, 0xA0):
    try:
        _BYTE_OF[bytes([_byte]).decode("cp1252")] = _byte
    except UnicodeDecodeError:
        continue
"""Bytes above ASCII as Latin-1 and as Windows-1252 show them."""


def _shown(first: int, last: int) -> str:
    """A character class of everything that bytes ``first`` to ``last`` are shown as."""
    return "[" + "".join(re.escape(sign) for sign, byte in _BYTE_OF.items() if first <= byte <= last) + "]"


_TRAIL = _shown(0x80, 0xBF)
# Lead bytes of the scripts that occur in English medical text only: accents, Greek, punctuation, signs, ligatures.
# With all lead bytes, honest pairs such as a German sharp s before a closing quote would be "repaired" too.
_MOJIBAKE = re.compile(f"[ÂÃÄÅÎÏ]{_TRAIL}|[âï]{_TRAIL}{_TRAIL}")
_C1 = re.compile("[\x80-\x9f]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_WRONGLY_READ = frozenset("ÂÃÄÅÎÏâï").union(map(chr, range(0x80, 0xA0)))


def _each(codes: Iterable[int], plain: str) -> dict[str, str]:
    return dict.fromkeys(map(chr, codes), plain)


_SIGNS: tuple[tuple[str, dict[str, str]], ...] = (
    ("byte order mark", {"\ufeff": ""}),
    (
        "non-breaking spaces",
        _each((0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000), " "),
    ),
    (
        "zero-width characters",
        _each((0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A)), ""),
    ),
    ("smart quotes", dict.fromkeys("‘’‚‛′´", "'") | dict.fromkeys("“”„‟″«»", '"')),
    ("long dashes", dict.fromkeys("‐‑‒–—―−", "-")),
    (
        "ligatures",
        dict(zip(map(chr, range(0xFB00, 0xFB07)), ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True)),
    ),
    ("full-width characters", {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}),
    ("ellipses", {"…": "..."}),
    # Surrogates alone, as a damaged JSON escape leaves them, cannot even be written to a file.
    ("lost characters", _each((0xFFFD, *range(0xD800, 0xE000)), "")),
)
"""What a sign is called when it is found, and the plain text in its place."""
_PLAIN = {sign: (name, plain) for name, table in _SIGNS for sign, plain in table.items()}
_ODD_SIGNS = frozenset(_PLAIN)

_INLINE = "a|abbr|b|big|cite|code|del|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|strike|strong|sub|sup|tt|u|var"
_BLOCK = (
    "article|aside|blockquote|body|br|center|dd|div|dl|dt|footer|form|h[1-6]|head|header|hr|html|img|input|li|link|"
    "main|meta|nav|ol|p|pre|section|table|tbody|td|tfoot|th|thead|title|tr|ul"
)
# Only names of HTML, and attributes only with a value: "p<b and c>d" and "size <3 cm" are no tags.
_ATTRIBUTES = r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?>"""
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE}){_ATTRIBUTES}", re.IGNORECASE)
_BLOCK_TAG = re.compile(
    rf"<(script|style)\b[^<>]*>.*?</\1\s*>|<!--.*?-->|<!doctype[^<>]*>|</?(?:{_BLOCK}){_ATTRIBUTES}",
    re.IGNORECASE | re.DOTALL,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SPACING = re.compile(r"\s\s|[^\S ]", re.ASCII)


def clean_text(value: object) -> Cleaned:
    """``value`` as one line of text, and what was odd about it.

    Numbers become text (3.0 is "3"), ``None``, NaN and the words of ``ABSENT`` become "". HTML tags go (those that
    break a line leave a blank), entities are unescaped however often they were escaped, and '<' of "size < 3 cm"
    stays. UTF-8 that was read as Latin-1 or Windows-1252 is read again. Odd spaces, quotes, dashes and full-width
    letters become their ASCII form, invisible and control characters go, accents and signs such as '°' or 'µ' stay.
    Never raises; anything else than text or a number is taken as its ``str`` and called "odd value".
    """
    if isinstance(value, str):
        if _is_clean(value):
            return Cleaned(value, ())
        return _cleaned(value, {})
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cleaned("", ("no value",))
    if isinstance(value, bool):
        return Cleaned("yes" if value else "no", ("true or false value",))
    if isinstance(value, int):
        return Cleaned(str(value), ("integer value",))
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 1e15
        return Cleaned(str(int(value)) if whole else str(value), ("decimal value",))
    return _cleaned(str(value), {"odd value": None})


def _is_clean(text: str) -> bool:
    """Whether nothing is odd about ``text``: these calls scan in C, which is what makes the common case fast."""
    return (
        text.isascii()
        and text.isprintable()
        and "<" not in text
        and "&" not in text
        and "  " not in text
        and text[:1] != " "
        and text[-1:] != " "
        and (len(text) > _LONGEST_ABSENT or text.lower() not in ABSENT)
    )


def _cleaned(text: str, oddities: dict[str, None]) -> Cleaned:
    stripped = text.strip()
    if stripped != text:
        oddities["blank-padded"] = None
    if "  " in stripped or (not stripped.isprintable() and _SPACING.search(stripped)):
        oddities["odd spacing"] = None
    # Undoing one fault can lay bare the next ("&amp;lt;" or mojibake of mojibake), so until nothing changes.
    before = None
    while text != before and not _is_clean(text):
        before = text
        text = _cleaned_once(text, oddities)
    if len(text) <= _LONGEST_ABSENT and text.lower() in ABSENT:
        oddities["NULL"] = None
        text = ""
    return Cleaned(text, tuple(oddities))


def _cleaned_once(text: str, oddities: dict[str, None]) -> str:
    if not text.isascii():
        text = _plain_signs(text, oddities)
    if "<" in text:
        bare = _INLINE_TAG.sub("", _BLOCK_TAG.sub(" ", text))
        if bare != text:
            oddities["HTML"] = None
            text = bare
    if "&" in text:
        bare = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        if bare != text:
            oddities["HTML"] = None
            text = bare
    if not text.isprintable() and _CONTROLS.search(text):
        oddities["control characters"] = None
        text = _CONTROLS.sub("", text)
    return " ".join(text.split())


def _plain_signs(text: str, oddities: dict[str, None]) -> str:
    """Text whose signs are as they were meant: characters of wrongly read bytes first, then look-alikes."""
    # Sets of characters tell in one pass what is not there; most foreign signs are a quote or a dash.
    if not _WRONGLY_READ.isdisjoint(text):
        repaired = _C1.sub(_as_windows, _MOJIBAKE.sub(_reread, text))
        if repaired != text:
            oddities["mojibake"] = None
            text = repaired
    for sign in sorted(_ODD_SIGNS.intersection(text)):
        name, plain = _PLAIN[sign]
        oddities[name] = None
        text = text.replace(sign, plain)
    composed = unicodedata.normalize("NFC", text)
    if composed != text:
        oddities["separate accents"] = None
    return composed


def _as_windows(match: re.Match[str]) -> str:
    return match[0].encode("latin-1").decode("cp1252", errors="ignore")


def _reread(match: re.Match[str]) -> str:
    wrong = match[0]
    try:
        return bytes(_BYTE_OF[sign] for sign in wrong).decode("utf-8")
    except UnicodeDecodeError:
        return wrong


# --- questions ------------------------------------------------------------------------------------------------------

_MARKER = re.compile(r"<\|?(?:image|img|ImageHere|video)(?:[_ -]?\w{1,6})?\|?/?>|\[(?:image|img)\]", re.IGNORECASE)
_PREFIX = re.compile(r"^(?:(?:question|query)(?:\s*\d+)?\s*[:.)]|q\s*\d*\s*[:)])\s*", re.IGNORECASE)
_SUFFIX = re.compile(r"(?<=[?.!])\s*(?:answer|a)\s*:$", re.IGNORECASE)
_MARK_BLANK = re.compile(r"\s+(?=[?!.,;:](?:\s|$))")
_MARKS = re.compile(r"\?(?:\s*\?)+")


def normalise_question(text: str) -> str:
    """A question without image markers ("<image>"), "Question:" before it, "Answer:" after it, or blanks before its
    question mark, on one line. Its words and their case stay. ``text`` is clean text."""
    if _is_plain_question(text):
        return text
    before = None
    while text != before:
        before = text
        text = _MARKER.sub(" ", text)
        text = _SUFFIX.sub("", _PREFIX.sub("", " ".join(text.split())))
        text = _MARKS.sub("?", _MARK_BLANK.sub("", text)).strip()
    return text


def _is_plain_question(text: str) -> bool:
    return (
        text[:1] not in ("Q", "q", " ")
        and text[-1:] not in (":", " ")
        and "<" not in text
        and "[" not in text
        and " ?" not in text
        and "??" not in text
        and "  " not in text
        and " ." not in text
        and " ," not in text
        and " :" not in text
        and " ;" not in text
        and " !" not in text
        and text.isascii()
        and text.isprintable()
    )


# --- answers --------------------------------------------------------------------------------------------------------

_LONGEST_SHORT = 120
"""Characters beyond which no answer is a label, whatever its words: long texts are not even counted."""
_YES_NO = re.compile(r"""["']?(yes|no)["']?[.!,;]*""", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_RAY = re.compile(r"\bx[\s-]*rays?\b", re.IGNORECASE)


def normalise_answer(text: str) -> str:
    """An answer in one spelling; "yes" and "no" whatever their case, stop or quotes. ``text`` is clean text.

    Labels (at most ``SHORT_WORDS`` words) lose the full stop and enclosing quotes and follow the rule of case at
    the head of this file; "Xray" and "X Ray" become "x-ray". Longer answers only lose doubled full stops.
    """
    text = _sentence(text)
    return _short_answer(text) if len(text) <= _LONGEST_SHORT else text


@lru_cache(maxsize=1 << 16)
def _short_answer(text: str) -> str:
    text = " ".join(text.split())
    said = _YES_NO.fullmatch(text)
    if said:
        return said[1].lower()
    if text.count(" ") >= SHORT_WORDS:
        return text
    before = None
    while text != before:
        before = text
        text = text.rstrip(" .,;:") if text[-1:] in " .,;:" else text
        if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2:
            text = text[1:-1].strip()
    said = _YES_NO.fullmatch(text)
    if said:
        return said[1].lower()
    return "" if text.lower() in ABSENT else _RAY.sub("x-ray", _WORD.sub(_label_word, text))


def _label_word(match: re.Match[str]) -> str:
    word = match[0]
    if word.islower():
        return word
    if len(word) == 1:
        # The article opens an answer; a letter elsewhere names something.
        return "a" if word == "A" and match.start() == 0 and match.end() < len(match.string) else word
    if word.isupper() and word.isalpha():
        return word.lower() if len(word) >= 6 or word in SHOUTED else word
    capitals = sum(sign.isupper() for sign in word)
    if capitals >= 2 or word[0].islower() or any(sign.isdigit() for sign in word):
        return word
    return word.lower()


_STOPS = re.compile(r"\s*(?:\.(?:\s*\.)+|[.,;])$")


def _sentence(text: str) -> str:
    if not text.endswith(("..", " .", " ,", " ;")):
        return text
    return _STOPS.sub(lambda match: match[0].strip()[0], text)
