"""The released weights in this package: every golden case, with both families in one model and in one batch."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

from healthgpt.backbone.prompts import Prompt, PromptBuilder, template_named
from healthgpt.data.collate import right_padded
from healthgpt.errors import ModelError
from healthgpt.inference.cache import roomy_cache
from healthgpt.inference.decode import Ask, decode, left_padded
from healthgpt.inference.sampling import Sampling, choose
from healthgpt.model.published import build_published, read_fusion_file, read_plugin_file
from healthgpt.tokens import IGNORED, IMAGE_SLOT
from healthgpt.training.objective import response_loss
from healthgpt.vision.preprocess import Preprocessing

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the golden outputs (shared/golden) are not beside this checkout"
)
FILES = {
    "m3": {"comprehension": "com_hlora_weights.bin", "generation": "gen_hlora_weights.bin"},
    "l14": {"comprehension": "com_hlora_weights_phi4.bin"},
    "xl32": {"comprehension": "com_hlora_weights_QWEN_32B.bin"},
}
TEMPLATES = {"m3": "phi3_instruct", "l14": "phi4_instruct", "xl32": "qwen_2"}
FAMILY = {"com": "comprehension", "gen": "generation"}
TASK = {"com": "x-ray", "gen": "reconstruct"}
CLIP = Preprocessing(
    size=56, pad_colour=(122, 116, 104), mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)  # fmt: skip
CASES = [
    (name, task, case["id"])
    for name in FILES
    if GOLDEN.is_dir()
    for task, part in json.loads((GOLDEN / name / "cases.json").read_text()).items()
    for case in part["cases"]
]


def golden(name):
    return json.loads((GOLDEN / name / "cases.json").read_text())


_models = {}


def _built(name):
    """Model, prompt builder and stop ids of one released family of files."""
    if name not in _models:
        parts = golden(name)
        tokenizer = AutoTokenizer.from_pretrained(GOLDEN / name / "base")
        model, specs, layout, variant = build_published(
            base=str(GOLDEN / name / "base"),
            vision=str(GOLDEN / "clip"),
            plugin_files={family: GOLDEN / name / file for family, file in FILES[name].items()},
            fusion_file=GOLDEN / name / "fusion_layer_weights.bin" if name == "m3" else None,
            text_tokens=None if name == "xl32" else len(tokenizer),
            codes=0 if name == "xl32" else 64,
            grid=8,
            alphas={FAMILY[task]: part["meta"]["hlora"]["alpha"] for task, part in parts.items()},
        )
        assert variant is None
        template = template_named(TEMPLATES[name])
        builder = PromptBuilder(tokenizer, layout, template, 16, 4096)
        _models[name] = model.float(), builder, specs
    return _models[name]


def arrays_of(name, file):
    with np.load(GOLDEN / name / file) as arrays:
        return dict(arrays)


def case_of(name, task, identity):
    return next(case for case in golden(name)[task]["cases"] if case["id"] == identity)


def prompt_of(builder, task, case):
    has_image = case["image"] is not None
    if task == "com":
        return builder.reading([(case["question"], None)], has_image=has_image)
    return builder.drawing(case["question"], has_image=has_image)


def ask_of(name, task, case, **sampling):
    _, builder, _ = _built(name)
    pixels = None
    if case["image"] is not None:
        with Image.open(GOLDEN / "images" / case["image"]) as picture:
            pixels = CLIP(np.asarray(picture.convert("RGB")))
    return Ask(prompt_of(builder, task, case), TASK[task], pixels, Sampling(**sampling), case["max_new_tokens"])


@pytest.mark.parametrize(("name", "task", "identity"), CASES)
def test_prompt_ids_are_the_released_ones(name, task, identity):
    case = case_of(name, task, identity)
    ids = prompt_of(_built(name)[1], task, case).ids
    spliced = [token for token in case["input_ids"] if token != -200]
    assert [token for token in ids if token != -200] == spliced
    if case["image_span"]:
        first, last = case["image_span"]
        assert ids[first:last] == [-200] * (last - first)
        assert ids.count(-200) == last - first


@pytest.mark.parametrize(("name", "task", "identity"), CASES)
def test_logits_agree(name, task, identity):
    model, _, _ = _built(name)
    case = case_of(name, task, identity)
    arrays = arrays_of(name, case["arrays"])
    ask = ask_of(name, task, case)
    batch = left_padded([ask])
    if ask.pixels_3SS is not None:
        stored = arrays_of(name, case["pixel_values_in"])["pixel_values"]
        if case["pixel_values_in"] == case["arrays"]:
            np.testing.assert_allclose(ask.pixels_3SS.numpy(), stored[0], atol=1e-5)
    with torch.inference_mode():
        ours = model(batch)[0].numpy()
    theirs = arrays["logits"][0]
    np.testing.assert_allclose(ours[-theirs.shape[0] :], theirs, atol=2e-4)


def greedy(name, task, case):
    """The released loop: greedy over the whole vocabulary, with a cache, until a stop id."""
    model, _, _ = _built(name)
    penalty = 1.05 if name == "xl32" else 1.0
    batch = left_padded([ask_of(name, task, case)])
    length = batch.input_ids_BT.shape[1]
    cache = roomy_cache(model.language_config, length + case["max_new_tokens"])
    said = []
    with torch.inference_mode():
        hidden = model.hidden(model.embed(batch), batch.tasks, cache=cache)
        while len(said) < case["max_new_tokens"]:
            scores = model.fusion.logits(hidden[:, -1:], batch.tasks)[0, -1]
            sampling = Sampling(repetition_penalty=penalty)
            said.append(choose(scores, sampling, sampling.generator(), said))
            if said[-1] in case["eos_token_ids"]:
                break
            position = torch.tensor([[length + len(said) - 1]])
            embedded = model.fusion.embed(torch.tensor([[said[-1]]]), batch.tasks, None, torch.tensor([[-1]]))
            hidden = model.hidden(embedded, batch.tasks, positions_BT=position, cache=cache)
    return said


@pytest.mark.parametrize(("name", "task", "identity"), CASES)
def test_greedy_ids_are_the_released_ones(name, task, identity):
    case = case_of(name, task, identity)
    assert greedy(name, task, case) == case["generated_ids"]


@pytest.mark.parametrize("name", list(FILES))
def test_answers_of_a_mixed_batch_are_the_released_ones(name):
    model, builder, _ = _built(name)
    cases = [(task, case) for task, part in golden(name).items() for case in part["cases"]]
    penalty = 1.05 if name == "xl32" else 1.0
    asks = [ask_of(name, task, case, repetition_penalty=penalty) for task, case in cases]
    spoken = decode(model, asks, frozenset(cases[0][1]["eos_token_ids"]))
    for (task, case), utterance in zip(cases, spoken, strict=True):
        expected = case["generated_ids"]
        stop = next((n for n, token in enumerate(expected) if token in case["eos_token_ids"]), len(expected))
        if task == "gen" and not all(builder.layout.first_code <= t < builder.layout.end for t in expected):
            legal = next(n for n, t in enumerate(expected) if not builder.layout.first_code <= t < builder.layout.end)
            assert utterance.ids[:legal] == expected[:legal]
        else:
            assert utterance.ids == expected[:stop]


def train_batch(name, task):
    """The released training step's batch: one image slot of the files becomes sixteen visual tokens."""
    arrays = arrays_of(name, f"train_{task}.npz")
    rows = []
    for ids, labels, mask in zip(arrays["input_ids"], arrays["labels"], arrays["attention_mask"], strict=True):
        prompt = Prompt()
        for token, label in zip(ids[mask.astype(bool)].tolist(), labels[mask.astype(bool)].tolist(), strict=True):
            prompt.add([token] * (16 if token == IMAGE_SLOT else 1), learned=label != IGNORED)
        rows.append(prompt)
    squares = [np.zeros((56, 56, 3), np.uint8) if IMAGE_SLOT in prompt.ids else None for prompt in rows]
    batch = right_padded(rows, [TASK[task]] * len(rows), squares, CLIP)
    return replace(batch, pixels_N3SS=torch.from_numpy(arrays["images"])[list(batch.image_rows)]), arrays


