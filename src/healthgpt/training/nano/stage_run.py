"""What the three stages share: the model as the stages before left it, the batches, and one optimisation."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import LlamaModel, PreTrainedModel

from healthgpt.backbone.attention import attend_for_training
from healthgpt.backbone.prompts import PromptBuilder, template_named
from healthgpt.batch import Batch
from healthgpt.data.collate import drawing_batch, reading_batch
from healthgpt.data.dataset import Drawing, Examples, load_examples
from healthgpt.model.build import assemble, layout_of, new_tower, set_dropout
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.record import Split
from healthgpt.training.nano.loop import attention_for, run_steps
from healthgpt.training.nano.pretrain_codec import codes_by_index
from healthgpt.training.nano.pretrain_language import language_config, tokenizer_of
from healthgpt.training.nano.pretrain_tower import tower_state
from healthgpt.training.nano.recipe import Steps
from healthgpt.training.nano.stage_data import Pool, preprocessing_of
from healthgpt.training.nano.workspace import Workspace
from healthgpt.training.objective import response_loss
from healthgpt.training.parameters import train_only
from healthgpt.variants import variant_named
from healthgpt.vision.preprocess import Preprocessing


@dataclass
class StageRun:
    """One stage of one run: model, examples and prompts, ready to be trained."""

    workspace: Workspace
    model: HealthGPTModel
    builder: PromptBuilder
    preprocessing: Preprocessing
    examples: Examples
    codes: dict[int, np.ndarray]

    def readings(self, count: int, pool: Pool, rng: np.random.Generator, turns: int) -> Batch:
        """A batch of conversations."""
        return reading_batch(pool.draw(count, rng), self.examples, self.builder, self.preprocessing, rng, turns)

    def drawings(self, drawings: Sequence[Drawing]) -> Batch:
        """A batch of pictures to draw."""
        return drawing_batch(drawings, self.examples, self.codes, self.builder, self.preprocessing)

    def loss(self, batch: Batch, *, responses_alike: bool = False) -> torch.Tensor:
        """Mean loss over the response tokens (or the responses) of a batch, computed in bfloat16 where that is safe."""
        device = self.workspace.device
        with torch.autocast(device, torch.bfloat16):
            loss, _ = response_loss(self.model, batch.to(device), responses_alike=responses_alike)
        return loss


def prompt_builder(workspace: Workspace) -> PromptBuilder:
    """The run's prompts."""
    variant = variant_named(workspace.recipe.variant)
    template = template_named(variant.template)
    return PromptBuilder(tokenizer_of(workspace), layout_of(variant), template, variant.image_tokens, variant.context)


def model_after(workspace: Workspace, parts: Sequence[str]) -> HealthGPTModel:
    """Trained backbone and tower, fresh adapters and plugins, then the results of ``parts`` laid over in order."""
    variant, seed = variant_named(workspace.recipe.variant), workspace.recipe.seed
    torch.manual_seed(seed)
    language = workspace.trained("language")
    backbone = LlamaModel(language_config(workspace))
    backbone.set_input_embeddings(nn.Identity())
    backbone.load_state_dict(
        {key.removeprefix("model."): tensor for key, tensor in language.items() if key.startswith("model.layers")}
        | {"norm.weight": language["model.norm.weight"]}
    )
    tower = new_tower(variant)
    tower.load_state_dict(tower_state(workspace))
    model = assemble(variant, backbone, tower)
    model.fusion.take_text_rows(language["model.embed_tokens.weight"], language["lm_head.weight"])
    for part in parts:
        result = model.load_state_dict(workspace.trained(part), strict=False)
        if result.unexpected_keys:
            raise ValueError(f"part {part} trained tensors the model lacks: {result.unexpected_keys[:3]}")
    return model


def prepare(workspace: Workspace, parts: Sequence[str], *, codes: bool, split: Split = "train") -> StageRun:
    """A stage run on top of finished ``parts``; ``codes``: also load the targets' VQ indices."""
    variant = variant_named(workspace.recipe.variant)
    preprocessing = preprocessing_of(variant)
    examples = load_examples(workspace.data, split, preprocessing)
    model = model_after(workspace, parts).to(workspace.device)
    assert isinstance(model.backbone, PreTrainedModel)
    attend_for_training(model.backbone, workspace.device)
    model.vision.tower.clip.set_attn_implementation(attention_for(workspace.device))
    return StageRun(
        workspace=workspace,
        model=model,
        builder=prompt_builder(workspace),
        preprocessing=preprocessing,
        examples=examples,
        codes=codes_by_index(workspace, examples) if codes else {},
    )


@contextlib.contextmanager
def _training(model: HealthGPTModel, dropout: float) -> Iterator[None]:
    """Plugins drop out at the stage's rate; everything is put back afterwards."""
    model.train()
    set_dropout(model.backbone, dropout)
    yield
    model.eval()


def optimise(run: StageRun, name: str, plan: Steps, groups: tuple[str, ...], compute) -> None:
    """Train exactly ``groups``, keep exactly those tensors, and save the table of what trained."""
    chosen = train_only(run.model, groups)
    rates = {
        group: plan.adapter_learning_rate
        if group.endswith("adapter") and plan.adapter_learning_rate is not None
        else plan.learning_rate
        for group in groups
    }
    folder = run.workspace.part(name)
    folder.mkdir(parents=True, exist_ok=True)
    table = [
        {"group": group, "parameters": sum(p.numel() for p in parameters.values()), "learning_rate": rates[group],
         "dropout": plan.dropout}
        for group, parameters in chosen.items()
    ]  # fmt: skip
    (folder / "trains.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    with _training(run.model, plan.dropout):
        run_steps(
            folder, plan, [(chosen[group], rates[group]) for group in groups], compute,
            seed=run.workspace.recipe.seed, checkpoint_seconds=run.workspace.recipe.checkpoint_seconds,
            device=run.workspace.device,
        )  # fmt: skip
    run.workspace.keep(name, {key: p for parameters in chosen.values() for key, p in parameters.items()})
    run.workspace.finish(name)
