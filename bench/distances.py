"""`gantlet bench distances`: the Frechet distance against torchmetrics' way, MIND, and the kernel distance, on features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from common import in_turn, machine, machine_text, ratios, summary
from gantlet.metrics import Features, Kept, Moments, fd, frechet
from gantlet.metrics.kernel import kd
from gantlet.metrics.mind import mind

Say = Callable[[str], None]

DIMENSION = 2048
COUNT, FEW = 50_000, 5_000
CHUNK = 256  # rows that come at a time
AIMS = {"frechet": 1.4, "mind": 2.0}  # times faster; seconds

Stats = tuple[Tensor, Tensor, int]  # sum of rows, sum of their outer products, number


def features(count: int, dimension: int, side: int) -> Tensor:
    """Like a network's: cut off at 0, correlated, the spectrum steep; float32 [count, dimension]."""
    mix = torch.randn(dimension, dimension, generator=torch.Generator().manual_seed(0))
    mix *= torch.arange(1, dimension + 1).float().pow(-0.5).unsqueeze(1)
    drawn = torch.Generator().manual_seed(1 + side)
    rows = [torch.randn(len(c), dimension, generator=drawn) @ mix for c in torch.arange(count).split(4096)]
    return torch.cat([(0.2 * (1 + 0.05 * side) * some + 0.3).relu() for some in rows])


def flat(dimension: int) -> Features:
    """The features as they are, for the metric to read."""
    return Features("raw", torch.nn.Flatten(), dimension)


def ours(x: Tensor, y: Tensor) -> float:
    """The metric, as an evaluation calls it."""
    found: float = fd(x, y, features=flat(x.shape[1]), batch=CHUNK)["fd"]
    return found


def reference() -> tuple[str, Callable[[Tensor, Tensor], float]]:
    """torchmetrics where it is installed, otherwise its arithmetic as written below."""
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
    except ImportError:
        return "torchmetrics' arithmetic (it is not installed)", arithmetic

    class AsTheyAre(torch.nn.Module):
        num_features = DIMENSION

        def forward(self, x: Tensor) -> Tensor:
            return x

    def theirs(x: Tensor, y: Tensor) -> float:
        net = AsTheyAre()
        net.num_features = x.shape[1]
        fid = FrechetInceptionDistance(feature=net)
        for real, rows in ((True, x), (False, y)):
            for some in rows.split(CHUNK):
                fid.update(some, real=real)
        return float(fid.compute())

    return "torchmetrics", theirs


def arithmetic(x: Tensor, y: Tensor) -> float:
    """Sums of rows and of outer products in float64, then the eigenvalues of the product of the covariances."""
    (a, one), (b, two) = (covariance(stats(rows)) for rows in (x, y))
    return float((a - b).square().sum() + one.trace() + two.trace() - 2 * eigenvalue_roots(one, two))


def stats(rows: Tensor) -> Stats:
    d = rows.shape[1]
    total, outer = torch.zeros(d).double(), torch.zeros(d, d).double()
    for some in rows.split(CHUNK):
        some = some.double()
        total += some.sum(0)
        outer += some.t().mm(some)
    return total, outer, len(rows)


def covariance(of: Stats) -> tuple[Tensor, Tensor]:
    total, outer, n = of
    mean = (total / n).unsqueeze(0)
    return mean.squeeze(0), (outer - n * mean.t().mm(mean)) / (n - 1)


def eigenvalue_roots(one: Tensor, two: Tensor) -> Tensor:
    return torch.linalg.eigvals(one @ two).sqrt().real.sum()


def measure(*, data: str | None = None, quick: bool = False, say: Say = print) -> dict[str, Any]:
    """Times of both ways in turn, and what they answer."""
    count, few, d, repeats = (3_000, 1_000, 256, 3) if quick else (COUNT, FEW, DIMENSION, 3)
    name, theirs = reference()
    say(f"features of {count:,} against {count:,}, {d} dimensions")
    x, y = (features(count, d, side) for side in (0, 1))
    answers: dict[str, float] = {}

    def keep(label: str, run: Callable[[Tensor, Tensor], float]) -> Callable[[], None]:
        return lambda: answers.__setitem__(label, run(x, y))

    say(f"Frechet distance, gantlet and {name} in turn, {repeats} times")
    times = in_turn(
        {"gantlet": keep("gantlet", ours), name: keep(name, theirs)}, repeats=repeats, inner=1, warmup=quick
    )
    say("the two covariances alone")
    (_, one), (_, two) = (covariance(stats(rows[: max(4 * d, 1000)])) for rows in (x, y))
    sides = {
        "gantlet": lambda: _from_moments(one, two),
        "eigenvalues of the product": lambda: eigenvalue_roots(one, two),
    }
    solving = in_turn(sides, repeats=repeats, inner=1, warmup=quick)
    say(f"MIND and kernel distance of {few:,} against {few:,}")
    small = x[:few].clone(), y[:few].clone()
    others = in_turn(
        {
            "mind": lambda: mind(Kept(small[0]), Kept(small[1]), features=flat(d)),
            "kd, every pair": lambda: kd(Kept(small[0]), Kept(small[1]), features=flat(d)),
        },
        repeats=repeats,
        inner=1,
    )
    return {
        "machine": machine(), "count": count, "few": few, "dimension": d, "against": name, "aims": AIMS, "answers": answers,
        "frechet": {side: summary(t) for side, t in times.items()}, "ratio": ratios(times[name], times["gantlet"]),
        "solving": {side: summary(t) for side, t in solving.items()},
        "solving ratio": ratios(solving["eigenvalues of the product"], solving["gantlet"]),
        "others": {side: summary(t) for side, t in others.items()},
    }  # fmt: skip


def _from_moments(one: Tensor, two: Tensor) -> float:
    a, b = Moments(len(one)), Moments(len(two))
    for moments, cov in ((a, one), (b, two)):
        moments.count, moments.scatter = 2, cov
    return frechet(a, b)


def text(table: dict[str, Any]) -> str:
    """The record as the page's markdown."""
    n, few, d = table["count"], table["few"], table["dimension"]
    lines = [
        f"Machine: {machine_text(table['machine'])}.",
        "",
        f"| {d} features, float32 | seconds, median (min-max) | against it |",
        "|---|---|---|",
    ]
    rows = [(f"Frechet distance of {n:,} and {n:,}, {k}", t, table["ratio"]) for k, t in table["frechet"].items()]
    rows += [(f"from two covariances, {k}", t, table["solving ratio"]) for k, t in table["solving"].items()]
    rows += [(f"{k}, of {few:,} and {few:,}", t, None) for k, t in table["others"].items()]
    for name, t, ratio in rows:
        faster = (
            f"{ratio['median']:.2f}x ({ratio['min']:.2f}-{ratio['max']:.2f})" if ratio and "gantlet" in name else ""
        )
        lines.append(f"| {name} | {t['median']:.2f} ({t['min']:.2f}-{t['max']:.2f}) | {faster} |")
    values = list(table["answers"].values())
    aims = table["aims"]
    lines += [
        "",
        f"The two distances differ by {abs(values[0] - values[1]) / values[1]:.1e} of theirs. "
        f"Aims at {COUNT:,} x {DIMENSION}: Frechet {aims['frechet']}x, MIND of {FEW:,} under {aims['mind']:.0f} s.",
    ]
    return "\n".join(lines)
