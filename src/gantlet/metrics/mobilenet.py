"""MobileNetV2 (Sandler et al. 2018), 1.0/224, ImageNet: features of photos from a file of 3 MB."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.metrics.features import Features, find_weights

FILE = "mobilenet_v2_1.0_224_imagenet_u8.npz"
SHA256 = "baa7290ad37108e91cd97b2df2669cb7d53a09a35e6d132d4ba06d5023a775b3"
_STAGES = (  # expansion, channels, blocks, stride of the first: table 2 of the paper
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Conv(nn.Conv2d):
    """A convolution with its batch norm folded in, padded as TensorFlow's SAME does on even sides, ReLU6 or linear."""

    def __init__(
        self, ins: int, outs: int, side: int = 1, *, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        before, after = (side - stride) // 2 if stride == 2 else (side - 1) // 2, (side - 1) // 2
        super().__init__(ins, outs, side, stride, before if before == after else 0, groups=groups)
        self.relu = relu
        self.uneven = (before, after, before, after) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x if self.uneven is None else F.pad(x, self.uneven))
        return F.relu6(y, inplace=not torch.is_grad_enabled()) if self.relu else y


class Block(nn.Module):
    """Inverted residual: widen, filter every channel alone, project without a nonlinearity; add where shapes allow."""

    def __init__(self, ins: int, outs: int, *, stride: int, expand: int) -> None:
        super().__init__()
        wide = ins * expand
        layers = [Conv(wide, wide, 3, stride=stride, groups=wide), Conv(wide, outs, relu=False)]
        self.layers = nn.Sequential(*([Conv(ins, wide)] if expand > 1 else []), *layers)
        self.adds = stride == 1 and ins == outs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """RGB [N, 3, 224, 224] in -1..1 -> the pooled features [N, 1280]; `logits` are of ImageNet-1001 (0: background)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv(3, 32, 3, stride=2)]
        ins = 32
        for expand, outs, blocks, stride in _STAGES:
            for i in range(blocks):
                layers.append(Block(ins, outs, stride=stride if i == 0 else 1, expand=expand))
                ins = outs
        self.body = nn.Sequential(*layers, Conv(ins, 1280))
        self.head = nn.Linear(1280, 1001)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y.mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self(x))
        return y


def read(path: Path) -> MobileNetV2:
    """The network from its file: uint8 weights with scale and zero point, float biases, numbered in order of use."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise InputError(f"{path} is damaged or another file: its sha256 is not {SHA256[:16]}...; replace it")
    net = MobileNetV2()
    with np.load(path, allow_pickle=False) as arrays:
        numbers = sorted(int(k.removesuffix(".w")) for k in arrays.files if k.endswith(".w"))
        layers = [m for m in net.modules() if isinstance(m, Conv | nn.Linear)]
        for number, layer in zip(numbers, layers, strict=True):
            w, scale, zero = (arrays[f"{number}.{part}"].astype(np.float64) for part in ("w", "scale", "zp"))
            _fill(layer, torch.from_numpy((w - zero) * scale), torch.from_numpy(arrays[f"{number}.b"]))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # depthwise kernels: 1.7 times as fast
    return net


@torch.no_grad()
def _fill(layer: Conv | nn.Linear, w: Tensor, bias: Tensor) -> None:
    """Weights in TensorFlow's order: [out, h, w, in], or [1, h, w, channels] where each is filtered alone."""
    depthwise = isinstance(layer, Conv) and layer.groups > 1
    w = w.permute(3, 0, 1, 2) if depthwise else w.permute(0, 3, 1, 2)
    layer.weight.copy_(w if isinstance(layer, Conv) else w.flatten(1))
    assert layer.bias is not None
    layer.bias.copy_(bias)


@registry.feature
def mobilenetv2(spec: Spec) -> Features:
    """MobileNetV2 1.0/224 trained on ImageNet, pooled features (Sandler et al. 2018)."""
    if len(spec.shape) != 3:
        raise InputError(
            f"MobileNetV2 features are of images [C, H, W], the data has shape {list(spec.shape)}; use raw"
        )
    return Features("MobileNetV2", read(find_weights(FILE)), 1280, size=(224, 224), channels=3)
