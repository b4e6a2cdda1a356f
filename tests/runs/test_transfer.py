"""Transfer: exactly what fits is loaded, and said; a resumed transfer is the one never stopped; frozen layers stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

import gantlet
from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.recipe import recipe
from gantlet.core.train import Stop
from gantlet.runs import checkpoint, transfer
from gantlet.runs.folder import RunFolder
from helpers import IMAGES, play, same, small, tensors

SMALL = ("G.width=4", "D.width=4", "G.z=8", "batch=8", "log_every=2", "sample_every=0", "save_every=2", "samples=4")


class Seen:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    warn = say

    def row(self, row: dict[str, Any], steps: int) -> None:
        pass


def begin(out: Path, *changes: str, name: str = "r1gan", **options: Any) -> Any:
    return gantlet.train(name, *SMALL, *changes, data="digits", out=out, device="cpu", **options)


def record(path: Path) -> dict[str, Any]:
    return checkpoint.load(RunFolder(path).state, print)[0]


def start_of(path: Path) -> dict[str, Any]:
    return yaml.safe_load((path / "run.yaml").read_text())["start"]


def on_disk(folder: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(folder / "tensors.safetensors")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return begin(tmp_path_factory.mktemp("source") / "a", steps=5, seed=3).path


def test_a_run_gives_its_averaged_generator_and_its_critics(source: Path, tmp_path: Path) -> None:
    seen = Seen()
    run = begin(tmp_path / "b", steps=1, start=source, show=seen)
    was = record(source)
    mean = was["averages"]["ema"]["G"]
    zero = transfer.opened(source, print)
    assert same(zero.made_of["G"].values(), mean.values())
    first = checkpoint.states(RunFolder(run.path).state)[-1]
    assert first.name == "step-00000000", "saved before the first step"
    back = on_disk(first)
    assert all(torch.equal(back[f"game/G.{k}"], t) for k, t in mean.items())
    assert all(torch.equal(back[f"averages/ema/G/{k}"], t) for k, t in mean.items()), "averages start there too"
    critics = [k for k in was["game"] if k.startswith("arena.critics.")]
    assert critics and all(torch.equal(back[f"game/{k}"], was["game"][k]) for k in critics)
    facts = start_of(run.path)
    assert facts["share"] == {"D": 1.0, "G": 1.0} and facts["misfits"] == facts["fresh"] == []
    assert facts["step"] == 5 and facts["from"] == str(source.resolve()) and len(facts["sha256"]) == 64
    assert "100 % of D, 100 % of G" in "\n".join(seen.lines)


def test_a_model_gives_its_generator_alone(source: Path, tmp_path: Path) -> None:
    model = gantlet.save_pretrained(source, tmp_path / "model")
    run = begin(tmp_path / "b", steps=1, start=model, seed=9)
    back = on_disk(checkpoint.states(RunFolder(run.path).state)[-1])
    assert start_of(run.path)["share"] == {"G": 1} and start_of(run.path)["kind"] == "model"
    made = gantlet.load(source).game.G.state_dict()
    assert all(torch.equal(back[f"game/G.{k}"], t) for k, t in made.items())
    fresh = transfer.new_game(RunFolder(run.path).recipe(), IMAGES, steps=1).arena.critics.state_dict()
    assert all(torch.equal(back[f"game/arena.critics.{k}"], t) for k, t in fresh.items()), (
        "as the seed initialises them"
    )


def test_what_does_not_fit_is_named_and_left_as_it_was(source: Path, tmp_path: Path) -> None:
    seen = Seen()
    run = begin(tmp_path / "b", "G.z=5", "D.width=6", steps=1, start=source, show=seen)
    facts = start_of(run.path)
    names = {row["name"]: (row["there"], row["here"]) for row in facts["misfits"]}
    (project,) = (name for name in names if name.startswith("G."))
    assert names[project][0][1] == 8 and names[project][1][1] == 5
    assert 0 < facts["share"]["G"] < 1
    said = "\n".join(seen.lines)
    assert f"{project}: {names[project][0]} there, {names[project][1]} here" in said
    back = on_disk(checkpoint.states(RunFolder(run.path).state)[-1])
    loaded = [k for k in back if k.startswith("game/G.") and k.removeprefix("game/") not in names]
    mean = record(source)["averages"]["ema"]["G"]
    assert loaded and all(torch.equal(back[k], mean[k.removeprefix("game/G.")]) for k in loaded)
    again = transfer.new_game(RunFolder(run.path).recipe(), gantlet.load(run.path).spec, steps=1).state_dict()
    assert torch.equal(back[f"game/{project}"], again[project]), "as the seed initialises it"


def test_nothing_that_fits_is_refused_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"less than 1 % of each player's weights fits"):
        gantlet.train("mlp", "G.hidden=[7]", data="digits", out=tmp_path / "b", device="cpu", start=source)
    assert not (tmp_path / "b").exists()
    with pytest.raises(InputError, match="neither a run nor a model"):
        begin(tmp_path / "b", start=tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        begin(tmp_path / "b", start=tmp_path / "nowhere")
    with pytest.raises(InputError, match="goes on with its own weights"):
        gantlet.train(source, resume=True, start=source)


def test_a_resumed_transfer_is_the_one_never_stopped(source: Path, tmp_path: Path) -> None:
    """Ten steps are five and five, and the source is not looked at again."""
    kept = gantlet.save_pretrained(source, tmp_path / "kept")
    whole = begin(tmp_path / "whole", steps=6, start=kept)

    def stop(state: Any, reports: Any) -> None:
        raise Stop("test")

    begin(tmp_path / "parts", steps=6, start=kept, watch=[(lambda now: now.step == 3, stop)])
    (kept / "model.safetensors").unlink()
    run = gantlet.train(tmp_path / "parts", resume=True)
    a, b = tensors(record(whole.path)), tensors(record(run.path))
    assert a.keys() == b.keys() and [k for k in a if not torch.equal(a[k], b[k])] == []
    assert start_of(run.path) == start_of(whole.path), "resuming keeps where it came from"


def test_a_run_yaml_repeats_its_start(source: Path, tmp_path: Path) -> None:
    first = begin(tmp_path / "b", steps=2, start=source)
    again = gantlet.train(first.path / "run.yaml", out=tmp_path / "c", device="cpu")
    a, b = tensors(record(first.path)), tensors(record(again.path))
    assert [k for k in a if not torch.equal(a[k], b[k])] == [] and "start" in RunFolder(again.path).read()


@pytest.mark.parametrize("back", [False, True])
def test_the_class_makes_no_difference_to_the_names(tmp_path: Path, back: bool) -> None:
    """Unconditional weights in a conditional game, whose networks are wrapped, and the other way round."""
    told = ("conditional=true", "tricks.concat-labels={}")
    sizes = ("G.hidden=[8]", "D.hidden=[8]", "G.z=6", "batch=8", "sample_every=0")

    def run(out: str, *changes: str, **options: Any) -> Any:
        return gantlet.train("mlp", *sizes, *changes, data="digits", out=tmp_path / out, device="cpu", **options)

    first = run("a", *(told if back else ()), steps=1)
    second = run("b", *(() if back else told), steps=1, start=first.path)
    facts = start_of(second.path)
    assert facts["misfits"] == []
    assert (facts["share"]["G"] == 1) if back else (facts["share"]["G"] > 0.8)
    assert not any("edges" in name for name in facts["fresh"]), "the shares of the classes are the data's own"
    if not back:
        assert all(".more." in name or "statistic" in name for name in facts["fresh"]), (
            "only what reads the label is new"
        )


def test_wrapped_names_match_only_where_they_are_alone() -> None:
    found = transfer._pairs({"G.net.a": torch.zeros(1), "G.net.b": torch.zeros(1)}, {"G.a": torch.ones(1)})
    assert found == {"G.net.a": "G.a"}
    twice = transfer._pairs({"G.net.a": torch.zeros(1)}, {"G.a": torch.ones(1), "G.critic.a": torch.ones(1)})
    assert twice == {}


# ---- classes ------------------------------------------------------------------------------------------------------


def start_with(game: Any, class_names: tuple[str, ...]) -> transfer.Start:
    made_of = {part: module.state_dict() for part, module in game.made_of().items()}
    return transfer.Start("elsewhere", made_of, dict(game.state_dict()), {}, class_names)


def loaded(monkeypatch: pytest.MonkeyPatch, game: Any, start: transfer.Start, names: tuple[str, ...]) -> Any:
    """Facts and what was said."""
    lines: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "opened", lambda *args: start)
        facts = transfer.load(game, "elsewhere", lines.append, names)
    return facts, "\n".join(lines)


HERE, THERE = ("ant", "owl", "cat"), ("cat", "dog", "owl")


@pytest.mark.parametrize("name", ["cgan", "sngan-projection", "acgan", "biggan", "stylegan2"])
def test_what_is_known_of_a_class_goes_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The very samples and verdicts of the owl, whatever its number; what is not there starts as what is not here."""
    changes = () if recipe(name)["game"].get("conditional", True) else ("conditional=true",)
    was, now = (play(name, *changes).run(1 + i).state.game.eval() for i in range(2))
    facts, said = loaded(monkeypatch, now, start_with(was, THERE), HERE)
    assert facts["classes"]["stand_ins"] == {"ant": "dog"} and "ant starts as dog" in said
    assert "numbered otherwise there" in said and facts["classes"]["tensors"]
    z, there = was.latent(3, seed=0), torch.tensor([1, 2, 0])
    a, b = was.generate(z, there), now.generate(z, torch.arange(3))
    assert torch.allclose(a, b, atol=1e-5) and not torch.allclose(b, now.generate(z, there), atol=1e-5)
    critics = [game.arena.critics.critics["D"] for game in (was, now)]
    one, two = critics[0](a, there), critics[1](a, torch.arange(3))
    assert torch.allclose(getattr(one, "logits", one), getattr(two, "logits", two), atol=1e-4)
    if getattr(one, "classes", None) is not None:
        assert torch.allclose(one.classes[:, there], two.classes, atol=1e-4)


