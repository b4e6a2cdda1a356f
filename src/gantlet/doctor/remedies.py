"""Remedies: what may be done about a finding, as the options to change. Each looks at the recipe, and is None where it
does not apply: the option is there already, the recipe has no such part, or nobody wrote a recipe."""

from __future__ import annotations

from collections.abc import Mapping

from gantlet.core.errors import InputError
from gantlet.core.recipe import Recipe
from gantlet.doctor.damping import damping, second_penalty
from gantlet.doctor.finding import Remedy, Seen, Sign
from gantlet.doctor.settings import (
    HOT,
    SLOW,
    USUAL_RATE,
    is_image,
    labelled_losses_only,
    normalises,
    penalties,
    rates,
    scaled,
    sides,
    strengths,
    used,
    usual_gamma,
    usual_weight,
)  # fmt: skip

APART = 8.0  # how many times the other's a player's learning rate may be; published ratios are 1 to 5
EASY = 5  # turns in a row that are usual at most
MESCHEDER = "Mescheder, Geiger and Nowozin 2018"
HUANG = "Huang et al. 2024"
GIDEL = "Gidel et al. 2019"


def offer(seen: Seen, text: str, *change: str, source: str = "") -> Remedy | None:
    """A remedy; None where the recipe does not take these changes or has them already."""
    if not seen.about.tree or not change:
        return None
    try:
        before = Recipe("run", dict(seen.about.tree))
        after = before.override(*change)
    except InputError:
        return None
    return None if after.tree == before.tree else Remedy(text, tuple(dict.fromkeys(change)), source)


# ---- learning rates and optimisers --------------------------------------------------------------------------------


def tame_rates(seen: Seen, sign: Sign) -> Remedy | None:
    """Learning rates that are far too high, or far apart, become usual ones."""
    found = {name: rate for name, rate in rates(seen).items() if normalises(seen, name)}
    far = len(found) > 1 and max(found.values()) > APART * min(found.values())
    if not far and max(found.values(), default=0) <= HOT:
        return None
    change = [f"players.{name}.lr={USUAL_RATE:g}" for name in found]
    text = f"Give both players a learning rate of {USUAL_RATE:g}"
    return offer(seen, text, *change, *damping(seen), source="usual rates are 1e-4 to 2e-3; Heusel et al. 2017")


def usual_rates(seen: Seen, sign: Sign) -> Remedy | None:
    """Learning rates that are far too low become usual ones, and so do others that are far from them."""
    tamed = tame_rates(seen, sign)
    if tamed is not None:
        return tamed
    low = [name for name, rate in rates(seen).items() if normalises(seen, name) and rate < SLOW]
    text = f"Give {' and '.join(low)} a learning rate of {USUAL_RATE:g}"
    return offer(seen, text, *(f"players.{n}.lr={USUAL_RATE:g}" for n in low), source="usual rates are 1e-4 to 2e-3")


def slower_critic(seen: Seen, sign: Sign) -> Remedy | None:
    """A quarter of the critic's learning rate."""
    names = sides(seen)[:1]
    change = [c for name in names for c in scaled(seen, f"players.{name}.lr", 0.25)]
    return offer(seen, "Let the critic learn four times as slowly", *change, source="Heusel et al. 2017")


def faster_critic(seen: Seen, sign: Sign) -> Remedy | None:
    """Twice the critic's learning rate, while that is not hot."""
    change = [c for name in sides(seen)[:1] if rates(seen).get(name, HOT) * 2 < HOT for c in _lr(seen, name, 2)]
    return offer(seen, "Let the critic learn twice as fast", *change, source="Heusel et al. 2017")


def slower_both(seen: Seen, sign: Sign) -> Remedy | None:
    """A quarter of both learning rates."""
    change = [c for name in sides(seen) for c in _lr(seen, name, 0.25)]
    return offer(seen, "Take smaller steps on both sides", *change, source=MESCHEDER)


def no_momentum(seen: Seen, sign: Sign) -> Remedy | None:
    """beta1 = 0 on both sides."""
    change = [f"players.{name}.beta1=0" for name in sides(seen) if (seen.about.get(f"players.{name}.beta1") or 0) > 0]
    return offer(seen, "Take the momentum out: it makes the players chase each other", *change, source=GIDEL)


def amsgrad(seen: Seen, sign: Sign) -> Remedy | None:
    """A second moment that never falls."""
    change = [f"players.{n}.amsgrad=true" for n in sides(seen) if seen.about.get(f"players.{n}.amsgrad") is False]
    return offer(seen, "Keep Adam's steps from growing again as gradients vanish", *change, source="Reddi et al. 2018")


