"""Reconstruction: by hand, of what is held out, and refused where nothing encodes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Game, Loss, Turn
from gantlet.core.when import Now
from gantlet.metrics import evaluate
from gantlet.metrics.reconstruction import psnr, reconstruction


class Shrinks(Game):
    """Encodes to the pixels, times a share, and makes them so."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.z_dim, self.share = 16, share
        self.net = nn.Linear(1, 1)

    def owns(self) -> dict[str, list[nn.Module]]:
        return {"AE": [self.net]}

    def turns(self) -> list[Turn]:
        return [Turn("AE", "AE", lambda scene: Loss({"none": scene.sum()}))]

    def stage(self, batch: Batch, now: Now) -> Any:
        return batch.x

    def made_of(self) -> dict[str, nn.Module]:
        return {"G": self.net}

    def generate(self, z: Tensor, *given: Tensor) -> Tensor:
        return z.view(-1, 1, 4, 4)


class Encodes(Shrinks):
    def encode(self, x: Tensor) -> Tensor:
        return self.share * x.flatten(1)


def images(n: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) - 1


def test_by_hand_and_at_any_batch() -> None:
    held = images(50)
    found = [reconstruction(images(9, 1), held, model=Encodes(0.5), held_out=held, batch=b) for b in (7, 64)]
    wanted = float((0.5 * held).square().mean())
    for one in found:
        assert one["reconstruction"] == pytest.approx(wanted, rel=1e-6)
        assert one["psnr"] == pytest.approx(10 * math.log10(4 / wanted))
        assert one["mean_image"] == pytest.approx(float((held - held.mean(0)).square().mean()), rel=1e-5)
        assert one["intervals"]["reconstruction"][0] < wanted < one["intervals"]["reconstruction"][1]
        assert one["intervals"]["psnr"][0] < one["psnr"] < one["intervals"]["psnr"][1]
        assert (one["rows"], one["warning"], one["real_count"], one["fake_count"]) == ("held out", "", 50, 0)
    assert reconstruction(held, held, model=Encodes(0.5), held_out=held, rows=20)["real_count"] == 20


def test_some_rows_are_from_anywhere() -> None:
    """Sixty rows in the order of their classes, dark ones first: of twenty, both are among them."""
    held = torch.cat([torch.full((30, 1, 4, 4), -0.5), torch.full((30, 1, 4, 4), 0.5)])
    found = reconstruction(held, held, model=Encodes(0.5), held_out=held, rows=20)
    assert found["mean_image"] > 0.15
    assert reconstruction(held, held, model=Encodes(0.5), held_out=iter([held]), rows=20)["mean_image"] == 0


def test_nothing_lost_and_out_of_range() -> None:
    held = images(10)
    assert reconstruction(held, held, model=Encodes(1.0), held_out=held)["psnr"] == 100
    assert psnr(4.0) == 0
    clamped = reconstruction(held, held, model=Encodes(1000.0), held_out=held)["reconstruction"]
    assert clamped == pytest.approx(float((held - held.sign()).square().mean()), abs=1e-3)


def test_without_held_out_rows_it_says_so() -> None:
    found = reconstruction(images(8), images(8), model=Encodes(0.5))
    assert found["rows"] == "the reals themselves"
    assert "seen in training" in found["warning"]


def test_in_a_report() -> None:
    real, held = images(40, 1), images(30, 2)
    report = evaluate(real, images(40, 3), metrics=["reconstruction"], held_out=held, model=Encodes(0.8))
    score = {s.key: s for s in report.scores}
    assert (score["reconstruction"].better, score["psnr"].better) == ("lower", "higher")
    assert score["reconstruction"].value == pytest.approx(float((0.2 * held).square().mean()), rel=1e-5)
    assert score["psnr"].interval is not None


@pytest.mark.parametrize("model", [None, Shrinks(0.5)])
def test_what_cannot_encode_is_refused(model: Any) -> None:
    with pytest.raises(InputError, match=r"is of a model that encodes \(autoencoder, vae, aae, bigan\)"):
        reconstruction(images(8), images(8), model=model)


def test_a_model_that_breaks_is_named() -> None:
    with pytest.raises(InputError, match="NaN or infinite values"):
        reconstruction(images(8), images(8), model=Encodes(float("nan")))


def test_the_model_is_left_as_it_was() -> None:
    model = Encodes(0.5).train()
    reconstruction(images(8), images(8), model=model)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
