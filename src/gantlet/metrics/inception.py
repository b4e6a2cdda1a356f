"""InceptionV3 as the TensorFlow graph of 2015-12-05 has it: the network of FID, KID and the Inception Score."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.metrics.features import Features, hash_of
from gantlet.metrics.fetch import Known, fetch, load, read_state, sha256_of

KNOWN = Known(
    file="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
TITLES = {"FD": "FID", "KD": "KID", "IS": "IS"}
CLASSES, POOLED = 1008, 2048

Kernel = int | tuple[int, int]
Steps = Sequence[tuple[int, Kernel | list[Kernel]]]  # channels, kernel; several kernels fork
_TALL, _WIDE = (7, 1), (1, 7)


class Conv(nn.Module):
    """Convolution without bias, batch norm with eps 1e-3, ReLU."""

    def __init__(self, ins: int, outs: int, kernel: Kernel, *, stride: int = 1, same: bool = True) -> None:
        super().__init__()
        h, w = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (h // 2, w // 2) if same else (0, 0)
        self.conv = nn.Conv2d(ins, outs, (h, w), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Branches side by side, joined along the channels; the last branch pools, then projects where `project` says so.

    A branch is a name and its convolutions (channels, kernel), numbered name_1, name_2, ... where there are several; a
    list of kernels forks into name_ka and name_kb. With `stride` 2 the last convolution of each branch and the pool are
    strided and not padded.
    """

    def __init__(
        self,
        ins: int,
        branches: Mapping[str, Steps],
        *,
        project: int = 0,
        stride: int = 1,
        average: bool = True,
    ) -> None:
        super().__init__()
        self.stride, self.average = stride, average
        self.chains = [list(self._chain(ins, name, steps)) for name, steps in branches.items()]
        if project:
            self.branch_pool = Conv(ins, project, 1)

    def _chain(self, ins: int, name: str, steps: Steps) -> Iterable[list[str]]:
        for i, (outs, kernels) in enumerate(steps):
            stride = self.stride if i == len(steps) - 1 else 1
            number = f"_{i + 1}" if len(steps) > 1 else ""
            forks = kernels if isinstance(kernels, list) else [kernels]
            names = [f"branch{name}{number}{'ab'[j] if len(forks) > 1 else ''}" for j in range(len(forks))]
            for own, kernel in zip(names, forks):
                self.add_module(own, Conv(ins, outs, kernel, stride=stride, same=stride == 1))
            ins = outs
            yield names

    def forward(self, x: Tensor) -> Tensor:
        outs = []
        for chain in self.chains:
            y = [x]
            for names in chain:
                y = [self.get_submodule(name)(y[0]) for name in names]
            outs += y
        return torch.cat([*outs, self._pool(x)], 1)

    def _pool(self, x: Tensor) -> Tensor:
        """Averages leave the padding out of the count, as TensorFlow does."""
        if self.stride == 2:
            return F.max_pool2d(x, 3, 2)
        if self.average:
            y = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        else:
            y = F.max_pool2d(x, 3, 1, 1)
        out: Tensor = self.branch_pool(y)
        return out


def _a(ins: int, pool: int) -> Mixed:
    """Figure 5: 35 x 35."""
    branches: dict[str, Steps] = {"1x1": [(64, 1)], "5x5": [(48, 1), (64, 5)], "3x3dbl": [(64, 1), (96, 3), (96, 3)]}
    return Mixed(ins, branches, project=pool)


def _c(wide: int) -> Mixed:
    """Figure 6: 17 x 17, 7 x 7 convolutions in two factors."""
    return Mixed(
        768,
        {
            "1x1": [(192, 1)],
            "7x7": [(wide, 1), (wide, _WIDE), (192, _TALL)],
            "7x7dbl": [(wide, 1), (wide, _TALL), (wide, _WIDE), (wide, _TALL), (192, _WIDE)],
        },
        project=192,
    )


def _e(ins: int, *, average: bool) -> Mixed:
    """Figure 7: 8 x 8, the filter bank expanded."""
    fork: list[Kernel] = [(1, 3), (3, 1)]
    branches: dict[str, Steps] = {
        "1x1": [(320, 1)],
        "3x3": [(384, 1), (384, fork)],
        "3x3dbl": [(448, 1), (384, 3), (384, fork)],
    }
    return Mixed(ins, branches, project=192, average=average)


