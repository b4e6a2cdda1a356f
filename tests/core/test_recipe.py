"""A recipe is one checked tree; overrides are dotted paths; faults come all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.recipe import ALSO, SCHEMA, Recipe, read_yaml, recipe
from helpers import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_yaml_gives_the_recipe_back(name: str) -> None:
    made = recipe(name)
    assert made.name == name
    assert Recipe.from_yaml(made.to_yaml(), name) == made
    assert Recipe(name, made.tree) == made
    assert made.override() == made


@pytest.mark.parametrize("name", RECIPES)
def test_an_overridden_recipe_survives_yaml(name: str) -> None:
    changes = [
        "steps=77",
        "dynamics=alternating",
        "data=hf:a/b",
        "size=[12, 10]",
        "average=null",
        "seed=4611686018427387903",
    ]
    made = recipe(name).override(*changes)
    assert Recipe.from_yaml(made.to_yaml(), name) == made
    assert (made["steps"], made["size"], made["average"], made["seed"]) == (77, [12, 10], None, 2**62 - 1)


@settings(max_examples=60, deadline=None)
@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_any_finite_number_survives_yaml_and_text(value: float) -> None:
    made = recipe("r1gan").override(f"penalties.r1.gamma={value!r}")
    assert made["penalties.r1.gamma"] == value
    assert Recipe.from_yaml(made.to_yaml(), made.name) == made


def penalties(name: str, *changes: str) -> dict[str, Any]:
    return recipe(name).override(*changes)["penalties"]


def test_an_option_is_changed() -> None:
    assert penalties("r1gan", "penalties.r1.gamma=4")["r1"] == {"use": "r1", "gamma": 4.0, "every": 1}
    assert recipe("dcgan").override("game.d_steps=3") == recipe("dcgan").override("d_steps=3")
    assert recipe("dcgan").override(batch=32) == recipe("dcgan").override("batch=32")


def test_a_part_is_removed_added_and_all_are_cleared() -> None:
    assert penalties("wgan-gp", "penalties.gp=null") == {}
    assert penalties("wgan-gp", "penalties={}") == {}
    assert penalties("wgan-gp", "penalties=null") == {}
    added = penalties("wgan-gp", "penalties.r2.gamma=1")
    assert list(added) == ["gp", "r2"]
    assert added["r2"] == {"use": "r2", "gamma": 1.0, "every": 1}
    assert penalties("dcgan", "penalties.r1={}")["r1"]["gamma"] == 10.0


def test_a_label_may_differ_from_the_part() -> None:
    both = penalties("dcgan", "penalties.soft={use: r1, gamma: 1}", "penalties.hard={use: r1, gamma: 9}")
    assert {k: (v["use"], v["gamma"]) for k, v in both.items()} == {"soft": ("r1", 1.0), "hard": ("r1", 9.0)}


def test_a_part_replaced_by_name_gets_its_own_defaults() -> None:
    made = recipe("wgan").override("players.G=adam", "D=cnn", "dynamics=extragradient", "adversarial=hinge")
    assert made["players.G"] == recipe("dcgan").override("players.G={use: adam}")["players.G"]
    assert made["players.G.lr"] == 2e-4
    assert made["D"] == {"use": "cnn", "width": 32, "widest": 256, "spectral": False, "slope": 0.2}
    assert made["dynamics"] == {"use": "extragradient"}
    assert made["adversarial.margin"] == 1.0
    assert recipe("dcgan").override("adversarial.use=hinge")["adversarial"] == made["adversarial"]


def test_text_that_yaml_takes_for_text_is_coerced() -> None:
    """YAML reads `1e-3` as text; options know they are numbers."""
    assert recipe("dcgan").override("players.G.lr=1e-3")["players.G.lr"] == 0.001
    made = recipe("dcgan").override("players.G.lr={use: cosine, start: 1e-3}")
    assert made["players.G.lr"] == {"use": "cosine", "start": 0.001, "end": 0.0, "after": 0, "steps": None}
    assert recipe("mlp").override("G.hidden=[16, '32']")["G.hidden"] == [16, 32]


def test_overrides_apply_in_order_and_leave_the_original_alone() -> None:
    made = recipe("r1gan")
    text = made.to_yaml()
    changed = made.override("batch=3", "batch=5", "penalties.r1.gamma=9")
    assert changed["batch"] == 5
    assert made.to_yaml() == text
    changed.tree["players"]["G"]["lr"] = 1.0
    assert made.to_yaml() == text


FAULTS = {
    "penalties.r11.gamma=3": "game.penalties.r11: no penalty named 'r11'; did you mean 'r1'",
    "penalties.r1.gama=3": "game.penalties.r1.gama: penalty 'r1' has no option 'gama'; did you mean 'gamma'?",
    "stepz=3": "stepz: recipe 'r1gan' has no option 'stepz'; did you mean 'steps'",
    "d_stepz=3": "d_stepz: recipe 'r1gan' has no option 'd_stepz'; did you mean 'd_steps'",
    "dynamics=altrnating": "dynamics: no dynamics named 'altrnating'; did you mean 'alternating'?",
    "adversarial=hing": "game.adversarial: no adversarial named 'hing'; did you mean 'hinge'",
    "players.G=adan": "players.G: no optimizer named 'adan'; did you mean 'adam'?",
    "players.G.lr={use: cosin, start: 1}": "players.G.lr: no schedule named 'cosin'; did you mean 'cosine'",
    "players.G.lr=fast": "players.G.lr: 'fast': ",
    "players.G.lr=.nan": "players.G.lr: nan is not a finite number",
    "players.G.lr=-.inf": "players.G.lr: -inf is not a finite number",
    "players.G.lr=nan": "players.G.lr: 'nan': ",
    "players.G.lr=1e999": "players.G.lr: 1e999 is not a finite number",
    "players.G.lr=true": "players.G.lr: True is a yes or no",
    "players.G.beta1=1": "players.G.beta1: 1: ",
    "players.D.lr=-1e-3": "players.D.lr: '-1e-3': ",
    "players.D.weight_decay=-1": "players.D.weight_decay: -1: ",
    "penalties.r2.gamma=-1": "game.penalties.r2.gamma: -1: ",
    "batch=true": "batch: True is a yes or no",
    "batch=0": "batch: 0: ",
    "steps=1.5": "steps: 1.5: ",
    "size=3": "size: 3: ",
    "size=[8, 8, 8]": "size: [8, 8, 8]: ",
    "seed=-1": "seed: -1: ",
    "flip=2": "flip: 2: ",
    "precision=fp8": "precision: 'fp8': ",
    "players.D=null": "players.D",
    "G=null": "game.G: None is not a generator",
    "batch.size=3": "batch.size: batch is 8 and has no options",
    "batch": "'batch' is not `path=value`",
}


@pytest.mark.parametrize("change", FAULTS)
def test_a_fault_names_the_path_the_value_and_the_way_out(change: str) -> None:
    if change == "players.D=null":
        assert "D" not in recipe("r1gan").override(change)["players"]  # the game says that it needs D
        return
    with pytest.raises(InputError) as caught:
        recipe("r1gan").override("batch=8").override(change)
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith(FAULTS[change])
    assert caught.value.status == 2


def test_all_faults_come_at_once() -> None:
    changes = [c for c in FAULTS if c not in ("players.D=null", "G=null", "players.G=adan", "batch.size=3")]
    paths = [c.partition("=")[0] for c in changes]
    once = [c for c, p in zip(changes, paths) if paths.count(p) == 1]
    with pytest.raises(InputError) as caught:
        recipe("r1gan").override(*once)
    assert len(caught.value.faults) == len(once)
    for change in once:
        assert any(fault.startswith(FAULTS[change]) for fault in caught.value.faults)
    assert str(caught.value).count("\n") == len(once) - 1


def test_unknown_recipes_and_texts_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'dcgan'"):
        recipe("dcgann")
    with pytest.raises(InputError, match="not YAML"):
        Recipe.from_yaml("a: [")
    with pytest.raises(InputError, match="a map of options, this is list"):
        Recipe.from_yaml("[1]")
    with pytest.raises(InputError, match="needs this option"):
        Recipe.from_yaml("steps: 3")
    (tmp_path / "x.yaml").write_text("- 1")
    with pytest.raises(InputError, match=r"x\.yaml: a map"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(InputError, match=r"y\.yaml: cannot be read"):
        read_yaml(tmp_path / "y.yaml")


def test_powers_of_ten_are_numbers_where_a_schedule_stood() -> None:
    """YAML takes 1e-3 for text, which would be the name of a schedule."""
    made = recipe("small").override("players.G.lr=1e-3", "players.D.lr=2E-4")
    assert (made["players.G.lr"], made["players.D.lr"]) == (1e-3, 2e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lr=1e-4", "it is players.D.lr and players.G.lr"),
        ("players.lr=1e-4", "no player is named 'lr'; it is players.D.lr and players.G.lr"),
        ("clip_norm=null", "it is players.D.clip_norm and players.G.clip_norm"),
        ("loss=hinge", "here that is adversarial"),
        ("learning_rate=1", "here that is players.G.lr and players.D.lr"),
        ("adversarial=wgan", "no adversarial named 'wgan'; here that is wasserstein"),
        ("average=none", "to leave it out write null"),
        ("qqq=1", r"known: D, G, .* \(all of them: gantlet show mlp\)"),
    ],
)
def test_what_others_call_otherwise_is_told_where_it_is(change: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        recipe("mlp").override(change)


def test_names_of_others_lead_to_parts_there_are() -> None:
    assert registry.adversarial.also and registry.penalty.also and registry.dynamics.also
    for kind in registry.KINDS.values():
        assert set(kind.also.values()) <= set(kind.parts) and not set(kind.also) & set(kind.parts), kind.name
    known = {*SCHEMA, *recipe("mlp").tree["game"]}
    assert all(part.split(".")[0] in known for way in ALSO.values() for part in way.split(" and "))


def test_a_schedule_starts_where_the_number_stood() -> None:
    made, rate = recipe("mlp"), recipe("mlp")["players.G.lr"]
    for change in ("players.G.lr=cosine", "players.G.lr={use: cosine}", "players.G.lr={use: cosine, end: 0.0}"):
        assert made.override(change)["players.G.lr.start"] == rate
    assert made.override("players.G.lr={use: cosine, start: 0.5}")["players.G.lr.start"] == 0.5
    assert made.override("penalties.r1.gamma=2").override("penalties.r1.gamma=linear")["penalties.r1.gamma.start"] == 2


def test_some_options_of_some_players_leave_the_others_as_they_were() -> None:
    made = recipe("mlp").override("players.D.lr=0.5", "players.G.beta1=0.3")
    changed = made.override(players={"G": {"lr": 0.25}})
    assert changed["players.D"] == made["players.D"] and changed["players.G.beta1"] == 0.3
    assert changed["players.G.lr"] == 0.25
    fresh = made.override(players={"G": {"use": "adam", "lr": 0.25}})["players.G"]  # a part that is named begins anew
    assert fresh == registry.check("optimizer", {"use": "adam", "lr": 0.25})[0]


def test_changes_are_texts() -> None:
    with pytest.raises(InputError, match="each an argument of its own; this is"):
        recipe("mlp").override(["adversarial=hinge"])  # type: ignore[arg-type]
