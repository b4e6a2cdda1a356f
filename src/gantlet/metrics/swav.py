"""ResNet-50 (He et al. 2016) trained by SwAV (Caron et al. 2020): features that no labels have shaped."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.metrics.encoders import IMAGENET, seen_by
from gantlet.metrics.features import Features, find_weights
from gantlet.metrics.fetch import load, read_state

FILE = "swav_800ep_pretrain.pth.tar"
URL = f"https://dl.fbaipublicfiles.com/deepcluster/{FILE}"
_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width, blocks: table 1 of He et al.


class Bottleneck(nn.Module):
    """1 x 1 narrow, 3 x 3 (strided here, as every published weight file has it), 1 x 1 wide; added to the input."""

    def __init__(self, ins: int, width: int, stride: int) -> None:
        super().__init__()
        outs = 4 * width
        self.conv1 = nn.Conv2d(ins, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outs)
        if stride != 1 or ins != outs:
            self.downsample = nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x), inplace=True)


class ResNet50(nn.Module):
    """RGB [N, 3, H, W], normalised -> pooled features [N, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        ins = 64
        for i, (width, blocks) in enumerate(_STAGES, 1):
            stage = []
            for j in range(blocks):
                stage.append(Bottleneck(ins, width, stride=2 if i > 1 and j == 0 else 1))
                ins = 4 * width
            self.add_module(f"layer{i}", nn.Sequential(*stage))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
        for i in range(1, len(_STAGES) + 1):
            y = self.get_submodule(f"layer{i}")(y)
        return y.mean((2, 3))


@registry.feature
def swav(spec: Spec) -> Features:
    """ResNet-50 trained by SwAV, 2048 pool features (Caron et al. 2020; Morozov et al. 2021, "On self-supervised").

    No hash of the file is published: it is not downloaded by itself, and `network` says which weights they were.
    """
    if len(spec.shape) != 3:
        raise InputError(f"SwAV features are of images [C, H, W], the data has shape {list(spec.shape)}; use raw")
    try:
        path = find_weights(FILE)
    except InputError as error:
        raise InputError(f"{error}; it is at {URL}") from error
    net = ResNet50()
    heads = ("projection_head.", "prototypes.", "fc.")
    state = {name.removeprefix("module."): t for name, t in read_state(path).items()}
    load(net, {name: t for name, t in state.items() if not name.startswith(heads)}, str(path))
    return seen_by("SwAV", net, IMAGENET, (224, 224))
