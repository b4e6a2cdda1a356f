"""A user's own part that is not made as its kind has to be: refused by name, with what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.cli.app import run
from gantlet.core import registry
from gantlet.core.critics import Adversarial
from gantlet.core.dynamics import Dynamics
from gantlet.core.errors import InputError
from gantlet.core.game import Loss
from gantlet.core.train import PATIENCE
from gantlet.core.trick import Trick
from gantlet.losses.penalties import Penalty
from helpers import play


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = {name: dict(kind.parts) for name, kind in registry.KINDS.items()}
    yield
    for name, parts in before.items():
        registry.KINDS[name].parts = parts


def wanted(fake: Tensor, real: Tensor | None) -> Tensor:
    return F.softplus(-fake).mean()


class Silent(Dynamics):
    """Plays and says nothing."""

    def forward(self, *given: Any) -> Any:
        return None


class Idle(Dynamics):
    """Draws, and moves nobody."""

    def forward(self, state: Any, engine: Any, data: Any) -> Any:
        engine.draw(state, data)
        return {}


class Unmade(Dynamics):
    """Forgets its base."""

    def __init__(self) -> None:
        self.k = 3

    def forward(self, *given: Any) -> Any:
        return {}


class Deaf(Trick):
    """Takes too little."""

    def shown(self, x: Tensor) -> Any:  # type: ignore[override]
        return x


class Wide(nn.Module):
    """Makes seven numbers of four."""

    def __init__(self, spec: Any, z_dim: Any = 4) -> None:
        super().__init__()
        self.z_dim, self.layer = z_dim, nn.Linear(4, 7)

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.layer(z)
        return out


class Dumb(nn.Module):
    """Says nothing."""

    def __init__(self, spec: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Any:
        return None


def pair(d: Any = lambda r, f: F.softplus(f).mean(), g: Any = wanted) -> Callable[[], Any]:
    return lambda: Adversarial(d, g)


FAULTY: list[tuple[str, str, Any, str]] = [
    ("adversarial", "adversarial=mine", pair(lambda r, f: F.softplus(f)), r"d\(real, fake\) gave a tensor of shape \[\d+\]"),
    ("adversarial", "adversarial=mine", pair(lambda r, f: None), r"d\(real, fake\) gave nothing \(None\); a tensor of one"),
    ("adversarial", "adversarial=mine", pair(g=lambda f: f.mean()), r"g\(fake, real\) has to take 2 arguments"),
    ("adversarial", "adversarial=mine", pair(g=lambda f, r: f), r"g\(fake, real\) gave a tensor of shape"),
    ("adversarial", "adversarial=mine", lambda: None, "made nothing .None.; it has to return an Adversarial"),
    ("adversarial", "adversarial=mine", lambda real, fake: fake, "has to take 0 arguments by position"),
    ("dynamics", "dynamics=mine", Silent, "gave nothing .None.; a round has to return"),
    ("dynamics", "dynamics=mine", Idle, f"moved 'D', 'G' in none of {PATIENCE + 1} rounds"),
    ("dynamics", "dynamics=mine", Unmade, "has to call super"),
    ("dynamics", "dynamics=mine", lambda state, engine, data: {}, "has to take 0 arguments by position"),
    ("dynamics", "dynamics=mine", lambda: object(), "made an object; it has to return a Dynamics"),
    ("penalty", "penalties.mine={}", lambda: Penalty(lambda e: e.on_real[0].logits), "penalties.mine gave a tensor"),
    ("penalty", "penalties.mine={}", lambda: Penalty(lambda: 0), r"term\(evidence\) has to take 1 argument"),
    ("trick", "tricks.mine={}", Deaf, r"shown\(x, given, now, side\) has to take 4 arguments"),
    ("generator", "G=mine", Wide, r"makes samples of shape \[7\]; those of the data are \[1, 8, 8\]"),
    ("generator", "G=mine", lambda spec: Wide(spec, None), "it has to say z_dim"),
    ("generator", "G=mine", lambda: Wide(None), "has to take 1 argument by position"),
    ("critic", "D=mine", Dumb, "a critic answered nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "part", "said"), FAULTY)
def test_a_faulty_part_is_refused_by_name(kind: str, change: str, part: Any, said: str) -> None:
    registry.KINDS[kind](part, "mine")
    with pytest.raises(InputError, match=said):
        play("mlp", change).run(PATIENCE + 2)


def test_a_sound_part_of_one_s_own_plays() -> None:
    registry.adversarial(pair(lambda r, f: F.softplus(f - r).mean()), "mine")
    registry.penalty(lambda: Penalty(lambda e: e.on_real[0].logits.square().mean()), "mine")
    registry.trick(type("Sound", (Trick,), {}), "mine")
    made = play("mlp", "adversarial=mine", "penalties.mine={}", "tricks.sound={use: mine}").run(PATIENCE + 2)
    made.state.check_finite()


@pytest.mark.parametrize("term", [torch.zeros(3), None])
def test_a_term_of_a_game_s_loss_is_one_number(term: Any) -> None:
    with pytest.raises(InputError, match="turn 'D': the term 'D' gave"):
        Loss.checked(Loss({"D": term}), "D")
    with pytest.raises(InputError, match="turn 'D': its loss gave a tensor of shape"):
        Loss.checked(torch.zeros(()), "D")


def test_an_error_in_a_user_s_file_names_the_line_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then the same command is typed again with the part mended; the folder is not in its way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_parts.py").write_text(
        "from gantlet.core.critics import Adversarial\nfrom gantlet.core.registry import adversarial\n\n@adversarial\n"
        'def broken():\n    """A loss whose G looks at reals that it did not ask for."""\n'
        "    return Adversarial(lambda r, f: (f - r).mean(),\n        lambda f, r: (r - f).mean())\n"
    )
    command = ["train", "mlp", "--data", "toy:ring", "--steps", "2", "--out", "run", "--with", "broken_parts"]
    assert run([*command, "adversarial=broken"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("gantlet: broken_parts.py:8, in <lambda>: TypeError: unsupported operand"), said
    assert not (tmp_path / "run").exists()
    assert run(command) == 0