def test_classes_in_the_same_order_are_no_news_and_unknown_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    was, now = play("cgan").state.game, play("cgan").state.game
    facts, said = loaded(monkeypatch, now, start_with(was, THERE), THERE)
    assert "classes" not in facts and "class" not in said.lower()
    facts, said = loaded(monkeypatch, now, start_with(was, ()), THERE)
    assert facts["classes"]["by"] == "number" and "CLASSES WERE TAKEN BY NUMBER" in said


def test_a_run_and_its_model_say_what_their_classes_are_called(tmp_path: Path) -> None:
    sizes = ("G.hidden=[8]", "D.hidden=[8]", "G.z=6", "batch=8", "sample_every=0")
    run = gantlet.train("cgan", *sizes, data="digits", out=tmp_path / "a", device="cpu", steps=1)
    names = transfer.opened(run.path, print).class_names
    assert len(names) == 10 and transfer.opened(run.path / "model", print).class_names == names


# ---- what is no start ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "fits"),
    [("dcgan", (), lambda key, t: t.numel() == 1), ("mlp", ("G.hidden=[150,150]", "D.hidden=[150,150]"),
                                                  lambda key, t: key.endswith("0.bias"))],
)  # fmt: skip
def test_a_few_biases_that_fit_are_no_start(
    monkeypatch: pytest.MonkeyPatch, name: str, changes: tuple[str, ...], fits: Any
) -> None:
    """Nor are counters and lone numbers: they fit in all networks."""
    was, now = (play(name, *changes).state.game for _ in range(2))
    start = start_with(was, ())
    few = {k: t for k, t in start.others.items() if fits(k, t)}
    assert few
    before = {k: t.clone() for k, t in now.state_dict().items()}
    with pytest.raises(InputError, match="less than 1 %"):
        loaded(monkeypatch, now, transfer.Start("elsewhere", {}, few, {}), ())
    assert all(torch.equal(t, before[k]) for k, t in now.state_dict().items()), "it is left as it was"
    facts, _ = loaded(monkeypatch, now, start, ())
    assert facts["loaded"] == sum(t.numel() > 1 for t in transfer._networks(now, start).values())