@pytest.mark.parametrize(("name", "task"), [("m3", "com"), ("m3", "gen"), ("l14", "com"), ("xl32", "com")])
def test_loss_and_gradients_are_the_released_ones(name, task):
    model, _, _ = _built(name)
    batch, arrays = train_batch(name, task)
    family = FAMILY[task]
    grain = {"com": "abstract", "gen": "concrete"}[task]
    model.requires_grad_(True).zero_grad()
    loss, _ = response_loss(model, batch)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(arrays["loss"]), abs=1e-5)
    ours = dict(model.named_parameters())
    kept = [key for key in arrays if key.startswith("grad.")]
    assert len(kept) > 10
    for key in kept:
        short = key.removeprefix("grad.base_model.model.model.")
        if short.startswith("mm_projector."):
            gradient = ours[f"vision.adapters.{grain}.{short.removeprefix('mm_projector.')}"].grad
        else:
            layer, _, part = short.partition(".lora_")
            gradient = ours[f"backbone.{layer}.adapters.{family}.lora_{part}"].grad
        np.testing.assert_allclose(gradient.numpy(), arrays[key], atol=2e-4, err_msg=key)
    model.requires_grad_(False)


def test_a_released_plugin_says_what_it_was_trained_for():
    _, _, specs = _built("m3")
    assert specs["generation"].tasks == ("reconstruct",)
    assert len(specs["comprehension"].tasks) == 7


def test_swapped_and_foreign_files_are_named():
    folder = GOLDEN / "m3"
    with pytest.raises(
        ModelError, match=r"not a plugin file.*the file with embed_tokens and lm_head is the fusion file"
    ):
        read_plugin_file(folder / "fusion_layer_weights.bin")
    with pytest.raises(ModelError, match=r"not a fusion file.*--comprehension and --generation"):
        read_fusion_file(folder / "com_hlora_weights.bin")
    for base, file in (
        ("l14", folder / "com_hlora_weights.bin"),
        ("m3", GOLDEN / "xl32" / "com_hlora_weights_QWEN_32B.bin"),
    ):
        with pytest.raises(ModelError, match=f"{file.name} does not fit the base model as its comprehension plugin"):
            build_published(
                base=str(GOLDEN / base / "base"), vision=str(GOLDEN / "clip"), plugin_files={"comprehension": file},
                fusion_file=None, text_tokens=None, codes=0, grid=None, alphas={"comprehension": 8.0},
            )  # fmt: skip
