"""What the codec is trained on: pixels, edges, structure, tint, texture, an adversary, and its own codes.

VQGAN (Esser et al., CVPR 2021, eq. 4 to 7) trains with L1, a perceptual distance on a downloaded
network, a patch adversary with an adaptive weight, and the commitment loss. Nothing is downloaded
here: structural similarity (Wang et al., IEEE TIP 2004, eq. 13) and differences of local texture
energies stand in for the network.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from healthgpt.errors import RecipeError
from healthgpt.vq.codec import Codec

LUMA = (0.2125, 0.7154, 0.0721)
"""Share of red, green and blue in brightness (ITU-R BT.709, rounded as scikit-image rounds it)."""

SSIM_WINDOW = 7
"""Side of the square window of the structural similarity, in pixels (scikit-image's default)."""


@dataclass(frozen=True)
class LossWeights:
    """How much each term counts. Pictures are compared in [0, 1].

    ``adversarial`` multiplies the adaptive weight of VQGAN eq. 7; the adversary joins at step
    ``adversarial_start`` and is left out altogether when no discriminator is given. Before step
    ``quantise_start`` nothing is rounded, so that the codebook is placed on latents that already tell
    pictures apart (tint above all) and not on those of an untrained encoder.
    """

    pixel: float = 1.0
    gradient: float = 1.0
    structure: float = 0.5
    colour: float = 0.0
    texture: float = 0.0
    commitment: float = 0.25
    adversarial: float = 0.1
    adversarial_start: int = 0
    quantise_start: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not math.isfinite(value) or value < 0:
                raise RecipeError(f"codec loss weight '{name}' is wrong", found=str(value), allowed="0 or more")


class PatchDiscriminator(nn.Module):
    """Is each patch real? (B, 3, H, W) -> scores (B, 1, H / 16, W / 16), high for real.

    VQGAN's patch adversary on folded pixels, like the codec, with spectral normalisation in place of
    batch statistics, so that a picture's score does not depend on its neighbours in the batch.
    """

    def __init__(self, width: int = 48, fold: int = 4) -> None:
        super().__init__()
        normalised = nn.utils.parametrizations.spectral_norm
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(fold),
            normalised(nn.Conv2d(3 * fold**2, width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            normalised(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            normalised(nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).float()


def luma(images: Tensor) -> Tensor:
    """Brightness: (B, 3, H, W) -> (B, 1, H, W) on the same scale."""
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))[:, None]


def ssim(images: Tensor, others: Tensor) -> Tensor:
    """Mean structural similarity of two (B, C, H, W) batches in [0, 1]; equals scikit-image's default.

    Uniform 7x7 windows wholly inside the picture, sample covariance, data range 1.
    """
    moments = torch.cat([images, others, images * images, others * others, images * others], dim=1)
    mean, other_mean, square, other_square, product = _window_means(moments).chunk(5, dim=1)
    sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    variance = sample * (square - mean * mean)
    other_variance = sample * (other_square - other_mean * other_mean)
    covariance = sample * (product - mean * other_mean)
    steady_mean, steady_variance = 0.01**2, 0.03**2
    likeness = (2 * mean * other_mean + steady_mean) * (2 * covariance + steady_variance)
    scale = (mean * mean + other_mean * other_mean + steady_mean) * (variance + other_variance + steady_variance)
    return (likeness / scale).mean()


def _window_means(values: Tensor) -> Tensor:
    """Means over all 7x7 windows inside (B, C, H, W); summed by doubling: cheaper than pooling."""
    for axis in (-1, -2):
        reach = values.shape[axis] - SSIM_WINDOW + 1
        pairs = values.narrow(axis, 0, reach + 5) + values.narrow(axis, 1, reach + 5)
        fours = pairs.narrow(axis, 0, reach) + pairs.narrow(axis, 2, reach)
        values = fours + pairs.narrow(axis, 4, reach) + values.narrow(axis, 6, reach)
    return values / SSIM_WINDOW**2


def gradient_distance(images: Tensor, others: Tensor, scales: int = 3) -> Tensor:
    """Mean absolute difference of neighbouring-pixel steps, summed over scales halved in turn.

    Takes two (B, C, H, W) batches; the sides must allow ``scales - 1`` halvings.
    """
    error = images - others  # differences are linear: the step of the error is the error of the step
    distance = error.new_zeros(())
    for scale in range(scales):
        if scale > 0:
            error = functional.avg_pool2d(error, 2)
        distance = distance + error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return distance


def colour_distance(chroma: Tensor, other_chroma: Tensor, window: int = 4) -> Tensor:
    """Mean absolute difference of tint, pictures less their luma (B, 3, H, W), averaged over windows.

    Most medical pictures are grey, so the pixel term alone leaves tint for last; here it counts by
    itself and coarsely, at some cost in structure early on. ``window`` divides both sides.
    """
    return functional.avg_pool2d(chroma - other_chroma, window).abs().mean()


def texture_distance(images: Tensor, others: Tensor, scales: int = 2, window: int = 8) -> Tensor:
    """Mean absolute difference of local texture: energies of slopes and bends, pooled over windows.

    Energy says how much fine structure a window holds and along which direction, not where its peaks
    lie: speckle redrawn with other grains scores well, speckle smeared away does not. Takes two
    (B, 1, H, W) batches in [0, 1] whose halvings stay larger than a window.
    """
    distance = images.new_zeros(())
    for scale in range(scales):
        if scale > 0:
            images, others = functional.avg_pool2d(images, 2), functional.avg_pool2d(others, 2)
        across, down = torch.cat([images, others]).diff(dim=-1), torch.cat([images, others]).diff(dim=-2)
        for response in (across, down, across.diff(dim=-1), down.diff(dim=-2), across.diff(dim=-2)):
            energy = functional.avg_pool2d(response.square(), window)
            amplitude, other_amplitude = (energy + 1e-5).sqrt().chunk(2)
            distance = distance + (amplitude - other_amplitude).abs().mean()
    return distance


def discriminator_hinge(real: Tensor, drawn: Tensor) -> Tensor:
    """Hinge loss of the discriminator on its scores: real above 1, drawn below -1 cost nothing."""
    return 0.5 * (functional.relu(1 - real).mean() + functional.relu(1 + drawn).mean())


def adaptive_weight(fidelity: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """How strongly the adversary may pull (VQGAN eq. 7): ratio of gradient norms at the decoder's last weight."""
    (wanted,) = torch.autograd.grad(fidelity, last_layer, retain_graph=True)
    (pull,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    return (wanted.norm() / (pull.norm() + 1e-4)).clamp(max=1e4)


def codec_step(
    codec: Codec,
    discriminator: PatchDiscriminator | None,
    batch: Tensor,
    weights: LossWeights,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch (B, 3, H, W) in [-1, 1] and its parts as plain numbers.

    One backward pass serves both networks: the codec's adversarial term sees the discriminator's
    weights as constants, the discriminator's own term sees the drawing as a constant. The caller
    chooses the precision (autocast around the call is safe: the losses are in float32) and steps both
    optimisers. ``generator`` draws the restarts of dead codes.
    """
    drawn = codec(batch, generator, quantise=step >= weights.quantise_start)
    with torch.autocast(batch.device.type, enabled=False):
        real, fake = (batch.float() + 1) / 2, (drawn.images + 1) / 2
        real_luma, fake_luma = luma(real), luma(fake)
        parts = {
            "pixel": functional.l1_loss(fake, real),
            "gradient": gradient_distance(fake, real),
            "structure": 1 - ssim(fake_luma, real_luma),
            "commitment": drawn.commitment,
        }
        if weights.colour:
            parts["colour"] = colour_distance(fake - fake_luma, real - real_luma)
        if weights.texture:
            parts["texture"] = texture_distance(fake_luma, real_luma)
        fidelity = torch.stack(
            [getattr(weights, name) * part for name, part in parts.items() if name != "commitment"]
        ).sum()
        loss = fidelity + weights.commitment * drawn.commitment
    if discriminator is not None and step >= weights.adversarial_start:
        frozen = {name: value.detach() for name, value in discriminator.named_parameters()}
        score = functional_call(discriminator, frozen, (drawn.images,))
        parts["adversarial"] = -score.mean()
        pull = adaptive_weight(fidelity, parts["adversarial"], codec.decoder.head.weight).detach()
        parts["discriminator"] = discriminator_hinge(discriminator(batch), discriminator(drawn.images.detach()))
        loss = loss + weights.adversarial * pull * parts["adversarial"] + parts["discriminator"]
    report = {name: float(part.detach()) for name, part in parts.items()}
    report["loss"] = float(loss.detach())
    report["codes_used"] = drawn.codes.unique().numel() / codec.code_count
    return loss, report
