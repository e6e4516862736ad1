"""A model in memory answering requests: files in, answers and drawings out, both families on one backbone."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from healthgpt.backbone.load import device_named, dtype_named, load_tokenizer
from healthgpt.backbone.prompts import PromptBuilder, template_named
from healthgpt.backbone.quantise import check_quantisable
from healthgpt.errors import InputError, ModelError, TaskError
from healthgpt.imaging.image import Image
from healthgpt.imaging.intensity import to_display
from healthgpt.imaging.read import read_image
from healthgpt.inference.consistency import fit_picture, measured_part
from healthgpt.inference.decode import Ask, decode, decode_steps
from healthgpt.inference.grammar import Utterance
from healthgpt.inference.released import RELEASES, codec_place, released_folder
from healthgpt.inference.sampling import Sampling
from healthgpt.model.checkpoint import ModelConfig, load_model
from healthgpt.model.footprint import check_fits
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.model.memory_order import order_for_decoding
from healthgpt.model.placement import place
from healthgpt.plugins.store import PluginSpec
from healthgpt.request import ASK, Request, check_guidance
from healthgpt.result import Answer, Drawing
from healthgpt.tasks import MODALITIES, TASKS, Family
from healthgpt.vq.codec import from_uint8, to_uint8
from healthgpt.vq.store import AnyCodec, load_codec

BUNDLED = Path(__file__).parent.parent / "weights"
"""Model folders that ship with the package, by name."""

Turn = tuple[str, str]
"""A question and its answer earlier in a conversation."""


def model_folder(name_or_folder: str | Path) -> Path:
    """The folder of a bundled or published model by name, or of any model by path; ``ModelError`` when there is none.

    A published model is downloaded and imported the first time.
    """
    bundled = BUNDLED / str(name_or_folder)
    if os.sep not in str(name_or_folder) and (bundled / "config.json").is_file():
        return bundled  # "./nano" is a folder of the caller's
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    if str(name_or_folder) in RELEASES:
        return released_folder(str(name_or_folder))
    names = [*sorted(path.parent.name for path in BUNDLED.glob("*/config.json")), *RELEASES]
    raise ModelError(
        f"no model '{name_or_folder}'",
        allowed=", ".join(names) + " or a model folder",
        next_step="see 'healthgpt models list'",
    )


class Session:
    """One resident model. Every method is safe to call from several threads: nothing is changed by a request."""

    def __init__(
        self,
        name: str,
        model: HealthGPTModel,
        config: ModelConfig,
        specs: dict[Family, PluginSpec],
        codec: AnyCodec | None,
        builder: PromptBuilder,
    ) -> None:
        self.name = name
        self.model = model
        self.config = config
        self.specs = specs
        self.codec = codec
        self.builder = builder
        self.stop_ids = frozenset(config.stop_ids or [builder.tokenizer.eos_token_id])

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path = "nano",
        device: str = "auto",
        dtype: str = "auto",
        quantize: str | None = None,
    ) -> "Session":
        """Load a model folder, the bundled model or a published one (downloaded and imported once) by name.

        ``quantize``: ``int8`` or ``int4`` for the linear layers of the backbone. On CUDA decoder blocks that one GPU
        cannot hold go to the others and to the host. Raises ``ModelError`` naming the file that is missing or
        damaged, or when the weights do not fit this machine; ``InputError`` for a device or dtype that is not there.
        """
        where = device_named(device)
        check_quantisable(quantize, where)
        precision = dtype_named(dtype, where, quantize)
        folder = model_folder(name_or_folder)
        check_fits(folder, where, precision, quantize)
        model, config, specs = load_model(folder, precision, quantize=quantize, device=where)
        codec = load_codec(folder / "vqgan").to(where) if (folder / "vqgan").is_dir() else None
        try:
            tokenizer = load_tokenizer(folder / "tokenizer")
        except (OSError, ValueError) as fault:
            raise ModelError(f"the tokenizer in {folder} cannot be loaded", found=str(fault).splitlines()[0]) from fault
        builder = PromptBuilder(
            tokenizer, config.layout, template_named(config.template), _image_tokens(model), config.context
        )
        place(model, where, quantize)
        order_for_decoding(model)
        return cls(config.name, model, config, specs, codec, builder)

    def ask(
        self,
        image: str | Path | Image | None,
        question: str,
        *,
        slice_index: int | None = None,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        history: Sequence[Turn] = (),
    ) -> Answer:
        """Answer one question, about an image or without one; ``history``: earlier turns about the same image."""
        request = Request(ASK, image, question, slice_index)
        self._can(request, force=False)
        sampling = Sampling(temperature, top_k, top_p, seed)
        started = time.perf_counter()
        row = self._row(_opened(request), sampling, max_new_tokens, history)
        return self._answer(request, decode(self.model, [row], self.stop_ids)[0], started)

    def stream(
        self,
        image: str | Path | Image | None,
        question: str,
        *,
        slice_index: int | None = None,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        history: Sequence[Turn] = (),
    ) -> Iterator[str]:
        """The answer of ``ask`` in pieces, each as soon as it is certain; joined they are its text."""
        request = Request(ASK, image, question, slice_index)
        self._can(request, force=False)
        row = self._row(_opened(request), Sampling(temperature, top_k, top_p, seed), max_new_tokens, history)
        shown = text = ""
        for _, _, utterance in decode_steps(self.model, [row], self.stop_ids):
            text = self._text(utterance)
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):  # the middle of a multi-byte character
                yield text[len(shown) :]
                shown = text
        if len(text) > len(shown):  # the answer ended in the middle of one
            yield text[len(shown) :]

    def generate(
        self,
        task: str,
        image: str | Path | Image | None = None,
        *,
        text: str | None = None,
        slice_index: int | None = None,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        guidance: float | None = None,
        force: bool = False,
    ) -> Drawing:
        """Draw one image. ``force``: also for a task the plugin was not trained for.

        ``guidance``: how much a picture drawn from words follows them, 1 as the model is; the model's own if None.

        Raises ``TaskError`` for inputs that do not fit the task or a task the model was not trained for.
        """
        request = Request(task, image, text, slice_index)
        check_guidance(task, guidance)
        self._can(request, force)
        started = time.perf_counter()
        guidance = self.config.guidance if guidance is None else guidance
        sampling = Sampling(temperature, top_k, top_p, seed, guidance=guidance)
        request = _opened(request)
        row = self._row(request, sampling, self._codes_per_image)
        return self._drawing(request, decode(self.model, [row], self.stop_ids)[0], started)

    def run(
        self, requests: Sequence[Request], *, sampling: Sampling | None = None, max_new_tokens: int = 64
    ) -> list[Answer | Drawing]:
        """Requests of both families in one batch; results in their order, equal to asking one by one.

        ``sampling``: greedy, guided as the model's own settings say, if None.
        """
        if not requests:
            return []
        sampling = sampling or Sampling(guidance=self.config.guidance)
        for request in requests:
            self._can(request, force=False)
        started = time.perf_counter()
        requests = [_opened(request) for request in requests]
        rows = [
            self._row(r, sampling, max_new_tokens if r.family == "comprehension" else self._codes_per_image)
            for r in requests
        ]
        spoken = decode(self.model, rows, self.stop_ids)
        return [
            self._answer(request, utterance, started)
            if request.family == "comprehension"
            else self._drawing(request, utterance, started)
            for request, utterance in zip(requests, spoken, strict=True)
        ]

    @property
    def _codes_per_image(self) -> int:
        return self.config.grid**2

    def _can(self, request: Request, force: bool) -> None:
        """``TaskError`` unless the model has the plugin and the plugin was trained for the task."""
        spec = self.specs.get(request.family)
        if spec is None:
            raise TaskError(f"model '{self.name}' has no {request.family} plugin, so it cannot do '{request.task}'")
        if request.task != ASK and request.task not in spec.tasks and not force:
            raise TaskError(f"model '{self.name}' was not trained for '{request.task}'", allowed=", ".join(spec.tasks))
        if request.family == "generation":
            self._codec()

    def _row(self, request: Request, sampling: Sampling, room: int, history: Sequence[Turn] = ()) -> Ask:
        """The opened request as one row of a batch: prompt built, image preprocessed."""
        if room < 1:
            raise InputError("--max-new-tokens is out of range", found=str(room), allowed="1 or more")
        pixels = wordless = modality = None
        if isinstance(request.image, Image):
            modality = request.image.modality
            pixels = self.config.preprocessing(to_display(request.image))
        if request.family == "comprehension":
            task = request.task if request.task in TASKS else modality or MODALITIES[0]
            turns = [*history, ((request.text or "").strip(), None)]
            prompt = self.builder.reading(turns, has_image=pixels is not None, room=room)
        else:
            task = request.task
            instruction = f"{TASKS[task].instructions[0]} {(request.text or '').strip()}".strip()
            prompt = self.builder.drawing(instruction, has_image=pixels is not None, room=room)
            if TASKS[task].takes_text:
                wordless = self.builder.drawing(TASKS[task].instructions[0], has_image=pixels is not None, room=room)
        if request.family == "comprehension":
            sampling = replace(sampling, repetition_penalty=self.config.repetition_penalty)
        return Ask(prompt, task, pixels, sampling, room, wordless)

    def _text(self, utterance: Utterance) -> str:
        return str(self.builder.tokenizer.decode(utterance.ids, skip_special_tokens=True)).strip()

    def _answer(self, request: Request, utterance: Utterance, started: float) -> Answer:
        return Answer(
            text=self._text(utterance),
            confidence=certainty(utterance),
            token_ids=list(utterance.ids),
            seconds=time.perf_counter() - started,
            task=request.task,
            model=self.name,
        )

    def _drawing(self, request: Request, utterance: Utterance, started: float) -> Drawing:
        grid = np.array(utterance.codes(self.config.layout)).reshape(self.config.grid, self.config.grid)
        pixels = self.paint(grid[None])[0]
        fitted = False
        if request.task == "super-resolution" and isinstance(request.image, Image):
            pixels, fitted = self._fit(pixels, to_display(request.image)), True
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        return Drawing(
            pixels=pixels,
            codes=grid.tolist(),
            confidence=certainty(utterance),
            seconds=time.perf_counter() - started,
            task=request.task,
            model=self.name,
            fitted=fitted,
        )

    def _fit(self, drawn: np.ndarray, given: np.ndarray) -> np.ndarray:
        """A drawing of the codec's size that agrees with the given display pixels where those are a measurement."""
        side = drawn.shape[0]
        preprocessing = self.config.preprocessing.model_copy(update={"size": side})
        height, width = given.shape[:2]
        reach = measured_part(max(height, width), side)
        return fit_picture(drawn, preprocessing.square(given), preprocessing.window(height, width), reach)

    def _codec(self) -> AnyCodec:
        if self.codec is None:
            raise ModelError(
                f"model '{self.name}' has no codec, so what it draws cannot be shown",
                next_step=f"put the published VQGAN's last.ckpt and model.yaml into {codec_place()}"
                if self.name in RELEASES
                else "import it again with its VQGAN",
            )
        return self.codec

    @torch.inference_mode()
    def encode(self, squares: np.ndarray) -> np.ndarray:
        """uint8 pictures (N, height, width, 3) of the codec's size -> VQ indices (N, rows, columns)."""
        codes = self._codec().encode(from_uint8(torch.from_numpy(squares)).to(self.model.device))
        return codes.cpu().numpy()

    @torch.inference_mode()
    def paint(self, codes: np.ndarray) -> np.ndarray:
        """VQ indices (N, rows, columns) -> uint8 pictures (N, height, width, 3)."""
        images = self._codec().decode(torch.from_numpy(np.ascontiguousarray(codes)).long().to(self.model.device))
        return to_uint8(images).cpu().numpy()


def _opened(request: Request) -> Request:
    """The request with its image read from the file, if it names one."""
    if request.image is None or isinstance(request.image, Image):
        return request
    return replace(request, image=read_image(request.image, request.slice_index))


def certainty(utterance: Utterance) -> float:
    """Geometric mean of the probabilities of the emitted ids among the legal ones, in [0, 1]; not yet calibrated."""
    if not utterance.log_probabilities:
        return 0.0
    return math.exp(sum(utterance.log_probabilities) / len(utterance.log_probabilities))


def _image_tokens(model: HealthGPTModel) -> int:
    return model.vision.tower.patches
