"""Labels on their way to networks: who takes them, how many come at once."""

from __future__ import annotations

import inspect

from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.trick import Given
from gantlet.losses.penalties import raised


def hears(net: nn.Module) -> bool:
    """Does its forward take more than the sample or the latent?"""
    kinds = [p.kind for p in inspect.signature(net.forward).parameters.values()]
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(kind in plain for kind in kinds) >= 2 or inspect.Parameter.VAR_POSITIONAL in kinds


def passed(net: nn.Module, spec: Spec) -> bool:
    """Is y passed on to this network? To one that a trick made a listener, or one built with classes that takes it."""
    return bool(getattr(net, "listens", False)) or (spec.classes > 0 and hears(net))


def inmost(net: nn.Module) -> str:
    """What a network is called under all that tricks put in front of it."""
    while getattr(net, "listens", False):
        net = net.net  # type: ignore[assignment]
    return type(net).__name__


def packs(spec: Spec, seen: Spec) -> int:
    """How many samples of `spec` stand in one row of what a critic sees."""
    return seen.shape[0] // spec.shape[0]


def refuse_untold(spec: Spec, trick: str) -> None:
    """InputError for data, or a game, without classes."""
    if spec.classes < 2:
        raise InputError(
            f"trick {trick!r}: these networks are not told the class; use game=classic with conditional=true and "
            "labelled data, list it before ac-gan and reacgan (whose critics judge without y), or leave the trick out"
        )


def refuse_packs(spec: Spec, seen: Spec, trick: str) -> None:
    """InputError where samples of several classes are one row."""
    if packs(spec, seen) > 1:
        raise InputError(
            f"trick {trick!r}: packed samples are of several classes at once; leave tricks.packing out, or tell the "
            "critic the class by concat-labels alone"
        )


def label_of(given: Given, who: str) -> Tensor:
    """y, the first of what samples are conditioned on; InputError where there is none."""
    if not given or given[0].is_floating_point():
        raise InputError(f"{who}: called without the class y, int64 [N]; use conditional=true")
    return given[0]


def verdict_of(said: Verdict | Tensor) -> Verdict:
    """What a critic says, with logits in at least float32."""
    verdict = said if isinstance(said, Verdict) else Verdict(said)
    return verdict._replace(logits=raised(verdict.logits))
