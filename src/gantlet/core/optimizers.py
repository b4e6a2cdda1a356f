"""How one player moves its weights: torch's optimisers, with the options a game needs beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.registry import optimizer
from gantlet.core.when import Now, Schedule, at

Positive = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Momentum = Annotated[float, Field(gt=-1, lt=1)]
Rate = Annotated[Schedule, Field(ge=0)]
Decay = Annotated[float, Field(ge=0)]
Weights = Iterable[nn.Parameter]


class Player:
    """Who moves: its weights, their optimiser, and what guards a step."""

    def __init__(
        self,
        weights: list[nn.Parameter],
        opt: torch.optim.Optimizer,
        *,
        lr: Schedule,
        clip_norm: float | None = None,
        clip_weights: float | None = None,
        max_norm: float | None = None,
    ) -> None:
        self.weights, self.opt, self.lr = weights, opt, lr
        self.clip_norm, self.clip_weights, self.max_norm = clip_norm, clip_weights, max_norm
        self.factor = 1.0  # on the learning rate, by whoever turns knobs; kept in the state
        self.fused = bool(opt.defaults.get("fused"))
        self.scale: Tensor | None = None  # fp16 loss scale, a 0-d tensor; None: no scaling
        self.grown: Tensor | None = None  # good steps since the scale last changed

    def rate(self, now: Now) -> float:
        """The learning rate now."""
        return at(self.lr, now) * self.factor

    @property
    def kind(self) -> str:
        """Which moments it keeps: a state of one kind does not fit another."""
        marks = [name for name in ("amsgrad", "momentum") if self.opt.param_groups[0].get(name)]
        return " ".join([type(self.opt).__name__, *marks])

    def use_scaler(self) -> None:
        """Scale losses so that fp16 gradients do not vanish (Micikevicius et al. 2018, "Mixed precision training")."""
        device = self.weights[0].device
        self.scale = torch.tensor(65536.0, device=device)
        self.grown = torch.tensor(0, device=device)

    def state_dict(self) -> dict[str, Any]:
        extra = {} if self.scale is None else {"scale": self.scale, "grown": self.grown}
        return {"kind": self.kind, "opt": self.opt.state_dict()["state"], "factor": self.factor, **extra}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over moments; each is laid out in memory as its weight is, which fused kernels rely on."""
        own = self.opt.state_dict()
        moments = {int(i): {k: _like(v, self.weights[int(i)]) for k, v in s.items()} for i, s in state["opt"].items()}
        self.opt.load_state_dict({"state": moments, "param_groups": own["param_groups"]})
        self.factor = float(state.get("factor", 1.0))
        if self.scale is not None and self.grown is not None and "scale" in state:
            self.scale.copy_(state["scale"])
            self.grown.copy_(state["grown"])


def within(weight: Tensor, longest: Tensor | float) -> Tensor:
    """By what to multiply the rows of a weight [out, in, ...] so that none is longer: at most 1, [out, 1, ...].

    A row is what one output of a linear layer or a convolution reads (max-norm: Srivastava et al. 2014, section 5.1).
    """
    length = weight.flatten(1).norm(dim=1).clamp(min=1e-30).view(-1, *[1] * (weight.dim() - 1))
    factor: Tensor = (longest / length).clamp(max=1.0)
    return factor


