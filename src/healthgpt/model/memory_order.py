"""How a model's matrices lie in memory for decoding on a CPU: with the longer side contiguous.

A decoding step multiplies one state a row of the batch by every matrix, which goes as fast as the matrix can be read.
A linear layer keeps (out, in) row after row; where outputs outnumber inputs (fused projections, B of an H-LoRA, the
head) that makes thousands of short scalar products, and the CPU library reads at half its rate or less. Column
after column it makes few long sums. Names, shapes and values stay as they are; results differ in rounding only.
In bfloat16 the library has other kernels and gains nothing.
"""

import torch
from torch import nn

from healthgpt.model.fusion import Tables
from healthgpt.model.healthgpt import HealthGPTModel


def order_for_decoding(model: HealthGPTModel) -> None:
    """Lay out decoder blocks, plugins and heads of a float32 model on a CPU, in place; others stay untouched.

    For inference: the file formats want every tensor row after row, so a model is saved before, not after.
    """
    for module in [*model.backbone.modules(), *model.fusion.modules()]:
        if isinstance(module, nn.Linear):
            _order(module.weight)
        if isinstance(module, Tables):  # embedding rows are looked up one by one and stay as they are
            _order(module.text_head)
            _order(module.image_head)


def _order(matrix: torch.Tensor) -> None:
    outputs, inputs = matrix.shape
    plain = type(matrix.data) is torch.Tensor and matrix.dtype == torch.float32 and matrix.device.type == "cpu"
    if plain and outputs >= inputs:  # quantised weights are tensors of another type
        matrix.data = matrix.data.t().contiguous().t()