def test_growth_begins_anew_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    was, now = play("progan").state.game, play("progan").state.game
    _, said = loaded(monkeypatch, now, start_with(was, ()), ())
    assert "tricks.growing=null" in said
    whole = play("progan", "tricks.growing=null").state.game
    assert "growing" not in loaded(monkeypatch, whole, start_with(was, ()), ())[1]


# ---- freeze-D -----------------------------------------------------------------------------------------------------


def moved(name: str, *changes: str) -> tuple[set[str], set[str]]:
    """The critic's weights that have moved after some steps, and those that have not."""
    made = play(name, *changes)
    before = {k: p.detach().clone() for k, p in made.state.game.arena.critics.named_parameters()}
    generator = [p.detach().clone() for p in made.state.game.G.parameters()]
    made.run(4).state.check_finite()
    now = dict(made.state.game.arena.critics.named_parameters())
    assert all(not torch.equal(a, b) for a, b in zip(generator, made.state.game.G.parameters()))
    still = {k for k, p in now.items() if torch.equal(p, before[k])}
    return set(now) - still, still


@pytest.mark.parametrize(
    "dynamics", ["alternating", "extragradient", "consensus", "lookahead", "unrolled", "optimistic"]
)
def test_frozen_layers_do_not_move_and_the_others_do(dynamics: str) -> None:
    free, frozen = moved("mlp", "tricks.freeze-d.layers=1", "D.hidden=[8,8]", f"dynamics={dynamics}")
    assert frozen == {"critics.D.body.0.weight", "critics.D.body.0.bias"} and len(free) == 4


