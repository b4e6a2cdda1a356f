"""SqueezeNet v1.0 (Iandola et al. 2016), ImageNet, from a file of 2.5 MB: features, and maps for perceptual distances."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.metrics.features import Features, find_weights
from gantlet.metrics.fetch import load, read_state, sha256_of

FILE = "squeezenet_v1.0_imagenet_fp16.pt"
SHA256 = "82b6260e03160d1a364fd2bf97c1e582f603a3bef3d572cd92458dd58238db04"
CHANNELS = (96, 128, 128, 256, 256, 384, 384, 512, 512)  # of conv1, fire2, ... fire9: table 1 of the paper
_POOLED = ("conv1", "fire4", "fire8")  # what a 3 x 3 maximum of stride 2 follows


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1 x 1 and 3 x 3 filters side by side; ReLU after each."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.s = nn.Conv2d(ins, outs // 8, 1)
        self.e1 = nn.Conv2d(outs // 8, outs // 2, 1)
        self.e3 = nn.Conv2d(outs // 8, outs // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.s(x))
        return F.relu(torch.cat([self.e1(y), self.e3(y)], 1))


class SqueezeNet(nn.Module):
    """RGB [N, 3, H, W] in 0..255 -> the mean of the last fire module [N, 512].

    `stages` are the maps of the nine stages before they are pooled, from 96 channels at half the size to 512 at a
    sixteenth: what a perceptual distance compares (Zhang et al. 2018). `logits` are of ImageNet-1000.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, CHANNELS[0], 7, stride=2)
        for i, (ins, outs) in enumerate(pairwise(CHANNELS), 2):
            self.add_module(f"fire{i}", Fire(ins, outs))
        self.conv_final = nn.Conv2d(CHANNELS[-1], 1000, 1, padding=1)
        self.register_buffer("mean", torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1), persistent=False)

    def _maps(self, x: Tensor) -> Iterator[Tensor]:
        y = F.relu(self.conv1(x[:, [2, 1, 0]] - self.get_buffer("mean")))  # Caffe: blue first, the set's mean off
        yield y
        before = "conv1"
        for name, fire in self.named_children():
            if not isinstance(fire, Fire):
                continue
            y = fire(F.max_pool2d(y, 3, 2, ceil_mode=True) if before in _POOLED else y)
            yield y
            before = name

    def stages(self, x: Tensor) -> list[Tensor]:
        return list(self._maps(x))

    def forward(self, x: Tensor) -> Tensor:
        return self._last(x).mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        return F.relu(self.conv_final(self._last(x))).mean((2, 3))

    def _last(self, x: Tensor) -> Tensor:
        for y in self._maps(x):
            last = y
        return last


def read(path: Path) -> SqueezeNet:
    """The network from its file of float16 tensors."""
    if sha256_of(path) != SHA256:
        raise InputError(f"{path} is damaged or another file: its sha256 is not {SHA256[:16]}...; replace it")
    net = SqueezeNet()
    load(net, {name: t.float() for name, t in read_state(path).items()}, str(path))
    return net


@registry.feature
def squeezenet(spec: Spec) -> Features:
    """SqueezeNet v1.0 trained on ImageNet, 512 pooled features and nine stages of maps (Iandola et al. 2016)."""
    if len(spec.shape) != 3:
        raise InputError(f"SqueezeNet features are of images [C, H, W], the data has shape {list(spec.shape)}; use raw")
    net = read(find_weights(FILE)).requires_grad_(False)
    return Features("SqueezeNet", net, CHANNELS[-1], size=(227, 227), channels=3, low=0.0, high=255.0)
