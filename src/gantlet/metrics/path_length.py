"""How far the samples move while the latent moves a little: rough generators have long paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Game
from gantlet.core.held import hold
from gantlet.core.noise import key_of, uniform
from gantlet.core.registry import Slot
from gantlet.metrics.about import about
from gantlet.metrics.diversity import at_once, stages_of, unlike
from gantlet.metrics.features import Features, build
from gantlet.metrics.interval import of_mean
from gantlet.metrics.sources import Source, spec_of
from gantlet.nets.styles import needs_style

Way = Literal["slerp", "lerp"]
Make = Callable[[Tensor], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]

_STEADY = 0.1  # share by which a length may change with epsilon before it is called rounding


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """a + t (b - a)."""
    return a + t * (b - a)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(sin((1 - t) o) a + sin(t o) b) / sin o, o the angle between them (Shoemake 1985); lerp where that is 0 or pi."""
    cos = (a * b).sum(1, keepdim=True) / (a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True)).clamp(min=1e-300)
    angle = cos.clamp(-1, 1).acos()
    sin = angle.sin()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sin.clamp(min=1e-12)
    return torch.where(sin < 1e-6, lerp(a, b, t), arc)


_WAYS = {"slerp": slerp, "lerp": lerp}


def unrounded(features: Features) -> Features:
    """The same of samples as they are: in 8 bits a small step is no step."""
    after = None if features.after is None else unrounded(features.after)
    return replace(features, eight_bit=False, after=after)


def distance_of(features: Features) -> Distance:
    """Of two sets of samples, float64 [n]: `unlike` where the network shows its stages, else |f(x) - f(y)|^2."""
    features = unrounded(features)
    stages = stages_of(features)

    def staged(x: Tensor, y: Tensor) -> Tensor:
        assert stages is not None
        rows = at_once(features, x)
        pairs = zip(torch.split(x, rows), torch.split(y, rows), strict=True)
        return torch.cat([unlike(stages(a), stages(b)) for a, b in pairs])

    def plain(x: Tensor, y: Tensor) -> Tensor:
        return (features(x).cpu().double() - features(y).cpu().double()).square().sum(1)

    return plain if stages is None else staged


def lengths(
    make: Make, distance: Distance, ends: tuple[Tensor, Tensor], t: Tensor, *, epsilon: float, way: Way
) -> Tensor:
    """d(G(l(t)), G(l(t + epsilon))) / epsilon^2 of each pair of latents [n, d], l between its ends; t [n, 1].

    The latents are found in float64 and rounded once, to what the generator takes.
    """
    a, b = (end.cpu().double() for end in ends)
    near, far = (make(_WAYS[way](a, b, t.double() + step).to(ends[0])) for step in (0.0, epsilon))
    return distance(near, far) / epsilon**2


