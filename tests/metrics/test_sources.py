"""Sets that are kept, dealt into groups and joined again."""

from __future__ import annotations

import pytest
import torch
from digit_rows import Digits

from gantlet.core.game import Spec
from gantlet.metrics import Drawn, Kept, moments_of
from gantlet.metrics.features import build, features_of, matrix_of
from gantlet.metrics.sources import Source, batches_of, count_of, without
from gantlet.metrics.stored import Stored

N = 137  # divides by no batch


def forms(x: torch.Tensor) -> dict[str, Source]:
    return {
        "tensor": x,
        "list": list(x.split(10)),
        "crumbs": list(x.split(3)),  # batches smaller than the number of groups
        "rows": Digits(x, None),
        "drawn": Drawn(len(x), lambda first, n: x[first : first + n], batch=32),
    }


def all_of(source: Source) -> torch.Tensor:
    return torch.cat([rows.x for rows in batches_of(source, batch=29)])


@pytest.mark.parametrize("form", ["tensor", "list", "crumbs", "rows", "drawn"])
def test_groups_are_dealt_like_cards_and_joined_lose_nothing(form: str) -> None:
    x = torch.randn(N, 3)
    kept = Kept(forms(x)[form])
    groups = kept.groups(4)
    index = [group.index for group in groups]
    assert sorted(torch.cat(index).tolist()) == list(range(N))
    for rows, group in zip(index, groups, strict=True):
        assert torch.equal(all_of(group), x[rows]) and abs(len(rows) - N / 4) < 1
        assert rows[:30].unique().div(4, rounding_mode="floor").tolist() == list(
            range(len(rows[:30]))
        )  # one of each four
        assert len((rows % 4).unique()) == 4  # whatever order the rows came in
    assert torch.equal(all_of(without(kept, 1, 4)), x[torch.cat([index[0], index[2], index[3]])])
    some = kept.some(50)
    assert torch.equal(all_of(some), x[some.index]) and count_of(some) == 50 == len(some.index.unique())
    assert int(some.index.max()) > 100


@pytest.mark.parametrize("form", ["tensor", "list", "crumbs", "rows", "drawn"])
def test_features_are_computed_once_and_cut_like_the_rows(form: str) -> None:
    x, seen = torch.randn(N, 3), 0
    raw = build("raw", lambda: Spec((3,)))

    class Counted(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal seen
            seen += len(x)
            return x

    object.__setattr__(raw, "net", Counted())
    kept = Kept(forms(x)[form])
    assert torch.equal(matrix_of(kept, raw), x)
    assert torch.equal(torch.cat(list(features_of(kept, raw, batch=10))), x)
    assert torch.equal(matrix_of(kept.groups(4)[2], raw), x[kept.groups(4)[2].index])
    assert torch.equal(matrix_of(without(kept, 0, 2), raw), x[kept.groups(2)[1].index])
    assert torch.equal(matrix_of(kept.some(20), raw), x[kept.some(20).index])
    assert seen == N


def test_joined_moments_are_those_of_the_rows() -> None:
    x = torch.randn(N, 3)
    raw = build("raw", lambda: Spec((3,)))
    kept = Kept(x)
    got, want = (
        moments_of(without(kept, 3, 10), raw),
        moments_of(x[~torch.isin(torch.arange(N), kept.groups(10)[3].index)], raw),
    )
    assert got.count == want.count
    torch.testing.assert_close(got.covariance, want.covariance, rtol=1e-9, atol=1e-12)
    assert kept.groups(10)[0].sum_up(("moments", raw.key), lambda _: None) is not None  # each group's is kept


def test_stored_samples_are_what_saving_them_keeps() -> None:
    x = torch.rand(50, 3, 4, 5) * 2.4 - 1.2
    stored = Stored(x.split(7), 50, Spec((3, 4, 5)))
    back = stored.rows(torch.tensor([3, 0, 49])).x
    assert torch.equal(back, ((x[[3, 0, 49]].clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1)
    points = Stored([x[:, 0, 0, :2]], 50, Spec((2,)))
    assert torch.equal(points.rows(torch.arange(50)).x, x[:, 0, 0, :2])
    assert len(stored) == 50 and stored.spec.count == 50
