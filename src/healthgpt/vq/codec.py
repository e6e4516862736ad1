"""The codec: pictures to grids of codes and codes to pictures (the VQGAN of HealthGPT, section 3.1)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from healthgpt.errors import ImageError, ModelError
from healthgpt.vq.autoencoder import Decoder, Encoder
from healthgpt.vq.codebook import Codebook


class Reconstruction(NamedTuple):
    """A training pass: ``images`` (B, 3, H, W) not clamped, ``codes`` (B, h, w) int64, scalar ``commitment``."""

    images: Tensor
    codes: Tensor
    commitment: Tensor


class Codec(nn.Module):
    """Encoder, codebook and decoder.

    ``image_size``: side of the square pictures it is trained on; other sizes that are multiples of
    ``stride`` pass too. ``fold``, ``widths``: see ``Encoder``; the stride is
    ``fold * 2 ** (len(widths) - 1)``. ``encoder_blocks``, ``decoder_blocks``: residual blocks of each
    level, finest first. ``attention``: self-attention on the decoder's coarsest grid.
    """

    def __init__(
        self,
        *,
        image_size: int,
        code_count: int,
        embed_dim: int,
        fold: int,
        widths: tuple[int, ...],
        encoder_blocks: tuple[int, ...],
        decoder_blocks: tuple[int, ...],
        attention: bool,
        codebook_decay: float = 0.95,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(fold, widths, encoder_blocks, embed_dim)
        self.codebook = Codebook(code_count, embed_dim, decay=codebook_decay)
        self.decoder = Decoder(fold, widths, decoder_blocks, embed_dim, attention)
        self.stride = fold * 2 ** (len(widths) - 1)
        self.image_size = image_size
        if image_size % self.stride:
            raise ModelError(
                "the codec's image size does not divide into its grid",
                found=f"{image_size} pixels",
                allowed=f"multiples of {self.stride}",
            )

    @property
    def code_count(self) -> int:
        """How many codes there are; a code is in [0, code_count)."""
        return self.codebook.code_count

    @property
    def code_vectors(self) -> Tensor:
        """What each code stands for (code_count, D)."""
        return self.codebook.vectors

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of codes of one picture of ``image_size``."""
        return self.image_size // self.stride, self.image_size // self.stride

    def forward(
        self, images: Tensor, generator: torch.Generator | None = None, *, quantise: bool = True
    ) -> Reconstruction:
        """Reconstruct (B, 3, H, W) in [-1, 1] with gradients; in training mode the codebook follows.

        Without ``quantise`` the latents reach the decoder unrounded, the codebook stays as it is, the
        codes are its nearest and the commitment is 0.
        """
        self._check_images(images)
        latents = self.encoder(images)
        if not quantise:
            free = self.decoder(latents).float()
            return Reconstruction(free, self.codebook.nearest(latents), latents.new_zeros((), dtype=torch.float32))
        quantised = self.codebook(latents, generator)
        return Reconstruction(self.decoder(quantised.latents).float(), quantised.codes, quantised.commitment)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> codes (B, H / stride, W / stride) int64, raster order."""
        self._check_images(images)
        return self.codebook.nearest(self.encoder(images))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) int64 -> pictures (B, 3, h * stride, w * stride) in [-1, 1]."""
        if codes.dim() != 3 or codes.dtype != torch.int64:
            raise ModelError(
                "the codec cannot decode these codes",
                found=f"shape {tuple(codes.shape)}, {codes.dtype}",
                allowed="(batch, rows, columns) of int64",
            )
        low, high = (int(bound) for bound in codes.aminmax())
        if low < 0 or high >= self.code_count:
            raise ModelError(
                "a code is outside the codebook",
                found=f"codes from {low} to {high}",
                allowed=f"0 to {self.code_count - 1}",
            )
        return self.decoder(self.codebook.lookup(codes)).float().clamp(-1, 1)

    def _check_images(self, images: Tensor) -> None:
        fits = images.dim() == 4 and images.shape[1] == 3 and images.is_floating_point()
        if not fits or images.shape[2] % self.stride or images.shape[3] % self.stride:
            raise ImageError(
                "the codec cannot encode these pictures",
                found=f"shape {tuple(images.shape)}, {images.dtype}",
                allowed=f"(batch, 3, height, width) floats with sides that are multiples of {self.stride}",
            )


def from_uint8(pixels: Tensor) -> Tensor:
    """Pictures (B, H, W) grey or (B, H, W, 3) RGB uint8 -> (B, 3, H, W) float32 in [-1, 1]."""
    fits = pixels.dtype == torch.uint8 and (pixels.dim() == 3 or (pixels.dim() == 4 and pixels.shape[3] == 3))
    if not fits:
        raise ImageError(
            "these pixels are not a batch of 8-bit pictures",
            found=f"shape {tuple(pixels.shape)}, {pixels.dtype}",
            allowed="(batch, height, width) or (batch, height, width, 3) of uint8",
        )
    colour = pixels[..., None].expand(-1, -1, -1, 3) if pixels.dim() == 3 else pixels
    return colour.movedim(-1, 1).float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) floats in [-1, 1] -> (B, H, W, 3) uint8, rounded to the nearest level."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1)
