"""The classic game: one generator against one critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Adversarial, Critics, Evidence
from gantlet.core.game import Batch, Game, Loss, Spec, Turn
from gantlet.core.noise import normal
from gantlet.core.registry import Slot, game, part_of, parts_of
from gantlet.core.when import Now
from gantlet.losses.penalties import Penalty, evidence

Times = Annotated[int, Field(ge=1, le=100)]


class Played(NamedTuple):
    """What both players see."""

    now: Now
    real: Tensor
    fake: Tensor
    given: tuple[Tensor, ...]


@game
class Classic(Game):
    """G against D, min over G of max over D (Goodfellow et al. 2014); the adversarial loss and the penalties are parts."""

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        D: Annotated[Any, Slot("critic")],
        adversarial: Annotated[Any, Slot("adversarial")] = {"use": "non-saturating"},  # noqa: B006 (read only)
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        d_steps: Times = 1,
        g_steps: Times = 1,
    ) -> None:
        super().__init__()
        self.G = built("generator", G, spec)
        self.critics = Critics({"D": built("critic", D, spec)})
        self.z_dim = int(self.G.z_dim)  # type: ignore[arg-type]
        pair = part_of("adversarial", adversarial)
        self.adversarial: Adversarial = pair if isinstance(pair, Adversarial) else pair()
        self.couples_batch = self.adversarial.couples_batch
        self.penalties: dict[str, Penalty] = {
            label: p if isinstance(p, Penalty) else p() for label, p in parts_of("penalty", penalties).items()
        }
        self.d_steps, self.g_steps = d_steps, g_steps

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"D": [self.critics], "G": [self.G]}

    def turns(self) -> list[Turn]:
        return [Turn("D", "D", self.d_wants, times=self.d_steps), Turn("G", "G", self.g_wants, times=self.g_steps)]

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.G}

    def stage(self, batch: Batch, now: Now) -> Played:
        z = normal((self.z_dim,), batch.x.shape[0], key=(now.seed, now.step, now.play, "z"), first=now.first,
                   device=batch.x.device)  # fmt: skip
        return Played(now, batch.x, self.generate(z.to(batch.x.dtype), *batch.given), batch.given)

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        fake: Tensor = self.G(z, *given)
        return fake

    def d_wants(self, scene: Played) -> Loss:
        """Tell real from fake, smoothly."""
        due = {label: p for label, p in self.penalties.items() if p.due(scene.now)}
        if due:
            seen = evidence(self.critics, scene.real, scene.fake, scene.given, scene.now)
            on_real, on_fake = seen.on_real, seen.on_fake
        else:
            on_real = self.critics(scene.real, *scene.given)
            on_fake = self.critics(scene.fake, *scene.given)
        said = [self.adversarial.d(r.logits, f.logits) for r, f in zip(on_real, on_fake)]
        terms = {"D": torch.stack(said).sum()}
        if due:
            terms |= _penalised(due, seen)
        real, fake = on_real[0].logits, on_fake[0].logits
        stats = {"real": real.mean(), "fake": fake.mean()}
        views = {"real": scene.real, "fake": scene.fake, "on_real": real, "on_fake": fake}
        return Loss(terms, stats, views)

    def g_wants(self, scene: Played) -> Loss:
        """Be taken for real."""
        on_fake = self.critics(scene.fake, *scene.given)
        on_real = self.critics(scene.real, *scene.given) if self.adversarial.paired else [None] * len(on_fake)
        said = [self.adversarial.g(f.logits, r.logits if r is not None else None) for f, r in zip(on_fake, on_real)]
        return Loss({"G": torch.stack(said).mean()})


def _penalised(due: Mapping[str, Penalty], seen: Evidence) -> dict[str, Tensor]:
    """Each due penalty's term; under fp16 they get a float32 forward of their own (squared slopes overflow fp16)."""
    kind = seen.real.device.type
    if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16:
        with torch.autocast(kind, enabled=False):
            exact = evidence(seen.critics, seen.real.float(), seen.fake.float(), seen.given, seen.now)
            return {label: p.every * p.term(exact) for label, p in due.items()}
    return {label: p.every * p.term(seen) for label, p in due.items()}


def built(kind: str, part: Any, spec: Spec) -> nn.Module:
    """A network: a module as it is, or built for this data from a part, a name or a tree."""
    if isinstance(part, nn.Module):
        return part
    made: nn.Module = part_of(kind, part)(spec)
    return made