def trimmed(values: Tensor) -> tuple[float, float]:
    """The mean of the values from the 1st to the 99th percentile, and the deviation its own interval follows from.

    The percentiles are taken outwards (Karras et al. 2019); the deviation is the Winsorised one over the share that is
    kept (Tukey and McLaughlin 1963).
    """
    ordered, last = values.sort().values, len(values) - 1
    low, high = ordered[last // 100], ordered[-(-99 * last // 100)]
    kept = values[(values >= low) & (values <= high)]
    deviation = float(values.clamp(low, high).std()) if last else 0.0
    return float(kept.mean()), deviation * len(values) / len(kept)


@contextmanager
def _still(model: Any) -> Iterator[None]:
    """The generator in evaluation mode without a graph, randomness and mode put back afterwards."""
    modes = {m: m.training for m in model.modules()} if isinstance(model, nn.Module) else {}
    with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            for module in modes:
                module.training = False
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def _maker(model: Any, space: str, seed: int) -> tuple[Make, Make]:
    """(latents -> what is interpolated, that -> samples); noise of the generator's own is the same at every call."""
    if not callable(getattr(model, "generate", None)):
        raise InputError("a path length is of a generator and there is none; evaluate a run or a model, not a folder")
    style = needs_style(model, "path-length: space=w") if space == "w" else None
    if style is not None and hasattr(model, "truncation"):
        raise InputError("path-length: space=w is of whole styles, and this model truncates them; use space=z")
    make = model.generate if style is None else style.made

    def again(latents: Tensor) -> Tensor:
        torch.manual_seed(key_of(seed, "path length"))  # of networks that draw from torch
        with hold(model) if isinstance(model, nn.Module) else nullcontext():
            made: Tensor = make(latents)
        return made

    return (style.w_of if style is not None else lambda z: z), again


@registry.metric
@about(interval="own", floor=False, path_length="lower")
def path_length(
    real: Source,
    fake: Source,
    *,
    model: Game | None = None,  # what made the fakes: a game with `latent` and `generate`
    features: Annotated[Any, Slot("feature")] = {"use": "raw"},  # noqa: B006 (read only)
    pairs: Annotated[int, Field(ge=2)] = 1000,  # the paper takes 100,000: the interval says whether these are enough
    space: Literal["z", "w"] = "z",  # w: behind the mapping, where the generator has one
    between: Way | None = None,  # None: slerp in z, lerp in w
    where: Literal["full", "end"] = "full",  # t uniform in 0..1, or 0: latents as they are drawn
    epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-4,  # the paper's; in float32 right to 0.1 %, 1e-2 is 5-10 % short
    batch: Annotated[int, Field(ge=1)] = 64,  # rows at a time; changes memory, not the result
    seed: int = 0,
) -> dict[str, Any]:
    """Mean of d(G(l(t)), G(l(t + e))) / e^2 over pairs of latents, l from one to the other (Karras et al. 2019, PPL).

    d is LPIPS without heads over the network's stages (see diversity), or |f(x) - f(y)|^2 of the features of one that
    shows none: of another network than VGG with heads, so of another size than published. Values outside the 1st..99th
    percentile are left out as published; `untrimmed` is the mean of all. Noise of the generator's own is held.
    """
    mapping, make = _maker(model, space, seed)
    assert model is not None, "refused above"
    seen = build(features, lambda: spec_of(real))
    way: Way = between or ("lerp" if space == "w" else "slerp")
    distance, found, twice = distance_of(seen), [], torch.empty(0)
    with _still(model):
        for first in range(0, pairs, batch):
            n = min(batch, pairs - first)
            z = mapping(model.latent(2 * n, seed=seed, first=2 * first))
            t = uniform((1,), n, key=(seed, "path length"), first=first) * float(where == "full")
            found.append(lengths(make, distance, (z[::2], z[1::2]), t, epsilon=epsilon, way=way))
            if first == 0:
                twice = lengths(make, distance, (z[::2], z[1::2]), t, epsilon=2 * epsilon, way=way)
    values = torch.cat(found)
    if not math.isfinite(float(values.sum())):
        raise InputError("the generator makes NaN or infinite values; a model that does has no path length")
    mean, deviation = trimmed(values)
    return {
        "path_length": mean,
        "untrimmed": float(values.mean()),
        "name": f"PL-{seen.name}-{space}",
        "network": seen.hash,
        "space": space,
        "between": way,
        "where": where,
        "epsilon": epsilon,
        "pairs": pairs,
        "real_count": 0,
        "fake_count": 2 * pairs,
        "intervals": {"path_length": list(of_mean(mean, deviation, pairs))},
        "warning": _unsteady(trimmed(found[0])[0], trimmed(twice)[0], epsilon),
    }


def _unsteady(once: float, twice: float, epsilon: float) -> str:
    """Said where doubling epsilon changes the length: rounding adds the fourfold at half the step."""
    if abs(once - twice) <= _STEADY * max(once, twice):
        return ""
    way = f"a larger one, {min(1.0, 10 * epsilon):g}" if once > twice else f"a smaller one, {epsilon / 10:g}"
    cause = "rounding shows" if once > twice else "the path bends"
    return f"at twice this epsilon the length is {twice / max(once, 1e-300):.2g} times as long: {cause}; take {way}"