def _like(value: Any, weight: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.shape == weight.shape and value.dim() > 0:
        return torch.empty_like(weight, dtype=value.dtype).copy_(value)
    return value.clone()  # optimisers count in place: what was saved must not count along


def _player(
    make: Callable[..., torch.optim.Optimizer],
    weights: list[nn.Parameter],
    lr: Schedule,
    clip_norm: float | None,
    clip_weights: float | None,
    max_norm: float | None,
    **options: Any,
) -> Player:
    start = float(lr(Now())) if callable(lr) else lr
    guards = {"clip_norm": clip_norm, "clip_weights": clip_weights, "max_norm": max_norm}
    return Player(weights, make(weights, lr=start, **options), lr=lr, **guards)


def _fuses(weights: list[nn.Parameter]) -> bool:
    """One fused kernel for all weights: cpu and cuda have it."""
    return all(w.device.type in ("cpu", "cuda") and w.is_floating_point() for w in weights)


@optimizer
def adam(
    weights: list[nn.Parameter],
    *,
    lr: Rate = 2e-4,
    beta1: Beta = 0.0,  # momentum makes the players chase each other
    beta2: Beta = 0.99,  # a short memory: the landscape moves
    eps: Positive = 1e-8,
    weight_decay: Decay = 0.0,
    amsgrad: bool = False,
    clip_norm: Positive | None = None,
    clip_weights: Positive | None = None,
    max_norm: Positive | None = None,
) -> Player:
    """Adam: w -= lr m / (sqrt(v) + eps) (Kingma and Ba 2015)."""
    return _player(
        torch.optim.Adam,
        weights,
        lr,
        clip_norm,
        clip_weights,
        max_norm,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
        fused=_fuses(weights),
    )


@optimizer
def sgd(
    weights: list[nn.Parameter],
    *,
    lr: Rate = 1e-2,
    momentum: Momentum = 0.0,
    weight_decay: Decay = 0.0,
    clip_norm: Positive | None = None,
    clip_weights: Positive | None = None,
    max_norm: Positive | None = None,
) -> Player:
    """Gradient descent, w -= lr g, with heavy-ball momentum (Polyak 1964)."""
    # torch refuses a negative momentum when it is constructed, not when it is used
    player = _player(
        torch.optim.SGD,
        weights,
        lr,
        clip_norm,
        clip_weights,
        max_norm,
        weight_decay=weight_decay,
        fused=_fuses(weights),
    )
    for group in player.opt.param_groups:
        group["momentum"] = momentum
    for weight in weights if momentum else ():  # a first step that is skipped would leave torch's buffer unwritten
        player.opt.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return player


@optimizer
def amsgrad(
    weights: list[nn.Parameter],
    *,
    lr: Rate = 2e-4,
    beta1: Beta = 0.0,
    beta2: Beta = 0.99,
    eps: Positive = 1e-8,
    clip_norm: Positive | None = None,
    clip_weights: Positive | None = None,
    max_norm: Positive | None = None,
) -> Player:
    """Adam whose v never falls, so that steps do not grow again when gradients vanish (Reddi et al. 2018, alg. 2)."""
    return adam(
        weights,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        amsgrad=True,
        clip_norm=clip_norm,
        clip_weights=clip_weights,
        max_norm=max_norm,
    )


@optimizer.named("negative-momentum")
def negative_momentum(
    weights: list[nn.Parameter],
    *,
    lr: Rate = 1e-2,
    momentum: Annotated[float, Field(gt=-1, le=0)] = -0.5,
    clip_norm: Positive | None = None,
    clip_weights: Positive | None = None,
    max_norm: Positive | None = None,
) -> Player:
    """w -= lr g + 1/2 (last move): momentum against the rotation, for alternating play (Gidel et al. 2019, AISTATS)."""
    return sgd(weights, lr=lr, momentum=momentum, clip_norm=clip_norm, clip_weights=clip_weights, max_norm=max_norm)


@optimizer
def rmsprop(
    weights: list[nn.Parameter],
    *,
    lr: Rate = 5e-5,
    alpha: Beta = 0.99,
    eps: Positive = 1e-8,
    clip_norm: Positive | None = None,
    clip_weights: Positive | None = None,
    max_norm: Positive | None = None,
) -> Player:
    """RMSProp: w -= lr g / (sqrt(v) + eps) (Tieleman and Hinton 2012); the optimiser of the first WGAN."""
    return _player(torch.optim.RMSprop, weights, lr, clip_norm, clip_weights, max_norm, alpha=alpha, eps=eps)
