"""nano's codec before it is frozen, and the codes of every target image of the data folder."""

import numpy as np
import torch

from healthgpt.data.dataset import Examples, load_examples
from healthgpt.errors import RecipeError
from healthgpt.training.nano.loop import run_steps, save_whole
from healthgpt.training.nano.recipe import CodecSteps, Steps
from healthgpt.training.nano.stage_data import preprocessing_of
from healthgpt.training.nano.workspace import Workspace
from healthgpt.variants import Variant, variant_named
from healthgpt.vq.codec import Codec, from_uint8
from healthgpt.vq.losses import LossWeights, PatchDiscriminator, codec_step

CODEC = "codec-colour"
"""The part whose result is the run's codec."""


def new_codec(variant: Variant, plan: CodecSteps) -> Codec:
    """An untrained codec of the recipe's shape."""
    return Codec(
        image_size=variant.codec_image_size, code_count=variant.code_count, embed_dim=plan.embed_dim, fold=plan.fold,
        widths=plan.widths, encoder_blocks=plan.encoder_blocks, decoder_blocks=plan.decoder_blocks,
        attention=plan.attention,
    )  # fmt: skip


def trained_codec(workspace: Workspace, part: str = CODEC) -> Codec:
    """The run's codec as a finished part left it, frozen."""
    codec = new_codec(variant_named(workspace.recipe.variant), workspace.recipe.codec)
    codec.load_state_dict(workspace.trained(part))
    return codec.requires_grad_(False).eval().to(workspace.device)


def image_groups(examples: Examples) -> dict[str, list[int]]:
    """Image indices by what they are, ``to draw`` or ``to read``, and what they show: task and data set."""
    groups: dict[str, list[int]] = {}
    for reading in examples.readings:
        source = reading.records[0].provenance.source
        groups.setdefault(f"to read {reading.task} {source}", []).append(reading.image)
    for drawing in examples.drawings:
        groups.setdefault(f"to draw {drawing.task} {drawing.record.provenance.source}", []).append(drawing.target)
    return {name: groups[name] for name in sorted(groups)}


def group_shares(
    examples: Examples, groups: dict[str, list[int]], drawn_share: float, colour_share: float
) -> np.ndarray:
    """Share of a batch that each group gets: (groups,) summing to 1.

    Groups count by the square root of their size, so that small real packs are seen more often than it
    says; then ``drawn_share`` goes to targets of drawing tasks and ``colour_share`` (0: as it comes) to
    coloured images.
    """
    shares = np.sqrt([len(set(group)) for group in groups.values()])
    drawn = np.array([name.startswith("to draw") for name in groups])
    coloured = np.array([examples.images[group[0]].ndim == 3 for group in groups.values()])
    for chosen, share in ((drawn, drawn_share), (coloured, colour_share)):
        if share and chosen.any() and not chosen.all():
            shares[chosen] *= share / shares[chosen].sum()
            shares[~chosen] *= (1 - share) / shares[~chosen].sum()
    return shares / shares.sum()


