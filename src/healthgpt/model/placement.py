"""Where the parts of a model lie: all on one device or, where that is too small, decoder blocks over several.

Blocks that fit on no GPU wait in the host's memory and are brought over for each step (accelerate's device map and
offloading). Tables and vision are on the first GPU, where a step begins and ends.
"""

from collections.abc import Mapping

import torch
from accelerate import dispatch_model, infer_auto_device_map
from accelerate.utils import get_max_memory

from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.plugins.attach import decoder_blocks

WORKING_SHARE = 0.15
"""Of each GPU's free memory, kept for cache and temporaries."""


def bytes_of(module: torch.nn.Module) -> int:
    """Of all its parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def place(model: HealthGPTModel, device: torch.device, quantize: str | None = None) -> HealthGPTModel:
    """The model on ``device``; on CUDA over all GPUs and the host where one GPU cannot hold it.

    A quantised model stays whole: it becomes small only as it is moved, and is not computed with from the host.
    """
    if device.type != "cuda" or quantize:
        return model.to(device)
    room = _free()
    first = next(iter(room))
    if bytes_of(model) <= room[first]:
        return model.to(device)
    model.vision.to(first)
    model.fusion.to(first)
    dispatch_model(
        model.backbone, block_places(model, room), main_device=first, offload_buffers=True,
        preload_module_classes=[block_class(model)],
    )  # fmt: skip
    return model


def block_class(model: HealthGPTModel) -> str:
    """Name of the decoder blocks' class. A block comes to the GPU whole: plugins use weights of layers they do not
    call, which are not brought over one by one."""
    return type(decoder_blocks(model.backbone)[0]).__name__


def block_places(model: HealthGPTModel, room: Mapping[int | str, int]) -> dict[str, int | str]:
    """Part of the backbone -> GPU or ``cpu``, blocks whole and in order.

    ``room``: bytes that may be used of each, the first GPU first; tables and vision go there too.
    """
    first = next(iter(room))
    left = {**room, first: room[first] - bytes_of(model.vision) - bytes_of(model.fusion)}
    places: dict[str, int | str] = infer_auto_device_map(
        model.backbone, left, no_split_module_classes=[block_class(model)], offload_buffers=True
    )
    return places


def _free() -> dict[int | str, int]:
    """Bytes free on each GPU, less what working needs, and on the host."""
    found = get_max_memory()
    return {name: int(size * (1 - WORKING_SHARE)) if name != "cpu" else size for name, size in found.items()}