def decaying_rates(seen: Seen, sign: Sign) -> Remedy | None:
    """Learning rates that fall to a twentieth; not to 0, which ends the game before it has settled."""
    fixed = {n: r for n, r in rates(seen).items() if not isinstance(seen.about.get(f"players.{n}.lr"), Mapping)}
    change = [
        f"players.{n}.lr.{key}={value}"
        for n, r in fixed.items()
        for key, value in (("use", "cosine"), ("start", f"{r:g}"), ("end", f"{r / 20:g}"))
    ]
    return offer(seen, "Let the learning rates fall to a twentieth by the end", *change, source=HUANG)


def _lr(seen: Seen, name: str, factor: float) -> list[str]:
    return scaled(seen, f"players.{name}.lr", factor)


# ---- dynamics and turns -------------------------------------------------------------------------------------------


def alternate(seen: Seen, sign: Sign) -> Remedy | None:
    """Players that move at once move in turn, with a penalty that damps them."""
    if seen.about.get("dynamics.use") != "simultaneous":
        return None
    text = "Let the players move in turn, with a penalty that damps them"
    return offer(seen, text, "dynamics=alternating", *damping(seen), source=MESCHEDER)


def lookahead(seen: Seen, sign: Sign) -> Remedy | None:
    """Slow weights for both players."""
    if seen.about.get("dynamics.use") not in ("alternating", "simultaneous") or len(sides(seen)) < 2:
        return None
    return offer(
        seen, "Average the rotation away", "dynamics=lookahead", source="Chavdarova et al. 2021, Lookahead-minimax"
    )


def fewer_critic_steps(seen: Seen, sign: Sign) -> Remedy | None:
    """More turns in a row than usual become one."""
    if (seen.about.get("game.d_steps") or 1) <= EASY:
        return None
    return offer(seen, "Let the critic move once a round", "d_steps=1", *damping(seen), source=HUANG)


def fewer_generator_steps(seen: Seen, sign: Sign) -> Remedy | None:
    """The generator moves once a round."""
    if (seen.about.get("game.g_steps") or 1) <= 1:
        return None
    return offer(seen, "Let the generator move once a round", "g_steps=1", *damping(seen), source=HUANG)


def more_critic_steps(seen: Seen, sign: Sign) -> Remedy | None:
    """Two turns for the critic where it has one."""
    if seen.about.get("game.d_steps") != 1:
        return None
    return offer(seen, "Let the critic move twice a round", "d_steps=2", source="Arjovsky et al. 2017")


# ---- penalties ----------------------------------------------------------------------------------------------------


def damp(seen: Seen, sign: Sign) -> Remedy | None:
    """The penalty that this loss wants and does not have, on every step; without the momentum that works against it."""
    change = damping(seen)
    if not change:
        return None
    return offer(seen, "Damp the game: keep the critic's slope small at reals and at fakes", *change, source=HUANG)


def stronger_penalty(seen: Seen, sign: Sign) -> Remedy | None:
    """Four times the weight of what is there, up to 64 times the usual."""
    most = 64 * usual_gamma(seen)
    change = [
        c
        for label, option, weight in penalties(seen)
        if option == "gamma" and weight * 4 <= most
        for c in scaled(seen, f"game.penalties.{label}.{option}", 4)
    ]
    return offer(seen, "Damp the game more strongly", *change, source=MESCHEDER)


def softer_penalty(seen: Seen, sign: Sign) -> Remedy | None:
    """Weights far above the usual become usual; others a quarter."""
    change = []
    for label, option, weight in penalties(seen):
        usual = usual_gamma(seen) if option == "gamma" else weight
        factor = usual / weight if weight > 4 * usual else 0.25
        change += scaled(seen, f"game.penalties.{label}.{option}", factor)
    return offer(seen, "Weaken the penalty: its pull overshoots in every step", *change, source=MESCHEDER)


def lighter_penalty(seen: Seen, sign: Sign) -> Remedy | None:
    """Weights far above the usual become usual."""
    heavy = [(label, times) for label, times in strengths(seen) if times > APART]
    options = {label: option for label, option, _ in penalties(seen)}
    change = [c for label, n in heavy for c in scaled(seen, f"game.penalties.{label}.{options[label]}", 1 / n)]
    return offer(seen, "Let the critic be steeper: the penalty keeps it from seeing detail", *change, source=MESCHEDER)


def penalise_fakes(seen: Seen, sign: Sign) -> Remedy | None:
    """R2 beside R1, every step."""
    change = second_penalty(seen)
    return offer(seen, "Keep the critic's slope small at the fakes too", *change, source=HUANG)


def lecam(seen: Seen, sign: Sign) -> Remedy | None:
    """Logits held near their running means."""
    if not seen.about.ordered:
        return None
    return offer(seen, "Hold logits near their running means", "penalties.lecam.weight=0.3", source="Tseng et al. 2021")


# ---- losses, tricks, networks, precision --------------------------------------------------------------------------


