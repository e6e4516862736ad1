"""Id ranges of the joint vocabulary: text, image markers, VQ codes.

Order of the added ids, as in the released checkpoints: start marker, the codes, end marker, row
separator ("newline"). Visual input takes no id: its positions hold ``IMAGE_SLOT``.
"""

from dataclasses import dataclass

IMAGE_SLOT = -200
"""Placeholder in ``input_ids`` for one projected visual token."""
IGNORED = -100
"""Label of a position the loss does not count."""


@dataclass(frozen=True)
class TokenLayout:
    """Where each kind of token lies: text in [0, text_size), then the image vocabulary.

    ``code_count`` 0: a model that only reads, whose vocabulary was not extended at all.
    """

    text_size: int
    code_count: int

    @property
    def start(self) -> int:
        """Start-of-image marker."""
        return self.text_size

    @property
    def first_code(self) -> int:
        return self.text_size + 1

    @property
    def end(self) -> int:
        """End-of-image marker."""
        return self.text_size + 1 + self.code_count

    @property
    def newline(self) -> int:
        """Row separator; part of the vocabulary, skipped on reading."""
        return self.text_size + 2 + self.code_count

    @property
    def image_size(self) -> int:
        """Rows of the image vocabulary: markers and codes; 0 without codes."""
        return self.code_count + 3 if self.code_count else 0

    @property
    def total(self) -> int:
        return self.text_size + self.image_size

    def code(self, token: int) -> int:
        """VQ index of a token id; ValueError when the id is no code."""
        index = token - self.first_code
        if not 0 <= index < self.code_count:
            raise ValueError(f"token {token} is not a code; codes are {self.first_code}..{self.end - 1}")
        return index
