"""Low precision: networks in bf16 or fp16, logits and penalties in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gantlet.core.engine import Engine
from gantlet.core.game import Loss
from gantlet.core.when import Now
from helpers import GAMES, PLAYABLE, Play, play, same, spoil

PENALISED = ["wgan-gp", "r1gan", "small", "stylegan2", "progan", "r3gan"]


def seen_by_losses(made: Play) -> list[tuple[Any, Loss]]:
    seen: list[tuple[Any, Loss]] = []
    for turn in [t.name for t in made.state.turns]:
        spoil(made.state, turn, lambda scene, loss: (seen.append((scene, loss)), loss)[1])
    return seen


@pytest.mark.parametrize(("name", "dynamics"), PLAYABLE)
def test_bf16_plays_every_recipe(name: str, dynamics: str) -> None:
    """Fakes are bfloat16, verdicts and terms float32, weights stay float32 and finite."""
    made = play(name, f"dynamics={dynamics}", precision="bf16")
    seen = seen_by_losses(made)
    made.run(2)
    made.state.check_finite()
    assert {scene.fake.dtype for scene, _ in seen} == {torch.bfloat16}
    for _, loss in seen:
        assert {t.dtype for t in [*loss.terms.values(), *loss.stats.values()]} == {torch.float32}
        assert {v.dtype for k, v in loss.views.items() if k.startswith("on_")} <= {torch.float32}
    weights = made.weights()
    assert {w.dtype for w in weights} == {torch.float32}
    assert all(torch.isfinite(w).all() for w in weights)
    assert not any(w.requires_grad for w in weights)


def test_bf16_is_close_to_float32() -> None:
    low, full = play("r1gan", precision="bf16"), play("r1gan")
    gradients = []
    for made in (low, full):
        batch, now = made.engine.draw(made.state, made.data)
        found = made.engine.gradient(made.state, made.state.turns[0], batch, now)
        gradients.append(torch.cat([g.flatten() for g in found.grads]))
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.99


@pytest.mark.parametrize("changes", [("batch=8",), ("batch=16", "tricks.packing.m=2")])
def test_slopes_of_few_rows_are_taken_in_float32(changes: tuple[str, ...]) -> None:
    """On a processor: its own bf16 convolutions are wrong there. Real rows are the same ones, so R1 is the same number."""
    terms, gradients = [], []
    for precision in ("bf16", "float32"):
        made = play("r1gan", *changes, precision=precision)
        batch, now = made.engine.draw(made.state, made.data)
        found = made.engine.gradient(made.state, made.state.turns[0], batch, now)
        terms.append(found.report.terms["r1"])
        gradients.append(torch.cat([g.flatten() for g in found.grads if g is not None]))
    torch.testing.assert_close(*terms)
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.99


def test_a_move_is_seen_by_the_next_turn() -> None:
    """Cast weights are not cached past a move: G judges itself by the critic that has just moved."""
    slow, fast = (play("r1gan", f"players.D.lr={lr}", precision="bf16") for lr in (1e-12, 0.1))
    terms = [float(made.step()["G"].terms["G"]) for made in (slow, fast)]
    assert abs(terms[0] - terms[1]) > 1e-2


def fp16_on_cpu() -> bool:
    try:
        with torch.autocast("cpu", dtype=torch.float16):
            out = torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4, requires_grad=True), torch.ones(1, 1, 3, 3))
        out.float().sum().backward()
    except RuntimeError:
        return False
    return out.dtype == torch.float16


needs_fp16 = pytest.mark.skipif(not fp16_on_cpu(), reason="this torch has no fp16 on this processor")


@needs_fp16
@pytest.mark.parametrize("name", GAMES)
def test_fp16_plays_every_recipe(name: str) -> None:
    made = play(name, precision="fp16")
    seen = seen_by_losses(made)
    before = made.weights()
    made.run(4)
    made.state.check_finite()
    assert {scene.fake.dtype for scene, _ in seen} == {torch.float16}
    assert {t.dtype for _, loss in seen for t in loss.terms.values()} == {torch.float32}
    assert all(torch.isfinite(w).all() for w in made.weights())
    assert not same(before, made.weights())
    assert all(p.scale is not None and float(p.scale) >= 1024 for p in made.state.players.values())


@needs_fp16
@pytest.mark.parametrize("name", PENALISED)
def test_under_fp16_penalties_have_a_forward_of_their_own(name: str) -> None:
    """Critics are asked by penalties in float32: squared slopes overflow fp16."""
    made = play(name, precision="fp16")
    asked: list[tuple[torch.dtype, bool]] = []
    critic = made.state.game.arena.critics.critics["D"]
    critic.register_forward_pre_hook(lambda m, args: asked.append((args[0].dtype, torch.is_autocast_enabled("cpu"))))
    batch, now = made.engine.draw(made.state, made.data)
    terms = made.engine.gradient(made.state, made.state.turns[0], batch, now).report.terms
    exact = [dtype for dtype, low in asked if not low]
    assert exact
    assert set(exact) == {torch.float32}
    assert any(low for _, low in asked)
    full = play(name)
    batch, now = full.engine.draw(full.state, full.data)
    wanted = full.engine.gradient(full.state, full.state.turns[0], batch, now).report.terms
    for label in terms:
        assert torch.allclose(terms[label], wanted[label], rtol=2e-2, atol=1e-3)


@needs_fp16
def test_an_overflow_in_fp16_halves_the_scale_and_play_goes_on() -> None:
    made = play("r1gan", precision="fp16")
    made.state.players["G"].scale.fill_(2.0**40)  # past fp16: its gradients overflow
    before = made.weights("G")
    made.run(1)
    assert same(before, made.weights("G"))
    assert float(made.state.players["G"].scale) == 2.0**39
    made.run(40)
    made.state.check_finite()
    assert not same(before, made.weights("G"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_logits_come_in_at_least_float32(dtype: torch.dtype) -> None:
    from gantlet.core.critics import Critics, Verdict

    class Says(torch.nn.Module):
        def forward(self, x: Tensor) -> Verdict:
            return Verdict(x.flatten(1).sum(1).to(dtype), (x,))

    (verdict,) = Critics({"D": Says()})(torch.ones(3, 2), now=Now(), side="real")
    assert verdict.logits.dtype == torch.promote_types(dtype, torch.float32)
    assert len(verdict.features) == 1


def test_float32_enters_no_autocast() -> None:
    assert not isinstance(Engine()._region(), torch.autocast)
    assert isinstance(Engine(precision="bf16")._region(), torch.autocast)
