"""`gantlet bench dirac`: the Dirac-GAN, played by the package's own parts, against what theory says of it.

Data at 0, G(z) = theta, D(x) = psi x (Mescheder, Geiger and Nowozin 2018, "Which training methods for GANs do actually
converge?"). The spectral radius of one step at the equilibrium decides: under 1 the play converges, over 1 it does not.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import machine, machine_text
from dirac_game import Case, H, TwoPoint, radii, spectral_radius, trajectory
from dirac_picture import Panel, draw
from gantlet.core.registry import Tree, use

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "dirac.png"
TURNS = "alternating"
W = 0.5  # f'(0) of the logistic loss, f(t) = -log(1 + e^-t); f''(0) = -1/4
WIDE = use("least-squares", real_target=1.0, fake_target=-1.0, wanted=1.0)

Say = Callable[[str], None]

# ---- what theory says ---------------------------------------------------------------------------------------------


def sim(w: float, *, g: float = 0.0, h: float = H, own: float = 0.0) -> float:
    """|1 + h lambda| of the field theta' = w psi - own theta, psi' = -w theta - g psi."""
    return _radius(np.eye(2) + h * np.array([[-own, w], [-w, -g]]))


def alt(w: float, *, g: float = 0.0, h: float = H, times: int = 1) -> float:
    """The same where psi moves first, `times` in a row."""
    return _radius(_alternate(w, g, h, times))


def _alternate(w: float, g: float, h: float, times: int = 1) -> Any:
    first = np.linalg.matrix_power(np.array([[1, 0], [-h * w, 1 - h * g]]), times)
    return np.array([[1, h * w], [0, 1]]) @ first


def _radius(matrix: Any) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def _roots(*coefficients: complex) -> float:
    return float(np.abs(np.roots(coefficients)).max())


def extra(h: float) -> float:
    s = 1j * h * W
    return abs(1 + s + s * s)


def optimistic(h: float) -> float:
    s = 1j * h * W
    return _roots(1, -(1 + 2 * s), s)


def heavy_ball(b: float, *, turns: bool) -> float:
    s = H * W
    if turns:
        return _roots(*np.polyadd(np.polymul([1, -1 - b, b], [1, -1 - b, b]), [s * s, 0, 0, 0]))
    return _roots(1, -(1 + b + 1j * s), b)


def ahead(k: int, *, turns: bool, a: float = 0.5) -> float:
    s = H * W
    mu = cmath.exp(1j * math.acos(1 - s * s / 2)) if turns else 1 + 1j * s
    return abs(1 - a + a * mu**k)


def lecam(weight: float, decay: float, c: float) -> float:
    """theta, psi and the mean of both averages of logits: A <- d A + (1 - d) c psi, read after it moved."""
    pull = 4 * weight * decay * c
    return _radius(np.array([[1, H * W, 0], [-H * W, 1 - H * pull * c, H * pull], [0, (1 - decay) * c, decay]]))


# ---- the table ----------------------------------------------------------------------------------------------------


def _both(name: str, formula: str, w: float, *, g: float = 0.0, **options: Any) -> list[Case]:
    """One method, simultaneous and alternating."""
    return [
        Case(f"{name}, simultaneous", formula, sim(w, g=g), "simultaneous", **options),
        Case(f"{name}, alternating", formula, alt(w, g=g), "alternating", **options),
    ]


def _penalised(name: str, gamma: float, *labels: str, adversarial: str = "non-saturating") -> list[Case]:
    total = gamma * len(labels)
    penalties = {label: use(label, gamma=gamma) for label in labels}
    formula = f"λ = -g/2 ± √(g²/4 - w²), g = {total:g}"
    return _both(f"{name} {gamma:g}", formula, W, g=total, game={"adversarial": adversarial, "penalties": penalties})


def _held(label: str, c: float, rho: float, formula: str, **options: Any) -> Case:
    """A penalty on the logits, with the relativistic pair, which damps nothing itself; data at c."""
    game = {"adversarial": "relativistic", "penalties": {label: options}}
    return Case(f"{label} {options['weight']:g}, data at {c:g}", formula, rho, game=game, c=c, warm=1)


def _lecam(c: float) -> Case:
    return _held("lecam", c, lecam(1.0, 0.9, c), "with A, of decay 0.9", weight=1.0, decay=0.9, after=0)


def _logit_l2(c: float) -> Case:
    return _held("logit-l2", c, sim(W, g=2 * c * c), "λ = -g/2 ± √(g²/4 - w²), g = 2c²", weight=1.0)


def _noisy(s: float, label: str) -> Case:
    options = {"tricks": {"noise": TwoPoint(s)}}
    formula = f"λ = f''s² ± √(f''²s⁴ - w²), s = {label}"
    return Case(f"instance noise {label}, simultaneous", formula, sim(W, g=s * s / 2), game=options)


def _momentum(b: float) -> list[Case]:
    sgd = use("sgd", lr=H, momentum=b)
    return [
        Case(f"momentum {b:g}, simultaneous", "z² - (1 + b + ihw)z + b", heavy_ball(b, turns=False), optimizer=sgd),
        Case(f"momentum {b:g}, alternating", "(z - 1)²(z - b)² + h²w²z³", heavy_ball(b, turns=True), TURNS, sgd),
    ]


def _lookahead(k: int, inner: str) -> Case:
    dynamics = use("lookahead", k=k, inner=use(inner))
    rho = ahead(k, turns=inner == "alternating")
    return Case(f"lookahead {k}, {inner}", "1 - a + aμᵏ, a = 1/2 (of k steps)", rho, dynamics, steps=k)


def _at(h: float) -> Tree:
    return use("sgd", lr=h)


ROTATES = "±iw"
FORMULAS: list[Case] = [
    *_both("non-saturating", ROTATES, W),
    *_both("minimax", ROTATES, W, game={"adversarial": "minimax"}),
    *_both("relativistic", ROTATES, W, game={"adversarial": "relativistic"}),
    *_both("wasserstein", "±iw, w = 1", 1.0, game={"adversarial": "wasserstein"}),
    *_both("hinge", "±iw, w = 1", 1.0, game={"adversarial": "hinge"}),
    *_both("least-squares ±1", "±iw, w = 1", 1.0, game={"adversarial": WIDE}),
    *[case for g in (0.3, 1.0, 10.0, 25.0) for case in _penalised("R1", g, "r1")],
    *_penalised("R2", 1.0, "r2"),
    *_penalised("R1 + R2", 1.0, "r1", "r2"),
    *_penalised("relativistic, R1 + R2", 1.0, "r1", "r2", adversarial="relativistic"),
    *_both("gp-zero 0.5", "as R1 1", W, g=1.0, game={"penalties": {"gp-zero": {"weight": 0.5}}}),
    _logit_l2(0.0), _logit_l2(1.0), _lecam(0.0), _lecam(1.0),
    _noisy(0.7, "0.7"),
    _noisy(math.sqrt(2), "√2"),
    Case("consensus 1", "λ = -gw² ± iw", sim(W, g=W * W, own=W * W), "consensus"),
    Case("symplectic 1", "λ = -gw² ± iw", sim(W, g=W * W, own=W * W), "symplectic"),
    *[
        Case(f"unrolled {k}", "λ² + 2khw²λ + w² = 0", sim(W, own=2 * k * H * W * W), use("unrolled", k=k))
        for k in (1, 5, 10)
    ],
    Case("lr of D times 4, simultaneous", "±iw√r", sim(2 * W), ratio=4.0),
    Case("lr of D times 4, alternating", "±iw√r", alt(2 * W), "alternating", ratio=4.0),
    Case("5 steps of D", "1", alt(W, times=5), "alternating", game={"d_steps": 5}),
    Case(
        "5 steps of D, R1 0.3", "μ² - tr μ + (1 - hg)⁵ = 0", alt(W, g=0.3, times=5), "alternating",
        game={"d_steps": 5, "penalties": {"r1": {"gamma": 0.3}}},
    ),
    *[Case(f"extragradient, h = {h:g}", "1 + ihw - h²w²", extra(h), "extragradient", _at(h)) for h in (0.1, 1.0, 2.2)],
    *[
        Case(f"{name}, h = {h:g}", "z² - (1 + 2ihw)z + ihw", optimistic(h), name, _at(h))
        for name in ("optimistic", "from-the-past")
        for h in (0.1, 1.0, 1.3)
    ],
    *[case for b in (-0.5, 0.5, 0.9) for case in _momentum(b)],
    _lookahead(5, "simultaneous"), _lookahead(5, "alternating"), _lookahead(100, "alternating"),
]  # fmt: skip


# ---- where the step is not differentiable, or the way is long -------------------------------------------------------

GP = {"adversarial": "wasserstein"}
FLAT = {"penalties": {"r1": {"gamma": 0.3}}}


def clipped(dynamics: str) -> Case:
    return Case(f"weights of D clipped to 1, {dynamics}", dynamics=dynamics, game=GP, clip=1.0)


def centred(target: float) -> Case:
    game = {**GP, "penalties": {"gp": {"weight": 0.7, "target": target}}}
    return Case(f"gradient penalty, target {target:g}", dynamics="alternating", game=game)


def adam(**options: Any) -> Case:
    """R1 0.3 under Adam(0, .999) of rate 0.01, and what is changed of it."""
    player = {"lr": 0.01, "beta1": 0.0, "beta2": 0.999, **options}
    changed = "".join(f", {k}" if v is True else f", {k} {v}" for k, v in options.items())
    name = f"R1 0.3, Adam{changed}"
    return Case(name, dynamics="alternating", optimizer=use("adam", **player), game=FLAT, batch=1)


# the same start seen with psi turned round: with the saturating loss the valley of a small |v|^2 leads outwards
FAR = Case(
    "consensus 10, minimax, from (1, -1)", dynamics=use("consensus", weight=10.0), game={"adversarial": "minimax"}
)
RESIDUES: list[tuple[Case, int, tuple[float, float]]] = [
    (clipped("simultaneous"), 1_000, (1.0, 1.0)),
    (clipped("alternating"), 1_000, (1.0, 1.0)),
    (centred(0.3), 1_000, (1.0, 1.0)),
    (centred(1.0), 1_000, (1.0, 1.0)),
    (FAR, 1_000, (1.0, -1.0)),
    (adam(), 20_000, (1.0, 1.0)),
    (adam(beta2=0.9), 4_000, (1.0, 1.0)),
    (adam(amsgrad=True), 20_000, (1.0, 1.0)),
]
DRAWN = (
    "non-saturating, simultaneous", "non-saturating, alternating", "R1 1, alternating",
    "instance noise 0.7, simultaneous", "wasserstein, alternating", "momentum 0.5, alternating", "extragradient, h = 1",
    "optimistic, h = 1", "consensus 1", "unrolled 5", "lookahead 5, alternating",
)  # fmt: skip


def measure(*, data: str | None = None, quick: bool = False, say: Say = print) -> dict[str, Any]:
    """The table as one JSON-able record; all but --quick write docs/images/dirac.png as well."""
    rows = []
    for case in FORMULAS:
        rho = spectral_radius(case)
        told = {"method": case.name, "formula": case.formula, "expected": case.rho}
        rows.append({**told, "rho": rho, "verdict": verdict(rho)})
    residues = [] if quick else [_residue(*row, say=say) for row in RESIDUES]
    if not quick:
        known = {case.name: case for case in FORMULAS}
        panels = [_drawn(known[name]) for name in DRAWN]
        draw([*panels, _drawn(centred(0.3))], PICTURE)
        say(f"wrote {PICTURE}")
    return {"machine": machine(), "h": H, "rows": rows, "residues": residues}


def verdict(rho: float) -> str:
    """What a spectral radius says of a small perturbation."""
    if abs(rho - 1) < 1e-7:
        return "circles"
    return "converges" if rho < 1 else "diverges"


def _residue(case: Case, steps: int, start: tuple[float, float], say: Say) -> dict[str, Any]:
    distance = radii(case, steps, start)
    late = distance[-steps // 2 :]
    row = {"method": case.name, "steps": steps, "least": float(distance.min()), "mean": float(late.mean()),
           "most": float(late.max())}  # fmt: skip
    say(f"{row}")
    return row


def _drawn(case: Case) -> Panel:
    below = "no derivative at 0" if case.rho is None else f"radius of a step {case.rho:.4f}"
    return Panel(case.name, below, case.rho is not None and verdict(case.rho) == "converges", trajectory(case, 500))


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    lines = [
        f"Machine: {machine_text(table['machine'])}. w = f'(0): 1/2 for the logistic losses, 1 for the others; "
        f"h = {table['h']:g} unless said. A field's λ gives 1 + hλ in simultaneous play.",
        "",
        "| method | λ of the field, or μ or z of the step | by formula | measured | near the equilibrium |",
        "|---|---|---|---|---|",
    ]
    for r in table["rows"]:
        lines.append(f"| {r['method']} | {r['formula']} | {r['expected']:.5f} | {r['rho']:.5f} | {r['verdict']} |")
    if table["residues"]:
        lines += [
            "",
            "| no derivative there, or a long way: distance from 0 | rounds | least | second half: mean | most |",
            "|---|---|---|---|---|",
        ]
    for r in table["residues"]:
        lines.append(f"| {r['method']} | {r['steps']:,} | {r['least']:.2g} | {r['mean']:.2g} | {r['most']:.2g} |")
    return "\n".join(lines)
