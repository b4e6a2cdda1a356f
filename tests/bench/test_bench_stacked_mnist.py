"""bench stacked-mnist, very short, on the digits of the package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import stacked_mnist as bench
from gantlet.core.errors import InputError
from gantlet.data import open_source, to_unit

CPU = torch.device("cpu")
WANTED = ["normal/dcgan+G.width=2+D.width=2+batch=4", "quarter/ours+G.width=2+D.width=2+batch=4+seeds=2"]


def test_triples_are_three_digits_each_drawn_anew() -> None:
    digits = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(50, 1, 28, 28).contiguous()
    data = bench.Triples(digits, 3)
    x = data.take(0, 2_000, CPU).x
    assert x.shape == (2000, 3, 32, 32) and float(x.min()) == -1
    assert torch.equal(x[5:9], data.take(5, 4, CPU).x)
    middle = ((x[:, :, 16, 16] + 1) * 127.5).round()  # which digit a channel shows
    assert torch.corrcoef(middle.T).triu(1).abs().max() < 0.1
    assert middle.unique().numel() == 50
    frame = x.clone()
    frame[:, :, 2:30, 2:30] = -1
    assert bool((frame == -1).all()), "padded with black"
    assert not torch.equal(x, bench.Triples(digits, 4).take(0, 2_000, CPU).x)
    many = bench.Triples(digits, (3, 4)).take(0, 20, CPU).x
    assert torch.equal(many[:10], x[:10])


def test_scores_by_hand() -> None:
    """Half of the samples on one mode, the other half even over 500: KL = log 1000 + sum p log p."""
    counts = torch.zeros(1000, dtype=torch.int64)
    counts[0], counts[1:501] = 500, 1
    got = bench._scores(counts)
    assert (got["modes"], got["solid_modes"]) == (501, 501)
    p = torch.tensor([0.5] + [0.001] * 500, dtype=torch.float64)
    assert got["kl"] == pytest.approx(float((p * (p * 1000).log()).sum()))


def test_cells_are_measured_kept_and_shown(cache: Path) -> None:
    table = bench.measure(data="digits", quick=True, cell=WANTED, say=lambda text: None)
    shown = bench.text(table)
    assert {c["label"] for c in table["cells"]} == set(WANTED)
    assert "| normal |" in shown and "| quarter |" in shown and " ± " in shown and "Floor (real triples)" in shown
    said: list[str] = []
    assert bench.measure(data="digits", quick=True, cell=WANTED, say=said.append) == table
    assert not said


def test_every_cell_is_a_game() -> None:
    widths = {name: [] for name in bench.SETS}
    for setting in bench.SETS:
        for method in bench.METHODS:
            made = bench.recipe(setting, method)
            widths[setting].append(made["game.D.width"])
            assert made["steps"] == bench.STEPS
    assert [w / 4 for w in widths["normal"]] == widths["quarter"]


def test_wrong_data_is_refused() -> None:
    with pytest.raises(InputError, match="--data"):
        bench.measure()
    with pytest.raises(InputError, match="ten classes of grey images"):
        bench.measure(data="toy:ring")


def test_the_floor_of_mnist() -> None:
    """Of true labels: sampling (999 / 2N) and the imbalance of the digits, about .0235 at 26,000."""
    home = Path(os.environ.get("GANTLET_DATA", "-")) / "mnist"
    if not home.exists():
        pytest.skip("set GANTLET_DATA to a folder with mnist")
    labels = open_source(str(home)).labels_array()
    shown = labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    middle = bench.Triples(shown, 0).take(0, 26_000, CPU).x[:, :, 16, 16]
    levels = to_unit(torch.arange(10, dtype=torch.uint8))
    digit = (middle.unsqueeze(2) - levels).abs().argmin(2)
    counts = (100 * digit[:, 0] + 10 * digit[:, 1] + digit[:, 2]).bincount(minlength=1000)
    got = bench._scores(counts)
    assert got["modes"] == 1000 and got["kl"] == pytest.approx(0.0235, abs=0.002)
