"""A critic that is a classifier: many rows without labels, few with."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantlet.core.critics import Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Loss, Spec
from gantlet.core.registry import Slot, game
from gantlet.core.trick import Trick
from gantlet.core.when import Now
from gantlet.games.arena import Arena, Played, built, refuse_packs
from gantlet.games.duel import Duel, Times
from gantlet.games.invariance import mutual, slightly
from gantlet.games.labels import told
from gantlet.games.widened import outputs_of, widened
from gantlet.tricks.features import FeatureMatching


class Classes(nn.Module):
    """A critic with K outputs l, the classes of a real sample, beside a fake's that is 0: p(fake) = 1 / (1 + sum exp l).

    The logit is log sum exp l, the log-odds of real; `classes` are l [N, K], so p(y | x, real) is their softmax.
    """

    def __init__(self, critic: nn.Module, classes: int) -> None:
        super().__init__()
        self.critic, self.outputs = widened(critic, classes), classes

    def forward(self, x: Tensor, *given: Tensor) -> Verdict:
        verdict = outputs_of(self.critic(x, *given), self.outputs)
        return verdict._replace(logits=verdict.logits.logsumexp(1), classes=verdict.logits)


class Classifies(Trick):
    """Makes the critic one of classes; with `invariance` it learns some of them from rows without labels."""

    def __init__(self, classes: int, invariance: float) -> None:
        super().__init__()
        self.count, self.invariance = classes, invariance
        self.couples_batch = invariance > 0

    def dress(self, role: str, net: nn.Module, spec: Spec) -> nn.Module:
        return Classes(net, self.count) if role == "D" else net

    def d_terms(self, seen: Evidence) -> dict[str, Tensor]:
        if not self.invariance:
            return {}
        (said,), (again,) = seen.on_real, seen.ask(slightly(seen.real, seen.now, "invariance"), "real")
        assert said.classes is not None and again.classes is not None
        return {"invariance": -self.invariance * mutual(said.classes, again.classes)}


class Shown(NamedTuple):
    """What all players see: fakes and rows without labels, and rows with."""

    played: Played
    x: Tensor  # [M, ...]
    y: Tensor  # int64 [M]

    @property
    def now(self) -> Now:
        return self.played.now

    @property
    def fake(self) -> Tensor:
        return self.played.fake


@game
class Semi(Duel):
    """Semi-supervised GAN: D classifies into K classes and fake, and minimises -log p(y | x, real) where y is known,
    -log p(real | x) on all, -log p(fake | G(z)); G matches D's features (Salimans et al. 2016).

    Of class logits l and a fake's logit 0 the last two are the non-saturating pair of the log-odds log sum exp l (term
    `D`), the first is the cross-entropy of l (term `labels`). G minimises |E f(x) - E f(G(z))|^2 of the last hidden
    features (term `matching`). With `invariance` D learns more from images without labels: its classes of one and of a
    slightly turned, stretched and moved copy are to say much of each other (term `few-labels.invariance`, -w I(C(x);
    C(T(x))); Ji et al. 2019), and labelled images are shown as such copies. `labelled=N` of the recipe says how many
    rows have a label; without, every row has. `classify` gives the class logits of a saved model.
    """

    few_labels = True  # it reads labelled rows beside the others, from `batch.given`

    def __init__(
        self,
        spec: Spec,
        *,
        G: Annotated[Any, Slot("generator")],
        D: Annotated[Any, Slot("critic")],
        label_weight: Annotated[float, Field(ge=0)] = 2.0,  # theirs: the terms of all rows and of fakes count half
        invariance: Annotated[float, Field(ge=0)] = 0.0,  # of images
        fooling: Annotated[float, Field(ge=0)] = 0.0,  # of G being taken for real: they found that it harms classes
        adversarial: Annotated[Any, Slot("adversarial")] = {"use": "non-saturating"},  # noqa: B006 (read only)
        penalties: Annotated[Any, Slot("penalty", many=True)] = None,
        tricks: Annotated[Any, Slot("trick", many=True)] = None,
        d_steps: Times = 1,
        g_steps: Times = 1,
    ) -> None:
        super().__init__()
        if spec.classes < 2:
            raise InputError(
                f"semi: the data has {spec.classes or 'no'} class{'es' if not spec.classes else ''} to tell apart; give "
                "folders named by class, a labels.csv or labels=true, or play classic"
            )
        if invariance and len(spec.shape) != 3:
            raise InputError(
                f"invariance={invariance:g}: it is of images, samples have shape {list(spec.shape)}; leave it at 0"
            )
        self.label_weight, self.fooling, self.invariance = label_weight, fooling, invariance
        own = {"few-labels": Classifies(spec.classes, invariance), "matching": FeatureMatching()}
        beside, spec = bool(spec.given), told(spec, conditional=False)._replace(given=())
        net = built("generator", G, spec)
        arena = Arena(
            spec, critics={"D": D}, adversarial=adversarial, penalties=penalties, tricks={**own, **(tricks or {})}
        )
        taken = [label for label, trick in own.items() if arena.tricks[label] is not trick]
        if taken:
            raise InputError(f"tricks.{taken[0]}: semi has a part of this name already; give yours another label")
        refuse_packs(arena, spec, "semi", "classes")
        idle = [k for k, trick in arena.ordered if type(trick).chosen is not Trick.chosen]
        if idle and not fooling:
            raise InputError(
                f"tricks.{idle[0]}: it chooses the fakes whose logits G minds, and with fooling=0 G minds none; use a "
                "fooling above 0, or leave the trick out"
            )
        z_dim: int = net.z_dim  # type: ignore[assignment]
        self.meet(arena, arena.dressed("G", net, spec), int(z_dim), d_steps=d_steps, g_steps=g_steps)
        self.labelled = not beside

    def stage(self, batch: Batch, now: Now) -> Shown:  # type: ignore[override]
        if not batch.given and batch.y is None:
            raise InputError("semi: these rows have no labels; say how many keep theirs with labelled=N")
        x, y = batch.given or (batch.x, batch.y)
        assert y is not None
        return Shown(self.arena.scene(batch._replace(given=()), now, self.G, self.z_dim), x, y)

    def d_wants(self, scene: Shown) -> Loss:  # type: ignore[override]
        loss = self.arena.d_wants(scene.played, self.G)
        x = slightly(scene.x, scene.now, "labelled") if self.invariance else scene.x
        (verdict,) = self.arena.critics(x, now=scene.now, side="labelled")
        assert verdict.classes is not None
        wrong = (verdict.classes.argmax(1) != scene.y).to(verdict.classes)
        terms = {**loss.terms, "labels": self.label_weight * F.cross_entropy(verdict.classes, scene.y)}
        return Loss(terms, {**loss.stats, "labelled_error": wrong.mean()}, loss.views)

    def g_wants(self, scene: Shown) -> Loss:  # type: ignore[override]
        loss = self.arena.g_wants(scene.played, self.G)
        fooled = {"G": self.fooling * loss.terms["G"]} if self.fooling else {}
        return Loss({**{k: v for k, v in loss.terms.items() if k != "G"}, **fooled}, loss.stats, loss.views, loss.felt)

    def made_of(self) -> dict[str, nn.Module]:
        """D beside G: a saved model is a classifier too, and an averaged one is the better."""
        return {"G": self.G, "D": self.arena.critics.critics["D"]}

    def classify(self, x: Tensor) -> Tensor:
        """The logits [N, K] of the classes of samples."""
        said: Verdict = self.arena.critics.critics["D"](x)
        assert said.classes is not None
        return said.classes