def relativistic(seen: Seen, sign: Sign) -> Remedy | None:
    """The relativistic pair with R1 and R2, in place of a loss that judges reals and fakes apart."""
    about, there = seen.about, used(seen, "penalties").values()
    if not about.ordered or about.get("game.adversarial") is None or labelled_losses_only(seen):
        return None
    missing = [n for n in ("r1", "r2") if n not in there] if not {"gp", "gp-one-sided"} & set(there) else []
    weight = next((w for _, option, w in penalties(seen) if option == "gamma"), usual_gamma(seen))
    change = [f"penalties.{name}.gamma={weight:.3g}" for name in missing]
    text = "Compare fakes with reals in pairs: this loss leaves no bad basins in which modes are lost"
    return offer(seen, text, "adversarial=relativistic", *change, source=f"{HUANG}; Sun et al. 2020")


def non_saturating(seen: Seen, sign: Sign) -> Remedy | None:
    """In place of the loss whose gradient vanishes when the critic wins."""
    if seen.about.get("game.adversarial.use") != "minimax" or labelled_losses_only(seen):
        return None
    text = "Use the loss that still has a gradient when the critic wins"
    return offer(seen, text, "adversarial=non-saturating", *damping(seen), source="Goodfellow et al. 2014, section 3")


def penalty_for_clipping(seen: Seen, sign: Sign) -> Remedy | None:
    """A gradient penalty where weights are clipped."""
    names = [n for n in sides(seen) if seen.about.get(f"players.{n}.clip_weights")]
    if not names:
        return None
    change = [f"penalties.gp.weight={usual_weight(seen):g}", *(f"players.{n}.clip_weights=null" for n in names)]
    return offer(seen, "Penalise the slope instead of clipping weights", *change, source="Gulrajani et al. 2017")


def packing(seen: Seen, sign: Sign) -> Remedy | None:
    """Two samples to a verdict."""
    told = seen.about.get("game.conditional") or seen.about.batch % 2
    if told or "packing" in used(seen, "tricks").values():
        return None
    text = "Show the critic two samples at once: sameness gives fakes away"
    return offer(seen, text, "tricks.packing.m=2", source="Lin et al. 2018, PacGAN")


def augment(seen: Seen, sign: Sign) -> Remedy | None:
    """Augmentation of what critics see, as much as overfitting asks for."""
    if not is_image(seen) or not seen.about.ordered or {"ada", "diffaugment"} & set(used(seen, "tricks").values()):
        return None
    text = "Augment what the critic sees, as strongly as it overfits"
    return offer(seen, text, "tricks.ada.target=0.6", source="Karras et al. 2020, ADA")


def instance_noise(seen: Seen, sign: Sign) -> Remedy | None:
    """Noise on what critics see."""
    if "instance-noise" in used(seen, "tricks").values():
        return None
    text = "Blur the difference between real and fake with a little noise"
    return offer(seen, text, "tricks.instance-noise.sigma=0.1", source="Sønderby et al. 2017; Roth et al. 2017")


def wider_generator(seen: Seen, sign: Sign) -> Remedy | None:
    """Twice the width."""
    return offer(seen, "Give the generator more units", *_wider(seen, "G"), source="Huang et al. 2024, table 3")


def wider_critic(seen: Seen, sign: Sign) -> Remedy | None:
    """Twice the width."""
    return offer(seen, "Give the critic more units", *_wider(seen, "D"), source="Arora et al. 2017")


TRANSPOSED = ("dcgan", "semi-conv")  # generators of strided transposed convolutions


def smooth_upsampling(seen: Seen, sign: Sign) -> Remedy | None:
    """A generator that interpolates, in place of one of transposed convolutions."""
    if seen.about.get("game.G.use") not in TRANSPOSED:
        return None
    text = "Use a generator that interpolates and then convolves"
    return offer(seen, text, "G=resnet", source="Odena, Dumoulin and Olah 2016")


def wider_numbers(seen: Seen, sign: Sign) -> Remedy | None:
    """Numbers with a wider range than the precision that overflowed."""
    wider = {"fp16": "bf16", "bf16": "float32", "auto": "float32"}.get(seen.about.get("precision", ""))
    if wider is None:
        return None
    return offer(
        seen, "Compute with a wider range of numbers", f"precision={wider}", source="Huang et al. 2024, appendix"
    )


LEAST_UNITS = 64  # in a layer of a perceptron that is too narrow


def _wider(seen: Seen, net: str) -> list[str]:
    hidden, width = seen.about.get(f"game.{net}.hidden"), seen.about.get(f"game.{net}.width")
    if isinstance(hidden, list | tuple) and hidden:
        layers = [max(2 * int(n), LEAST_UNITS) for n in hidden] * (2 if len(hidden) == 1 else 1)
        return [f"{net}.hidden=[{','.join(map(str, layers))}]"]
    return [f"{net}.width={2 * int(width)}"] if isinstance(width, int) else []
