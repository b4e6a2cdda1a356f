"""What critics and generators want of each other: the losses, penalties and tricks that games are put together from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gantlet.core.critics import Adversarial, Critics, Evidence, Verdict
from gantlet.core.errors import InputError, nearest
from gantlet.core.game import Batch, Loss, Spec
from gantlet.core.making import hooks, one_number, takes
from gantlet.core.noise import normal
from gantlet.core.registry import part_of, parts_of
from gantlet.core.trick import Trick
from gantlet.core.when import Now
from gantlet.losses.penalties import Penalty, evidence, slopes_fail

Merge = Callable[[Tensor], Tensor]  # G's loss under each critic [C] -> one number


class Played(NamedTuple):
    """What all players see."""

    now: Now
    real: Tensor
    fake: Tensor
    given: tuple[Tensor, ...] = ()
    z: Tensor | None = None  # [N, z] latents of the fakes


class Arena(nn.Module):
    """Critics with a pair of losses each, penalties and tricks; the generator comes as an argument.

    `critics`: name -> a module, or a part that is built for what the tricks let a critic see. `adversarial`: one pair
    for all critics, or name -> pair. D's terms are summed over critics; `merge` makes one number of G's.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        critics: Mapping[str, Any],
        adversarial: Any,
        penalties: Mapping[str, Any] | None = None,
        tricks: Mapping[str, Any] | None = None,
        merge: Merge = torch.mean,
    ) -> None:
        super().__init__()
        self.tricks = nn.ModuleDict({label: _trick(part) for label, part in parts_of("trick", tricks).items()})
        found = [(label, trick) for label, trick in self.tricks.items() if isinstance(trick, Trick)]
        self.ordered = sorted(found, key=lambda pair: pair[1].late)  # each trick with its label, late ones last
        _refuse_labels(penalties, tricks)
        self.pairs = _pairs(adversarial, critics)
        self.penalties = {label: _penalty(part) for label, part in parts_of("penalty", penalties).items()}
        faults = [
            f"tricks.{label}: {why}"
            for label, trick in self.ordered
            for pair in self.pairs.values()
            if (why := trick.refuse(pair)) is not None
        ]
        if faults:
            raise InputError(list(dict.fromkeys(faults)))
        seen = spec
        for _, trick in self.ordered:
            seen = trick.critic_spec(seen)
        self.seen = seen  # one row of what critics see
        nets = {name: self.dressed("D", _judge(part, seen, self.pairs[name]), seen) for name, part in critics.items()}
        lenses = [trick for _, trick in self.ordered if type(trick).shown is not Trick.shown]
        self.critics = Critics(nets, lenses=lenses)
        self.merge = merge
        parts: dict[str, Adversarial | Penalty] = {f"loss-{n}": p for n, p in self.pairs.items()}
        parts |= self.penalties
        self.strength = nn.Module()  # a factor on each penalty, by its label: what whoever turns knobs may write
        for label in self.penalties:
            self.strength.register_buffer(_key(label), torch.ones(()))
        self.states = nn.ModuleDict({_key(n): p.state for n, p in parts.items() if p.state is not None})
        self.coupling = [f"adversarial of {name}" for name, pair in self.pairs.items() if pair.couples_batch]
        self.coupling += [f"penalties.{label}" for label, p in self.penalties.items() if p.couples_batch]
        self.couples_batch = bool(self.coupling)
        self.of_one_row = [f"penalties.{label}" for label, p in self.penalties.items() if p.of_one_row]

    def dressed(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        """A network as the tricks want it."""
        for _, trick in self.ordered:
            net = trick.dress(role, net, spec)
        return net

    @property
    def stagers(self) -> list[nn.Module]:
        """What a scene is staged with besides the generator."""
        return [self.critics] if any(trick.stages_with_critics for _, trick in self.ordered) else []

    def scene(self, batch: Batch, now: Now, G: nn.Module, z_dim: int) -> Played:
        """Latents drawn by address, fakes made of them."""
        rows, device = batch.x.shape[0], batch.x.device
        z = normal((z_dim,), rows, key=(now.seed, now.step, now.play, "z"), first=now.first, device=device)
        z = z.to(batch.x.dtype)
        for _, trick in self.ordered:
            z = trick.latent(z, batch.given, G, self.critics, now)
        return Played(now, batch.x, G(z, *batch.given), batch.given, z)

    # ---- what D wants ---------------------------------------------------------------------------------------------

    def d_wants(self, scene: Played, G: nn.Module) -> Loss:
        """Tell real from fake, smoothly."""
        seen = self._evidence(scene, G)
        terms = {"D": torch.stack([self._says(n, r, f, seen) for n, r, f in self._verdicts(seen)]).sum()}
        terms |= self._penalised(seen, scene.now, lambda p: p.term)
        for label, trick in self.ordered:
            terms |= {_name(label, k): v for k, v in trick.d_terms(seen).items()}
        real, fake = seen.on_real[0].logits, seen.on_fake[0].logits
        for _, trick in self.ordered:
            trick.observe(real.detach(), fake.detach(), scene.now)
        stats = {"real": real.mean(), "fake": fake.mean()}
        views = {"real": scene.real, "fake": scene.fake, "on_real": real, "on_fake": fake}
        views |= _last_features(seen.on_real[0], "real") | _last_features(seen.on_fake[0], "fake")
        return Loss(terms, stats, views)

    def _evidence(self, scene: Played, G: nn.Module) -> Evidence:
        real, fake = scene.real, scene.fake
        for _, trick in self.ordered:
            trick.begin(scene.now)
        for _, trick in self.ordered:
            real, fake = trick.judged(real, fake, scene.now)
        if any(p.term is not None and p.due(scene.now) for p in self.penalties.values()):
            return evidence(self.critics, real, fake, scene.given, scene.now, z=scene.z, G=G)
        on_real = self.critics(real, *scene.given, now=scene.now, side="real")
        on_fake = self.critics(fake, *scene.given, now=scene.now, side="fake")
        return Evidence(self.critics, real, fake, scene.given, on_real, on_fake, scene.now, scene.z, G)

    def _verdicts(self, seen: Evidence) -> list[tuple[str, Verdict, Verdict]]:
        return [(name, r, f) for name, r, f in zip(self.pairs, seen.on_real, seen.on_fake, strict=True)]

    def _says(self, name: str, real: Verdict, fake: Verdict, seen: Evidence) -> Tensor:
        pair = self.pairs[name]
        judges = [trick for _, trick in self.ordered if type(trick).labels is not Trick.labels]
        if not judges:
            return one_number(pair.d(real.logits, fake.logits), f"adversarial of {name}: d(real, fake)")
        assert pair.as_real is not None and pair.as_fake is not None  # a trick that labels refuses other pairs
        on_real, on_fake = real.logits.new_ones(len(real.logits)), fake.logits.new_zeros(len(fake.logits))
        first = seen.now.first * len(on_real) // len(seen.real)  # fewer rows where samples are packed
        for trick in judges:
            on_real, on_fake = trick.labels(on_real, on_fake, seen.now._replace(first=first))
        return _cost(pair, real.logits, on_real) + _cost(pair, fake.logits, on_fake)

    # ---- what G wants ---------------------------------------------------------------------------------------------

    def g_wants(self, scene: Played, G: nn.Module) -> Loss:
        """Be taken for real."""
        on_fake = self.critics(scene.fake, *scene.given, now=scene.now, side="fake")
        looks = any(pair.paired for pair in self.pairs.values())
        on_real = self.critics(scene.real, *scene.given, now=scene.now, side="real") if looks else []
        said = [
            self._wants(name, fake, on_real[i] if on_real else None, scene.now)
            for i, (name, fake) in enumerate(zip(self.pairs, on_fake, strict=True))
        ]
        terms = {"G": self.merge(torch.stack(said))}
        seen = Evidence(self.critics, scene.real, scene.fake, scene.given, on_real, on_fake, scene.now, scene.z, G)
        terms |= self._penalised(seen, scene.now, lambda p: p.g_term)
        for label, trick in self.ordered:
            terms |= {_name(label, k): v for k, v in trick.g_terms(seen).items()}
        return Loss(terms, felt={"fake": scene.fake})

    def _wants(self, name: str, fake: Verdict, real: Verdict | None, now: Now) -> Tensor:
        pair, on_fake = self.pairs[name], fake.logits
        on_real = real.logits if real is not None and pair.paired else None
        for _, trick in self.ordered:
            rows = trick.chosen(on_fake, now)
            if rows is not None:
                on_fake, on_real = on_fake[rows], None if on_real is None else on_real[rows]
        return one_number(pair.g(on_fake, on_real), f"adversarial of {name}: g(fake, real)")

    def _penalised(self, seen: Evidence, now: Now, side: Callable[[Penalty], Any]) -> dict[str, Tensor]:
        """Each due penalty's term; critics' terms get a float32 forward of their own where slopes would be wrong."""
        due = {label: p for label, p in self.penalties.items() if p.due(now) and side(p) is not None}
        if due and seen.on_real and slopes_fail(seen.real, len(seen.on_real[0].logits)):
            with torch.autocast(seen.real.device.type, enabled=False):
                more = {"z": seen.z, "G": seen.G}
                exact = evidence(seen.critics, seen.real.float(), seen.fake.float(), seen.given, now, **more)
                return {label: self._term(label, p, side(p)(exact)) for label, p in due.items()}
        return {label: self._term(label, p, side(p)(seen)) for label, p in due.items()}

    def _term(self, label: str, penalty: Penalty, value: Tensor) -> Tensor:
        return penalty.every * self.factor(label) * one_number(value, f"penalties.{label}")

    def factor(self, label: str) -> Tensor:
        """What a penalty's term is multiplied by, a 0-d buffer that is 1 until somebody writes it."""
        return self.strength.get_buffer(_key(label))


def _last_features(said: Verdict, side: str) -> dict[str, Tensor]:
    """What the critic sees last, where it says."""
    return {f"features_{side}": said.features[-1]} if said.features else {}


def _cost(pair: Adversarial, logits: Tensor, label: Tensor) -> Tensor:
    """The mean cost of logits [N, ...] under labels [N] in 0..1."""
    assert pair.as_real is not None and pair.as_fake is not None
    share = label.view(-1, *[1] * (logits.dim() - 1))
    return (share * pair.as_real(logits) + (1 - share) * pair.as_fake(logits)).mean()


def _pairs(adversarial: Any, critics: Mapping[str, Any]) -> dict[str, Adversarial]:
    if not isinstance(adversarial, Mapping) or isinstance(adversarial, Adversarial) or "use" in adversarial:
        adversarial = dict.fromkeys(critics, adversarial)
    faults = [f"adversarial.{name}: the critic {name!r} needs a loss" for name in critics if name not in adversarial]
    faults += [
        f"adversarial.{name}: no such critic; {nearest(name, critics)}" for name in adversarial if name not in critics
    ]
    if faults:
        raise InputError(faults)
    found = {name: _pair(adversarial[name]) for name in critics}
    states = [id(pair.state) for pair in found.values() if pair.state is not None]
    if len(set(states)) < len(states):
        raise InputError("adversarial: one loss object with a state for several critics; give each its own, or a name")
    return found


def _refuse_labels(penalties: Mapping[str, Any] | None, tricks: Mapping[str, Any] | None) -> None:
    """Labels name terms: none may hide another, nor the adversarial ones."""
    faults = [
        f"{kind}.{label}: 'D' and 'G' are the adversarial terms; use another label"
        for kind, parts in (("penalties", penalties), ("tricks", tricks))
        for label in parts or {}
        if label in ("D", "G")
    ]
    faults += [
        f"tricks.{label}: a penalty has this label too; use another"
        for label in tricks or {}
        if label in (penalties or {})
    ]
    if faults:
        raise InputError(faults)


def _pair(part: Any) -> Adversarial:
    found = part_of("adversarial", part)
    pair: Adversarial = found if isinstance(found, Adversarial) else found()
    takes(pair.d, 2, "adversarial: d(real, fake)")
    takes(pair.g, 2, "adversarial: g(fake, real)")
    return pair


def _penalty(part: Any) -> Penalty:
    penalty: Penalty = part if isinstance(part, Penalty) else part()
    for term in (penalty.term, penalty.g_term):
        if term is not None:
            takes(term, 1, "a penalty's term(evidence)")
    return penalty


def _trick(part: Any) -> Trick:
    trick: Trick = part if isinstance(part, Trick) else part()
    hooks(trick, Trick, f"trick {type(trick).__name__}")
    return trick


def _key(name: str) -> str:
    return name.replace(".", "_")  # a module's name has no dots


def _name(label: str, term: str) -> str:
    return f"{label}.{term}" if term else label


def built(kind: str, part: Any, spec: Spec) -> nn.Module:
    """A network: a module as it is, or built for this data from a part, a name or a tree."""
    if isinstance(part, nn.Module):
        return part
    made: nn.Module = part_of(kind, part)(spec)
    if kind == "generator" and not isinstance(getattr(made, "z_dim", None), int):
        raise InputError(f"generator {type(made).__name__}: it has to say z_dim, the width of its latents (an int)")
    return made


def _judge(part: Any, spec: Spec, pair: Adversarial) -> nn.Module:
    """A critic, InputError where its logits are not what this loss takes them for."""
    critic = built("critic", part, spec)
    if pair.of_energies and not getattr(critic, "energy", False):
        raise InputError(
            f"adversarial: this loss takes minus a logit for an energy, at least 0, which that of {type(critic).__name__} "
            "is not, so D's loss would fall without end; use D=autoencoder (a module of yours says energy = True), or "
            "another loss"
        )
    return critic


def refuse_packs(arena: Arena, spec: Spec, who: str, what: str) -> None:
    """InputError where one row of what a critic sees is several samples."""
    if arena.seen.shape != spec.shape:
        raise InputError(
            f"tricks: packed samples are of several {what} at once, which {who} tells apart; leave tricks.packing out"
        )


def separate(slot: str, part: Any, count: int) -> Any:
    """A part that `count` networks are built from, each drawn anew; InputError for a module, which is one network."""
    if count > 1 and isinstance(part, nn.Module):
        raise InputError(
            f"{slot}: one {type(part).__name__} cannot be {count} networks; give a part to build them from (a name, a "
            "tree or a function of the Spec)"
        )
    return part