def test_half_of_the_layers_are_frozen_with_their_norms() -> None:
    made = play("dcgan", "tricks.freeze-d={}", data=None)
    critic = made.state.game.arena.critics.critics["D"]
    layers = [m for m in critic.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    count = len(layers) // 2
    assert [all(not p.requires_grad for p in m.parameters()) for m in layers] == [True] * count + [False] * (
        len(layers) - count
    )
    assert len(made.state.players["D"].weights) == sum(p.requires_grad for p in critic.parameters())


def test_looking_for_layers_leaves_no_trace() -> None:
    """Running statistics and spectral norms of a critic are as they were."""
    tree = small(recipe("dcgan")).override("D.spectral=true").tree["game"]
    nets = []
    for tricks in ({}, {"freeze-d": {"use": "freeze-d", "layers": 1}}):
        torch.manual_seed(0)
        game = registry.bind("game", {**tree, "tricks": tricks}, total=1)(IMAGES)
        nets.append(game.arena.critics.state_dict())
    assert same(nets[0].values(), nets[1].values())


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(InputError, match=r"layers=2: MLPCritic has 2 layers.*use 1 to 1"):
        play("mlp", "tricks.freeze-d.layers=2")


def test_frozen_layers_keep_what_was_transferred(source: Path, tmp_path: Path) -> None:
    run = begin(tmp_path / "b", "tricks.freeze-d.layers=1", steps=3, start=source)
    was, now = record(source)["game"], record(run.path)["game"]
    names = [k for k in was if k.startswith("arena.critics.critics.D") and k.endswith(("weight", "bias"))]
    kept = [k for k in names if torch.equal(was[k], now[k])]
    assert 0 < len(kept) < len(names)
    whole = begin(tmp_path / "c", "tricks.freeze-d.layers=1", steps=5, start=source)
    longer = gantlet.train(run.path, resume=True, steps=5)
    a, b = tensors(record(whole.path)), tensors(record(longer.path))
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