def optimise_codec(
    workspace: Workspace,
    name: str,
    plan: Steps,
    codec: Codec,
    weights: LossWeights,
    *,
    seed: int,
    colour_share: float = 0.0,
) -> None:
    """One optimisation of the codec on all images, inputs and targets alike; ``colour_share`` of them coloured."""
    examples = load_examples(workspace.data, "train", preprocessing_of(variant_named(workspace.recipe.variant)))
    groups = image_groups(examples)
    shares = group_shares(examples, groups, workspace.recipe.codec.drawn_share, colour_share)
    members = list(groups.values())
    codec = codec.to(workspace.device).train()
    adversarial = weights.adversarial_start < plan.steps
    adversary = PatchDiscriminator().to(workspace.device) if adversarial else None

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([workspace.recipe.seed, seed, step])
        chosen = rng.choice(len(members), plan.batch, p=shares)
        indices = [members[g][int(rng.integers(len(members[g])))] for g in chosen]
        batch = from_uint8(torch.from_numpy(examples.squares(indices))).to(workspace.device)
        generator = torch.Generator(workspace.device).manual_seed(step)
        with torch.autocast(workspace.device, torch.bfloat16):
            loss, figures = codec_step(codec, adversary, batch, weights, step, generator)
        figures.pop("loss")
        return loss, figures

    modules = {"codec": codec} if adversary is None else {"codec": codec, "adversary": adversary}
    parameters = {f"{name}.{key}": p for name, m in modules.items() for key, p in m.named_parameters()}
    buffers = {f"{name}.{key}": b for name, m in modules.items() for key, b in m.named_buffers()}
    run_steps(
        workspace.part(name), plan, [(parameters, plan.learning_rate)], compute, seed=workspace.recipe.seed,
        buffers=buffers, checkpoint_seconds=workspace.recipe.checkpoint_seconds, device=workspace.device,
    )  # fmt: skip
    # Rounded as it will be stored: the codes of the targets must be those of the shipped codec.
    workspace.keep(
        name, {key: t.half().float() if t.is_floating_point() else t for key, t in codec.state_dict().items()}
    )
    workspace.finish(name)


def codec_part(workspace: Workspace) -> None:
    """Structure first: reconstruction of all images; most are grey, so tint is left for last."""
    plan = workspace.recipe.codec
    torch.manual_seed(workspace.recipe.seed)
    codec = new_codec(variant_named(workspace.recipe.variant), plan)
    never = plan.steps
    weights = LossWeights(
        adversarial_start=plan.adversarial_start if plan.adversarial_start >= 0 else never,
        texture=plan.texture,
        quantise_start=plan.warm_up,
    )
    optimise_codec(workspace, "codec", plan, codec, weights, seed=3)


def colour_part(workspace: Workspace) -> None:
    """Then colour: the tint term joins, first without rounding, so that latents learn to tell tints apart."""
    plan = workspace.recipe.codec_colour
    codec = trained_codec(workspace, "codec").requires_grad_(True)
    codec.codebook.started.fill_(False)  # the codebook is placed anew on the latents that know colour
    weights = LossWeights(colour=plan.colour, quantise_start=plan.unquantised, adversarial_start=plan.steps)
    optimise_codec(workspace, "codec-colour", plan, codec, weights, seed=4, colour_share=plan.colour_share)


def codes_part(workspace: Workspace) -> None:
    """VQ indices of every target image, train and validation, by file name: int16 (rows * columns)."""
    codec = trained_codec(workspace)
    preprocessing = preprocessing_of(variant_named(workspace.recipe.variant))
    codes: dict[str, torch.Tensor] = {}
    for split in ("train", "validation"):
        examples = load_examples(workspace.data, split, preprocessing)  # type: ignore[arg-type]
        targets = sorted({drawing.target for drawing in examples.drawings})
        for start in range(0, len(targets), 64):
            chunk = targets[start : start + 64]
            batch = from_uint8(torch.from_numpy(examples.squares(chunk))).to(workspace.device)
            for index, grid in zip(chunk, codec.encode(batch).cpu(), strict=True):
                codes[examples.names[index]] = grid.flatten().to(torch.int16)
    save_whole(workspace.part("codes") / "trained.safetensors", codes)
    workspace.finish("codes", images=len(codes), codec=workspace.digest(CODEC))


def check_codec(workspace: Workspace, part: str) -> None:
    """``RecipeError`` when another codec than the run's made a part's codes: a model that learned them draws noise."""
    if workspace.facts(part).get("codec") != workspace.digest(CODEC):
        raise RecipeError(
            f"part '{part}' holds codes made by another codec than this run's",
            next_step=f"remove {workspace.part(part)} and the stages after it, then train again",
        )


def codes_by_index(workspace: Workspace, examples: Examples) -> dict[int, np.ndarray]:
    """Codes of the targets of loaded examples: image index -> int64 (rows * columns)."""
    check_codec(workspace, "codes")
    by_name = workspace.trained("codes")
    return {
        drawing.target: by_name[examples.names[drawing.target]].numpy().astype(np.int64)
        for drawing in examples.drawings
    }
