"""What a distance is measured in: a named network with weights of a known hash, seeing images in one stated way."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.data.cache import cache_folder
from gantlet.metrics.disk import remembered
from gantlet.metrics.sources import Chosen, Joined, Kept, Source, batches_of, count_of

# with antialias (Parmar et al. 2022, "On aliased resizing"), or as TensorFlow 1 did it, which aliases: FID's
Resize = Literal["bicubic", "bilinear", "tf-bilinear"]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def hash_of(net: nn.Module | Mapping[str, Tensor]) -> str:
    """sha256 of the state dict (names, types, shapes and values, in the order of the names), in hex.

    Of a network without weights: of its class and what it says of itself.
    """
    digest = hashlib.sha256()
    state = net.state_dict() if isinstance(net, nn.Module) else net
    for name, t in sorted(state.items()):
        digest.update(f"{name} {t.dtype} {list(t.shape)}\n".encode())
        digest.update(t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    if not state and isinstance(net, nn.Module):  # without weights it is what it does
        digest.update(f"{type(net).__module__} {net!r}".encode())
    return digest.hexdigest()


def find_weights(file: str) -> Path:
    """The file in $GANTLET_WEIGHTS, else in `weights` in the cache; InputError that names it where it is in neither."""
    given, cached = os.environ.get("GANTLET_WEIGHTS"), cache_folder() / "weights"
    folders = [Path(given), cached] if given else [cached]
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    looked = " and ".join(str(f) for f in folders)
    raise InputError(f"weights {file} are not in {looked}; put the file there, or set GANTLET_WEIGHTS to its folder")


@dataclass(frozen=True, eq=False)
class Features:
    """A network seen as features: x [N, C, H, W] in -1..1 (or points [N, d]) -> float32 [N, dimension].

    A distance bears its name: FD-LeNet, FD-MobileNetV2; FID is the Inception's alone. Images are clamped to -1..1 (what
    saving them does), brought to `channels` and `size`, and handed to `net` in `low`..`high`. `net` is put in
    evaluation mode.
    """

    name: str
    net: nn.Module  # [N, channels, *size] in low..high -> [N, dimension]
    dimension: int
    size: tuple[int, int] | None = None  # None: as they are
    channels: int | None = None  # None: as they are
    low: float = -1.0
    high: float = 1.0
    resize: Resize = "bicubic"
    eight_bit: bool = False  # rounded to 8 bits before anything else, as files are: what FID was always measured on
    titles: Mapping[str, str] = field(default_factory=dict)  # what distances in it are called: {"FD": "FID"}
    after: Features | None = None  # whose answers `net` reads in the samples' place: a set that keeps them reuses them
    origin: str = ""  # what built it, in words that say all; without them its answers are not kept on disk
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        self.net.eval()
        own = hash_of(self.net)
        both = f"{self.after.hash} {own}" if self.after else ""
        object.__setattr__(self, "hash", hashlib.sha256(both.encode()).hexdigest() if both else own)

    def called(self, distance: str) -> str:
        """The display name of a distance in this space: FID and MiFID in the genuine Inception, FD-raw elsewhere."""
        for short, title in self.titles.items():
            if distance.startswith(short) or distance.endswith(short):
                return distance.replace(short, title)
        return f"{distance}-{self.name}"

    @property
    def facts(self) -> dict[str, Any]:
        """What makes its numbers comparable: network, weights, and how samples are shown to it."""
        if self.after is not None:
            return {**self.after.facts, "name": self.name, "hash": self.hash, "dimension": self.dimension}
        shown: dict[str, Any] = {
            "size": list(self.size or ()),
            "channels": self.channels,
            "range": [self.low, self.high],
        }
        shown |= {"resize": self.resize, "eight_bit": self.eight_bit}
        return {"name": self.name, "hash": self.hash, "dimension": self.dimension, **shown}

    @property
    def key(self) -> str:
        """The facts as one line: two features with the same key answer the same."""
        return json.dumps(self.facts)

    @property
    def device(self) -> torch.device | None:
        """Where the network is; None when it has no weights and works anywhere."""
        return next((p.device for p in self.net.parameters()), None)

    def to(self, device: torch.device | str) -> Features:
        """This, its network moved to the device."""
        self.net.to(device)
        if self.after is not None:
            self.after.to(device)
        return self

    def adapt(self, x: Tensor) -> Tensor:
        """What the network is shown of samples in -1..1; points pass as they are."""
        if x.ndim != 4:
            if self.size or self.channels:
                raise InputError(f"{self.name} features are of images [N, C, H, W], not {list(x.shape)}; use raw")
            return x
        x = x.clamp(-1, 1)
        if self.eight_bit:
            x = ((x + 1) * 127.5).round_() / 127.5 - 1
        if x.shape[1] < (self.channels or 0):  # grey to colour is a copy: resize one channel, not three
            x = recoloured(resized(x, self.size, self.resize), self.channels)
        else:
            x = resized(recoloured(x, self.channels), self.size, self.resize)
        return (x + 1) * ((self.high - self.low) / 2) + self.low if (self.low, self.high) != (-1, 1) else x

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        if self.after is not None:
            return self.read(self.after(x))
        values = math.prod((self.channels or x.shape[1], *(self.size or x.shape[2:])))
        most = IN_CACHE if (self.device or x.device).type == "cpu" else AT_ONCE
        few = max(1, most // max(1, values, x.shape[1:].numel()))
        return torch.cat([self.read(self.adapt(some.to(self.device)), some.shape) for some in torch.split(x, few)])

    @torch.no_grad()
    def read(self, x: Tensor, shape: torch.Size | None = None) -> Tensor:
        """The features of what the network is shown: adapted samples, or the features it comes after."""
        out: Tensor = self.net(x)
        if out.shape != (len(x), self.dimension):
            raise InputError(
                f"{self.name} features are [{len(x)}, {self.dimension}], of samples {list(shape or x.shape)} they came "
                f"out as {list(out.shape)}; both sets must have the shape the features were built for"
            )
        if not bool(torch.isfinite(out).all()):
            raise InputError(f"{self.name} features hold NaN or infinite values; look at the samples and the weights")
        return out.to(torch.float32)


def recoloured(x: Tensor, channels: int | None) -> Tensor:
    """Grey -> colour by repeating, colour -> grey by the BT.601 weights; InputError for any other change."""
    have = x.shape[1]
    if channels in (None, have):
        return x
    if (have, channels) == (1, 3):
        return x.expand(-1, 3, -1, -1)
    if (have, channels) == (3, 1):
        return (x * x.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    raise InputError(f"there is no rule to show {have} channels to a network for {channels}; use raw features")


def resized(x: Tensor, size: tuple[int, int] | None, rule: Resize) -> Tensor:
    """Images at `size`, antialiased, corners not aligned, the aspect not kept, clamped to -1..1."""
    if size is None or x.shape[-2:] == size:
        return x
    if rule == "tf-bilinear":
        return _between(_between(x, size[0], 2), size[1], 3)
    return F.interpolate(x, size, mode=rule, antialias=True, align_corners=False).clamp_(-1, 1)


def _between(x: Tensor, outs: int, dim: int) -> Tensor:
    """Linear between two neighbours along one side, pixel i read at i * ins / outs: no antialias, not centred."""
    ins = x.shape[dim]
    at = torch.arange(outs, device=x.device, dtype=x.dtype) * (ins / outs)
    low = at.long().clamp_(max=ins - 1)
    part = (at - low).view(-1, *[1] * (3 - dim))
    a, b = x.index_select(dim, low), x.index_select(dim, (low + 1).clamp_(max=ins - 1))
    return torch.lerp(a, b, part)


AT_ONCE = 2**24  # numbers shown to a network together: 62 images of 299 x 299, however large the batch
IN_CACHE = 5 * 2**17  # the same on a processor: 4 images of 224 x 224; with 100 MobileNetV2 takes four times as long
KEEP = 2**30  # bytes of features that a kept source holds on to; more are computed anew by every metric
MOST = 2**32  # bytes of features that may be wanted at once


def features_of(source: Source, features: Features, *, batch: int = 256) -> Iterator[Tensor]:
    """The features of every sample in order, float32 [n, dimension], at most `batch` rows at a time.

    A kept source computes them once where they fit into 1 GiB.
    """
    kept = _kept(source, features, batch) if isinstance(source, Kept) else None
    if kept is not None:
        yield from torch.split(kept, batch)
    elif isinstance(source, Joined):
        for part in source.parts:
            yield from features_of(part, features, batch=batch)
    else:
        for rows in batches_of(source, batch=batch, device=features.device):
            yield features(rows.x)


def matrix_of(source: Source, features: Features, *, batch: int = 256) -> Tensor:
    """All of them, float32 [N, dimension]; InputError where they would take more than 4 GiB."""
    kept = _kept(source, features, batch) if isinstance(source, Kept) else None
    if kept is not None:
        return kept
    most, pieces, count = MOST // (4 * features.dimension), [], 0
    for piece in features_of(source, features, batch=batch):
        pieces.append(piece)
        count += len(piece)
        if count > most:
            raise InputError(
                f"more than {most:,} samples of {features.dimension} {features.name} features do not fit into "
                f"{MOST >> 30} GiB; take fewer samples"
            )
    return torch.cat(pieces)


def _kept(source: Kept, features: Features, batch: int) -> Tensor | None:
    """The features a kept source holds; None where they are too many to hold."""
    if isinstance(source, Chosen):
        whole = _kept(source.whole, features, batch)
        return None if whole is None else whole[source.index.to(whole.device)]
    count = count_of(source)
    if count is not None and 4 * count * features.dimension > KEEP:
        return None

    def make(_: Source) -> Tensor:
        before = None if features.after is None else _kept(source, features.after, batch)
        if before is not None:
            return torch.cat([features.read(x) for x in torch.split(before, batch)])
        return torch.cat([features(rows.x) for rows in batches_of(source, batch=batch, device=features.device)])

    def found(whole: Source) -> Tensor:
        if not (source.name and features.origin and features.device):  # without weights nothing is saved
            return make(whole)
        kept = remembered(source.name, f"{features.origin} {features.key}", lambda: make(whole))
        return kept.to(features.device)

    return source.sum_up(("features", features.key), found)


def build(features: Any, spec: Callable[[], Spec]) -> Features:
    """Features given as they are, as a name, as a tree (`{use: lenet, path: judge/}`), or as a bound part."""
    if isinstance(features, Features):
        return features
    if isinstance(features, str | Mapping):
        tree, faults = registry.check("feature", features)
        if faults:
            raise InputError(faults)
        built = registry.bind("feature", tree, total=0)(spec())
        return replace(built, origin=json.dumps(tree)) if isinstance(built, Features) else _no_features(tree, built)
    if not callable(features):
        raise InputError(f"{features!r} are no features; give a name, a tree with `use`, or Features")
    built = features(spec())
    return built if isinstance(built, Features) else _no_features(features, built)


def _no_features(part: Any, made: Any) -> Features:
    raise InputError(f"{part!r} made {type(made).__name__}, not Features")


@registry.feature
def raw(spec: Spec) -> Features:
    """The numbers themselves, flattened: for points and images of a few pixels."""
    return Features("raw", nn.Flatten(), math.prod(spec.shape))


SIDE = 8  # pixels: what a thumbnail keeps


def thumbnails(x: Tensor) -> Tensor:
    """Images [N, C, H, W] as averages of at most 8 x 8, flattened [N, d]; points as they are."""
    if x.ndim != 4:
        return x.flatten(1)
    return F.adaptive_avg_pool2d(x.clamp(-1, 1), (min(SIDE, x.shape[2]), min(SIDE, x.shape[3]))).flatten(1)


class _Thumbnails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return thumbnails(x)


@registry.feature
def thumbnail(spec: Spec) -> Features:
    """Averages of 8 x 8 pixels: colour and coarse shape, for want of a network."""
    shape = spec.shape
    d = math.prod(shape) if len(shape) != 3 else shape[0] * min(SIDE, shape[1]) * min(SIDE, shape[2])
    return Features("thumbnail", _Thumbnails(), d)
