"""Templates to ids, loss mask and image positions: the one prompt builder training and inference share.

A prompt is cut at its image, each piece of text is tokenised on its own, and the image's visual tokens
take ``IMAGE_SLOT`` positions between them. Positions run on without a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from healthgpt.errors import ModelError, QuestionError, closest
from healthgpt.tokens import IGNORED, IMAGE_SLOT, TokenLayout

REMEMBERED = 100_000
"""Pieces of text whose ids are kept at hand: a training set has millions."""


@dataclass(frozen=True)
class Template:
    """The fixed texts around a conversation.

    ``opening`` once; per turn ``user`` question ``assistant`` answer ``close``; ``between`` before every
    turn but the first. ``image_join`` stands between image and question. ``draws_from_end``: for drawing
    the image follows the instruction, so that visual token i and code i are a constant distance apart
    whatever the instruction's length; otherwise the image always comes first. ``leading_piece``: a vocabulary
    entry in front of everything, which the tokenizer of the published scripts puts there and current ones do not.
    """

    name: str
    opening: str
    user: str
    assistant: str
    close: str
    between: str = ""
    image_join: str = "\n"
    draws_from_end: bool = False
    leading_piece: str = ""


TEMPLATES: dict[str, Template] = {
    "nano": Template(
        "nano", opening="", user="<|user|>", assistant="<|assistant|>", close="<|end|>", image_join="",
        draws_from_end=True,
    ),
    "phi3_instruct": Template(
        "phi3_instruct", opening="<|system|>\nYou are a helpful AI assistant.<|end|>\n",
        user="<|user|>\n", assistant="<|end|>\n<|assistant|>\n", close="<|end|>", between="\n", leading_piece="\u2581",
    ),
    "phi4_instruct": Template(
        "phi4_instruct",
        opening="<|im_start|>system<|im_sep|>\nYou are a medieval knight and must provide explanations to "
        "modern people.<|im_end|>\n",
        user="<|im_start|>user<|im_sep|>\n", assistant="<|im_end|>\n<|im_start|>assistant<|im_sep|>\n",
        close="<|im_end|>", between="\n",
    ),
    "qwen_2": Template(
        "qwen_2",
        opening="<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n",
        user="<|im_start|>user\n", assistant="<|im_end|>\n<|im_start|>assistant\n", close="<|im_end|>\n",
    ),
}  # fmt: skip


def template_named(name: str) -> Template:
    """The template of that name; ``ModelError`` with the closest match when there is none."""
    if name not in TEMPLATES:
        raise ModelError(
            f"unknown prompt template '{name}'",
            allowed=", ".join(TEMPLATES),
            next_step=closest(name, list(TEMPLATES)),
        )
    return TEMPLATES[name]


@dataclass
class Prompt:
    """Ids with, per position, the label (``IGNORED`` where no loss counts) and whether it is instruction text."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    instruction: list[bool] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Sequence[int], *, learned: bool = False, instruction: bool = False) -> None:
        """Append ids; ``learned`` ones are their own labels."""
        self.ids.extend(ids)
        self.labels.extend(ids if learned else [IGNORED] * len(ids))
        self.instruction.extend([instruction] * len(ids))


class PromptBuilder:
    """Builds prompts for one tokenizer, vocabulary layout, template and number of visual tokens per image."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        layout: TokenLayout,
        template: Template,
        image_tokens: int,
        context: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.layout = layout
        self.template = template
        self.image_tokens = image_tokens
        self.context = context
        self._image = [IMAGE_SLOT] * image_tokens
        self._known: dict[str, list[int]] = {}
        self._leading = self._leading_ids()

    def _leading_ids(self) -> list[int]:
        piece = self.template.leading_piece
        if not piece:
            return []
        if piece not in self.tokenizer.get_vocab():
            raise ModelError(
                f"template '{self.template.name}' does not fit this tokenizer", found=f"no entry {piece!r} in it",
                next_step="give the base model's own tokenizer, or another template",
            )  # fmt: skip
        return [int(self.tokenizer.get_vocab()[piece])]

    def text_ids(self, text: str) -> list[int]:
        """Ids of one piece of text, nothing added around it."""
        if text not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[text] = self.tokenizer.encode(text, add_special_tokens=False) if text else []
        return self._known[text]

    def reading(self, turns: Sequence[tuple[str, str | None]], *, has_image: bool, room: int = 0) -> Prompt:
        """A conversation about at most one image, shown in the first turn.

        ``turns``: (question, answer); every answer given is learned, the last may be None: it is to be
        said. Raises ``QuestionError`` when prompt and ``room`` new tokens do not fit the context.
        """
        template, prompt = self.template, Prompt()
        prompt.add(self._leading)
        for number, (question, answer) in enumerate(turns):
            lead = template.user if number else template.opening + template.user
            if number:
                lead = template.between + lead
            if number == 0 and has_image:
                prompt.add(self.text_ids(lead))
                prompt.add(self._image)
                lead = template.image_join
            self._words(prompt, lead, question, template.assistant)
            if answer is not None:
                prompt.add(self.text_ids(answer + template.close), learned=True)
        self._fits(prompt, room)
        return prompt

    def drawing(
        self, instruction: str, *, has_image: bool, codes: Sequence[int] | None = None, room: int = 0
    ) -> Prompt:
        """An instruction that ends in the start-of-image marker, with the codes to learn if given."""
        template, prompt = self.template, Prompt()
        prompt.add(self._leading)
        lead = template.opening + template.user
        if has_image and not template.draws_from_end:
            prompt.add(self.text_ids(lead))
            prompt.add(self._image)
            lead = template.image_join
        if has_image and template.draws_from_end:
            self._words(prompt, lead, instruction, "")
            prompt.add(self._image)
            prompt.add(self.text_ids(template.assistant))
        else:
            self._words(prompt, lead, instruction, template.assistant)
        prompt.add([self.layout.start])
        if codes is not None:
            prompt.add([self.layout.first_code + int(code) for code in codes], learned=True)
            prompt.add([self.layout.end], learned=True)
        self._fits(prompt, room)
        return prompt

    def _words(self, prompt: Prompt, lead: str, words: str, trail: str) -> None:
        """One tokenised piece, marked as instruction as a whole: template and words share token borders."""
        prompt.add(self.text_ids(lead + words + trail), instruction=True)

    def _fits(self, prompt: Prompt, room: int) -> None:
        if len(prompt) + room > self.context:
            raise QuestionError(
                "the question does not fit the model's context",
                found=f"{len(prompt)} tokens with the image, and {room} for the answer",
                allowed=f"{self.context} in all",
                next_step="shorten the question or --max-new-tokens",
            )
