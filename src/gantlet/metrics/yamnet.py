"""YAMNet (AudioSet; MobileNet of Howard et al. 2017 on log-mel patches): features of sound from a file of 2.6 MB."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.metrics.features import Features, find_weights
from gantlet.metrics.fetch import sha256_of
from gantlet.metrics.mobilenet import Conv

FILE = "yamnet_audioset_i8.npz"
SHA256 = "24f95e4743c3334e16cb0e04d3a3d9da67a1fc9dbfd26e5c94023055ad9b5cca"
RATE = 16_000  # samples a second
WIDTH, CLASSES = 1024, 521
_WINDOW, _HOP, _FFT = 400, 160, 512  # 25 ms, 10 ms
_BANDS, _LOWEST, _HIGHEST, _OFFSET = 64, 125.0, 7500.0, 1e-3
_FRAMES, _PATCH_HOP = 96, 48  # 0.96 s, every 0.48 s
_LEAST = _WINDOW + _HOP * (_FRAMES - 1)  # samples of one patch
_STAGES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def mel_weights() -> Tensor:
    """float32 [257, 64]: triangles that are equally wide on the mel scale 1127 ln(1 + f / 700), 125 to 7500 Hz."""

    def mel(f: Tensor) -> Tensor:
        return 1127 * (1 + f / 700).log()

    bins = mel(torch.linspace(0, RATE / 2, _FFT // 2 + 1, dtype=torch.float64)).unsqueeze(1)
    low, high = mel(torch.tensor([_LOWEST, _HIGHEST], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, _BANDS + 2, dtype=torch.float64)
    left, peak, right = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (bins - left) / (peak - left), (right - bins) / (right - peak)
    return torch.minimum(rise, fall).clamp(min=0).float()


class LogMel(nn.Module):
    """Waveforms [N, T] at 16 kHz -> log(mel magnitudes + 0.001) in patches [N, P, 96, 64], the end filled with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(_WINDOW), persistent=False)
        self.register_buffer("mel", mel_weights(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        over = max(0, x.shape[1] - _LEAST)
        whole = _LEAST + -(-over // (_PATCH_HOP * _HOP)) * _PATCH_HOP * _HOP
        frames = F.pad(x, (0, whole - x.shape[1])).unfold(1, _WINDOW, _HOP) * self.get_buffer("window")
        bands = torch.fft.rfft(frames, _FFT).abs() @ self.get_buffer("mel")
        patches: Tensor = (bands + _OFFSET).log().unfold(1, _FRAMES, _PATCH_HOP)
        return patches.transpose(2, 3)


class Resample(nn.Module):
    """Waveforms [N, T] from one rate to another by a windowed sinc of 16 zero crossings each side (Smith 2002)."""

    def __init__(self, old: int, new: int, *, crossings: int = 16) -> None:
        super().__init__()
        shared = math.gcd(old, new)
        self.old, self.new = old // shared, new // shared
        cut = 0.95 * min(self.old, self.new) / self.old  # of the old half rate; what is above would fold back
        self.reach = math.ceil(crossings / cut)
        taps = torch.arange(-self.reach, self.reach + self.old, dtype=torch.float64)
        phase = torch.arange(self.new, dtype=torch.float64).unsqueeze(1) * self.old / self.new
        at = ((taps - phase) * cut).clamp(-crossings, crossings)
        kernel = torch.sinc(at) * (math.pi * at / (2 * crossings)).cos().square() * cut
        self.register_buffer("kernel", kernel.float().unsqueeze(1))  # [new, 1, taps]: one filter a phase

    def forward(self, x: Tensor) -> Tensor:
        if self.old == self.new:
            return x
        wanted = -(-x.shape[1] * self.new // self.old)
        padded = F.pad(x, (self.reach, self.reach + self.old)).unsqueeze(1)
        y = F.conv1d(padded, self.get_buffer("kernel"), stride=self.old)  # [N, new, blocks]
        return y.transpose(1, 2).flatten(1)[:, :wanted]


class YAMNet(nn.Module):
    """Waveforms [N, T] or [N, 1, T] in -1..1 at `rate` -> the mean embedding of their patches [N, 1024].

    `scores` are the mean probabilities of the 521 classes. `at_once` patches are in memory together.
    """

    def __init__(self, rate: int = RATE, *, at_once: int = 128) -> None:
        super().__init__()
        self.at_once = at_once
        if rate != RATE:
            self.resample = Resample(rate, RATE)
        self.front = LogMel()
        layers: list[nn.Module] = [Conv(1, 32, 3, stride=2, relu=False), nn.ReLU()]
        ins = 32
        for outs, stride in _STAGES:
            alone = Conv(ins, ins, 3, stride=stride, groups=ins, relu=False)
            layers += [alone, nn.ReLU(), Conv(ins, outs, relu=False), nn.ReLU()]
            ins = outs
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTH, CLASSES)

    def _embeddings(self, x: Tensor) -> Iterator[Tensor]:
        """[n, P, 1024] of a few clips at a time."""
        x = (x.flatten(1) if x.shape[1:-1] in ((), (1,)) else x).clamp(-1, 1)
        if x.ndim != 2:
            raise InputError(f"YAMNet features are of sound [N, T] or [N, 1, T], not {list(x.shape)}; mix its channels")
        x = self.resample(x) if hasattr(self, "resample") else x
        clips = max(1, self.at_once * _PATCH_HOP * _HOP // max(1, x.shape[1]))
        for some in torch.split(x, clips):
            patches = self.front(some)
            pieces = [self.body(p).mean((2, 3)) for p in patches.flatten(0, 1).unsqueeze(1).split(self.at_once)]
            yield torch.cat(pieces).view(len(some), -1, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([y.mean(1) for y in self._embeddings(x)])

    def scores(self, x: Tensor) -> Tensor:
        return torch.cat([self.head(y).sigmoid().mean(1) for y in self._embeddings(x)])


def read(path: Path, rate: int = RATE) -> YAMNet:
    """The network from its file: int8 or float weights, float biases, numbered in order of use."""
    if sha256_of(path) != SHA256:
        raise InputError(f"{path} is damaged or another file: its sha256 is not {SHA256[:16]}...; replace it")
    net = YAMNet(rate)
    layers = [m for m in net.modules() if isinstance(m, Conv | nn.Linear)]
    with np.load(path, allow_pickle=False) as arrays, torch.no_grad():
        numbers = sorted(int(k.removesuffix(".w")) for k in arrays.files if k.endswith(".w"))
        for i, layer in zip(numbers, layers, strict=True):
            w = torch.from_numpy(arrays[f"{i}.w"].astype(np.float64))
            if f"{i}.scale" in arrays.files:
                w = (w - float(arrays[f"{i}.zp"].item())) * float(arrays[f"{i}.scale"].item())
            if w.ndim == 4:  # [out, h, w, in], or [1, h, w, channels] where each is filtered alone
                w = w.permute(3, 0, 1, 2) if layer.weight.shape[1] == 1 and w.shape[0] == 1 else w.permute(0, 3, 1, 2)
            layer.weight.copy_(w)
            assert layer.bias is not None
            layer.bias.copy_(torch.from_numpy(arrays[f"{i}.b"]))
    return net


@registry.feature
def yamnet(
    spec: Spec,
    *,
    rate: Annotated[int, Field(ge=4_000, le=384_000)] = RATE,  # samples a second of the data; others are resampled
) -> Features:
    """YAMNet trained on AudioSet, 1024 features averaged over patches of 0.96 s (MobileNet, Howard et al. 2017)."""
    if len(spec.shape) not in (1, 2) or (len(spec.shape) == 2 and spec.shape[0] != 1):
        raise InputError(f"YAMNet features are of sound [T] or [1, T], the data has shape {list(spec.shape)}; use raw")
    return Features("YAMNet", read(find_weights(FILE), rate).requires_grad_(False), WIDTH)