class InceptionV3(nn.Module):
    """RGB [N, 3, 299, 299] in 0..255 -> pooled features [N, 2048] (Szegedy et al. 2016, "Rethinking Inception").

    `logits` are of 1008 classes without the bias, as the Inception Score of the literature has them. The last block
    pools by the maximum where the paper averages: so does the graph whose weights these are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2, same=False)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, same=False)
        self.Mixed_5b = _a(192, 32)
        self.Mixed_5c = _a(256, 64)
        self.Mixed_5d = _a(288, 64)
        self.Mixed_6a = Mixed(288, {"3x3": [(384, 3)], "3x3dbl": [(64, 1), (96, 3), (96, 3)]}, stride=2)
        self.Mixed_6b = _c(128)
        self.Mixed_6c = _c(160)
        self.Mixed_6d = _c(160)
        self.Mixed_6e = _c(192)
        self.Mixed_7a = Mixed(
            768, {"3x3": [(192, 1), (320, 3)], "7x7x3": [(192, 1), (192, _WIDE), (192, _TALL), (192, 3)]}, stride=2
        )
        self.Mixed_7b = _e(1280, average=True)
        self.Mixed_7c = _e(2048, average=False)
        self.fc = nn.Linear(POOLED, CLASSES)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        x = ((x - 128) / 128).contiguous(memory_format=torch.channels_last)  # 1.4x as fast on a processor
        for name, stage in self.named_children():
            if name in ("Conv2d_3b_1x1", "Mixed_5b"):
                x = F.max_pool2d(x, 3, 2)
            if name != "fc":
                x = stage(x)
        return x.mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        return F.linear(self(x), self.fc.weight)


class Head(nn.Module):
    """The 1008 logits without the bias, from pool features: what the Inception Score has always been computed of."""

    def __init__(self, net: InceptionV3) -> None:
        super().__init__()
        self.weight = net.fc.weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


def pooled(net: InceptionV3, *, name: str, genuine: bool) -> Features:
    """Its pool features of images as FID sees them: rounded to 8 bits, resized as TensorFlow 1 did, 0..255."""
    return Features(
        name,
        net.requires_grad_(False),
        POOLED,
        size=(299, 299),
        channels=3,
        low=0.0,
        high=255.0,
        resize="tf-bilinear",
        eight_bit=True,
        titles=TITLES if genuine else {},
    )


@lru_cache(maxsize=1)  # pool features and logits are of one network: one copy in memory, one pass over a kept set
def _read(path: str | None, _: tuple[object, ...]) -> Features:
    if path is None:
        state, genuine = fetch(KNOWN), True
    else:
        state, genuine = read_state(Path(path)), sha256_of(Path(path)) == KNOWN.sha256
    with torch.device("meta"):
        net = InceptionV3()
    net = net.to_empty(device="cpu")
    load(net, state, path or KNOWN.file)
    return pooled(net, name="Inception" if genuine else f"Inception({hash_of(net)[:8]})", genuine=genuine)


def _seen(spec: Spec, path: str | None) -> Features:
    if len(spec.shape) != 3:
        raise InputError(f"Inception features are of images [C, H, W], the data has shape {list(spec.shape)}; use raw")
    given = Path(path or "?")
    stamp = given.stat().st_mtime_ns if given.is_file() else 0
    return _read(path, (stamp, os.environ.get("GANTLET_WEIGHTS"), os.environ.get("GANTLET_CACHE")))


@registry.feature
def inception(
    spec: Spec,
    *,
    path: str | None = None,  # other weights of this layout, whose distances bear another name; None: the public file
) -> Features:
    """InceptionV3 of 2015-12-05, 2048 pool features (Szegedy et al. 2016; Heusel et al. 2017): FID and KID."""
    return _seen(spec, path)


@registry.feature.named("inception-logits")
def inception_logits(spec: Spec, *, path: str | None = None) -> Features:
    """The 1008 class logits of the same network without the bias (Salimans et al. 2016): the Inception Score."""
    before = _seen(spec, path)
    assert isinstance(before.net, InceptionV3)
    return Features(before.name, Head(before.net), CLASSES, after=before, titles=before.titles)
