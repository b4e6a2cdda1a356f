"""Recipes that are told the class: the papers' numbers, and that G and D really hear."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.recipe import about_of, recipe
from gantlet.games.labels import Labelled
from helpers import POINTS, Rows, play

TOLD = ["cgan", "acgan", "projection-gan", "reacgan"]


@pytest.mark.parametrize("name", TOLD)
def test_generators_hear_the_class_and_critics_judge_it(name: str) -> None:
    made = play(name).run(2)
    game = made.state.game.eval()
    assert isinstance(game.G, Labelled)
    z, y = game.latent(6, seed=0), torch.tensor([0, 1, 2, 0, 1, 2])
    x, other = game.generate(z, y), game.generate(z, (y + 1) % 3)
    assert not torch.allclose(x, other)
    (D,) = game.arena.critics.critics.values()
    said, unlike = D(x, y), D(x, (y + 1) % 3)
    if said.classes is None:  # told
        assert not torch.allclose(said.logits, unlike.logits)
    else:  # says
        assert said.classes.shape == (6, 3)
        assert torch.allclose(said.logits, unlike.logits)


@pytest.mark.parametrize("name", TOLD)
def test_they_want_labels(name: str) -> None:
    about = about_of(name)
    assert about is not None
    assert about.family == "conditional"
    with pytest.raises(InputError, match=r"conditional=true: the data has no classes"):
        play(name, data=Rows(POINTS._replace(shape=(1, 8, 8))))


def test_the_first_one_has_the_papers_widths_and_hears_its_labels() -> None:
    """784 numbers into 290 units of five pieces beside a code of 50, by batches of 100."""
    made = recipe("cgan")
    assert (made["batch"], made["tricks.concat-labels.embed"], made["players.D.use"]) == (100, 50, "adam")
    D: nn.Module = registry.bind("critic", made["D"], total=1)(Rows().spec._replace(shape=(1, 28, 28)))
    first = next(m for m in D.modules() if isinstance(m, nn.Linear))
    assert (first.in_features, first.out_features) == (784, 290 * 5)


def test_what_the_later_papers_say() -> None:
    ac, projection, re = (recipe(n) for n in TOLD[1:])
    assert (ac["players.G.lr"], ac["players.G.beta1"], ac["batch"]) == (2e-4, 0.5, 100)
    assert ac["tricks"]["ac-gan"] == {"use": "ac-gan", "weight": 1.0, "fakes": True}
    for made in (projection, re):
        assert (made["adversarial.use"], made["D.spectral"], made["D.batch_norm"]) == ("hinge", True, False)
    head = re["tricks"]["reacgan"]
    assert (head["weight"], head["temperature"], head["positive"]) == (0.5, 0.5, 0.98)
    assert all(made["balanced"] for made in (ac, projection, re))


class Corner(Rows):
    """Class k is bright in its own column of 8 x 8 pixels."""

    def take(self, first: int, n: int, device: torch.device) -> Tensor:  # type: ignore[override]
        batch = super().take(first, n, device)
        place = torch.arange(8).view(1, 1, 1, 8) // 3 == batch.y.view(-1, 1, 1, 1)
        return batch._replace(x=torch.where(place, 0.9, -0.9) + 0.1 * batch.x)  # type: ignore[return-value]


@pytest.mark.parametrize("name", TOLD[1:])
def test_after_some_steps_the_class_is_where_it_belongs(name: str) -> None:
    """Three kinds of stripes: nearly all samples are of the kind that was asked for (a third by chance)."""
    made = play(
        name, "G.width=8", "D.width=8", "players.G.lr=2e-3", "players.D.lr=2e-3", "batch=16", data=Corner()
    ).run(80)
    game = made.state.game.eval()
    y = torch.arange(90) % 3
    with torch.no_grad():
        x = game.generate(game.latent(90, seed=1), y)
    bands = torch.stack([x[..., 3 * k : 3 * k + 3].mean((1, 2, 3)) for k in range(3)], 1)
    assert float((bands.argmax(1) == y).float().mean()) > 0.9
