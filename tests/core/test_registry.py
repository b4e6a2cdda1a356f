"""Every registered part: a sentence that says what it is, and options that a checker understands."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import helpers  # noqa: F401 (importing registers)
from gantlet.core import leaves, registry
from gantlet.core.errors import InputError
from gantlet.core.leaves import scheduled
from gantlet.core.recipe import SCHEMA
from gantlet.core.registry import KINDS, REQUIRED, check, check_option

PARTS = [part for kind in KINDS.values() for part in kind.parts.values()]
OPTIONS = [pytest.param(o, id=f"{p.kind}-{p.name}-{o.name}") for p in PARTS for o in p.options.values()]
OPTIONS += [pytest.param(o, id=f"recipe-{o.name}") for o in SCHEMA.values()]


@pytest.mark.parametrize("part", PARTS, ids=lambda p: f"{p.kind}-{p.name}")
def test_a_part_says_in_a_sentence_what_it_is(part: registry.Part) -> None:
    assert part.doc.endswith((".", ")", ")."))
    assert len(part.doc.split()) >= 4
    assert len(part.doc) <= 240
    assert inspect.getdoc(part.fn) != inspect.getdoc(part.fn.__bases__[0] if inspect.isclass(part.fn) else object)


@pytest.mark.parametrize("part", PARTS, ids=lambda p: f"{p.kind}-{p.name}")
def test_positional_parameters_are_never_options(part: registry.Part) -> None:
    """What the engine supplies has no default: an option must be keyword-only."""
    parameters = inspect.signature(part.fn.__init__ if inspect.isclass(part.fn) else part.fn).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if part.kind != "recipe":  # a recipe may look at the data, or not
        assert all(p.default is p.empty for p in positional if p.name != "self")
    assert "use" not in part.options


@pytest.mark.parametrize("option", OPTIONS)
def test_a_default_checks_to_itself(option: registry.Option) -> None:
    """Every option has a type the checker understands, and a default of that type."""
    assert option.hint is not inspect.Parameter.empty
    needed = None if option.slot else "text" if option.hint is str else 1.0
    default = needed if option.default is REQUIRED else option.default
    if option.slot and default is None:
        return
    value, faults = check_option(option, default, option.name)
    assert not faults
    if option.slot:
        assert value["use"] == default["use"]
    else:
        assert value == leaves._plain(default)
        assert type(value) is type(leaves._plain(default))


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.values[0].slot is None])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), ".nan", "-inf", "1e999", object(), [[None]]])
def test_no_number_is_endless_and_nothing_strange_is_a_number(option: registry.Option, bad: object) -> None:
    """NaN, infinities (also as text) and objects are refused, by their path."""
    if isinstance(bad, str) and leaves._mentions(option.hint, str):
        pytest.skip("any text is text")
    value, faults = check_option(option, bad, "a.path")
    assert len(faults) == 1
    assert faults[0].startswith("a.path: ")
    assert value is None


@pytest.mark.parametrize("option", [o for o in OPTIONS if not leaves._mentions(o.values[0].hint, bool)])
def test_a_yes_is_not_a_number(option: registry.Option) -> None:
    for bad in (True, [True, 2]) if option.slot is None else (True,):
        assert check_option(option, bad, "here")[1]


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.values[0].hint in (int,) or "Count" in o.id])
def test_no_fraction_is_a_whole_number(option: registry.Option) -> None:
    assert check_option(option, 1.5, "here")[1]


def test_whole_options_refuse_fractions_and_take_whole_text() -> None:
    for name in ("batch", "steps", "seed", "micro_batch", "size"):
        assert check_option(SCHEMA[name], 8.5, name)[1]
        assert check_option(SCHEMA[name], "8", name) == (8, [])


SCHEDULED = [o for o in OPTIONS if scheduled(o.values[0].hint)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("option", SCHEDULED)
def test_a_schedule_is_held_to_what_a_number_is_held_to(option: registry.Option) -> None:
    """Its ends lie within the option's bounds, whichever schedule it is."""
    assert check_option(option, {"use": "linear", "start": 0.4, "end": 0.1}, "x")[1] == []
    refused = [v for v in (-1.0, 7.0) if check_option(option, v, "x")[1]]
    assert refused  # no option that may be a schedule takes every number
    for value in refused:
        for tree in ({"use": "linear", "start": value, "end": 0.1}, {"use": "cosine", "start": 0.1, "end": value},
                     {"use": "constant", "value": value}, {"use": "drop", "start": value}):  # fmt: skip
            faults = check_option(option, tree, "x")[1]
            assert faults and all(fault.startswith(("x.start:", "x.end:", "x.value:")) for fault in faults), tree
    assert check_option(option, {"use": "drop", "start": 0.4, "factor": -1}, "x")[1]


def test_unknown_parts_answer_with_the_nearest() -> None:
    for kind in KINDS.values():
        for name in kind.parts:
            _, faults = check(kind.name, name + "x", "here")
            assert faults == [f"here: no {kind.name} named '{name}x'; {registry.nearest(name + 'x', kind.parts)}"]
            assert repr(name) in faults[0]
            with pytest.raises(InputError, match="did you mean"):
                kind.find(name + "x")


def test_a_part_must_be_said() -> None:
    assert "say which generator" in check("generator", {"z": 3}, "G")[1][0]
    assert "say which generator" in check("generator", {"use": None}, "G")[1][0]
    assert "is not a generator" in check("generator", 3, "G")[1][0]
    assert "is not a map" in registry._many(registry.Slot("penalty", many=True), "r1", "penalties")[1][0]


def test_two_modules_may_not_give_one_name_to_two_parts() -> None:
    kind = registry.Kind("thing", "for this test", "things")

    def first() -> None:
        """One."""

    def second() -> None:
        """Two."""

    second.__module__ = "elsewhere"
    kind(first, "same")
    with pytest.raises(InputError, match="two things are named 'same'"):
        kind(second, "same")
    kind(first, "same")  # a module that is imported again replaces its own
    assert list(kind.parts) == ["same"]


def test_a_class_that_lacks_methods_is_refused_where_it_registers() -> None:
    from gantlet.core.game import Game

    class Half(Game):
        """A game that nobody finished."""

        def owns(self) -> dict[str, list[Any]]:
            return {}

    with pytest.raises(InputError, match="game 'half': class Half has to define generate, made_of, stage, turns"):
        KINDS["game"](Half)
    assert "half" not in KINDS["game"].parts


def test_a_bound_part_wants_only_its_positional_arguments() -> None:
    from gantlet.core.when import Now

    tree, _ = check("schedule", {"use": "linear", "start": 2, "end": 0, "steps": 10})
    assert registry.bind("schedule", tree, total=99)(Now(step=5)) == 1.0
    tree, _ = check("penalty", {"use": "r1", "gamma": {"use": "linear", "start": 4.0, "end": 2.0}})
    assert callable(registry.bind("penalty", tree, total=10).keywords["gamma"])


def test_the_length_of_a_run_goes_where_it_is_asked_for() -> None:
    """Where `steps` is null, and nowhere else; it stays null where nobody knows it."""
    tree, _ = check("trick", "growing")
    assert registry.bind("trick", tree, total=70).keywords["steps"] == 70
    assert registry.part_of("trick", "growing").keywords["steps"] is None
    tree, _ = check("trick", {"use": "growing", "steps": 5})
    assert registry.bind("trick", tree, total=70).keywords["steps"] == 5
    asked = {(p.kind, p.name) for p in PARTS if "steps" in p.options and p.options["steps"].default is None}
    assert asked == {("schedule", n) for n in ("cosine", "linear", "exponential")} | {("trick", "growing")}
