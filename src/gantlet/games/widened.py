"""Games that need more of a critic than one logit: its last layer widened, and their own trick among the user's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.trick import Trick
from gantlet.tricks.beside import follow


def widened(critic: nn.Module, outputs: int) -> nn.Module:
    """The critic with more outputs of its last linear layer, drawn as large as the one it had."""
    names = [name for name, m in critic.named_modules() if isinstance(m, nn.Linear) and m.out_features == 1]
    if not names:
        raise InputError(
            f"D: {type(critic).__name__} has no last linear layer with one output to widen; use mlp or cnn"
        )
    old = critic.get_submodule(names[-1])
    assert isinstance(old, nn.Linear)
    new = nn.Linear(old.in_features, outputs, bias=old.bias is not None)
    with torch.no_grad():
        nn.init.normal_(new.weight, std=float(old.weight.square().mean().sqrt()))
        if new.bias is not None:
            nn.init.zeros_(new.bias)
    follow(old, new)
    parent, _, name = names[-1].rpartition(".")
    setattr(critic.get_submodule(parent), name, new)
    return critic


def outputs_of(said: Verdict | Tensor, outputs: int) -> Verdict:
    """What a widened critic says, logits [N, outputs] in at least float32; InputError for another shape."""
    verdict = said if isinstance(said, Verdict) else Verdict(said)
    if verdict.logits.shape[1:] != (outputs,):
        shape = list(verdict.logits.shape)
        raise InputError(f"D: with {outputs} outputs it says {shape}, one row of them a sample is wanted; use mlp")
    return verdict._replace(logits=verdict.logits.to(torch.promote_types(verdict.logits.dtype, torch.float32)))


def refuse_other_fakes(tricks: nn.ModuleDict, label: str, own: type[Trick], what: str) -> None:
    """InputError where a game's own trick was given another's label, or a trick shows D other fakes than were made."""
    if not isinstance(tricks[label], own):
        raise InputError(f"tricks.{label}: this game has a part of this name already; give yours another label")
    for name, trick in tricks.items():
        if isinstance(trick, Trick) and trick.replaces_fakes:
            raise InputError(
                f"tricks.{name}: it shows D other fakes than were made, whose {what} not known; leave it out "
                f"(tricks.{name}=null), or play classic"
            )
