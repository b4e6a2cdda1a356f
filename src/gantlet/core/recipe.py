"""A recipe: everything a training is, as one checked tree that YAML gives back unchanged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import yaml
from pydantic import Field

from gantlet.core import registry
from gantlet.core.errors import InputError, nearest
from gantlet.core.registry import Option, Slot, Tree

F = TypeVar("F", bound=Callable[..., Any])
_POWER = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=4, le=4096)]


def options(
    *,
    game: Annotated[Any, Slot("game")],
    players: Annotated[Any, Slot("optimizer", many=True)],
    dynamics: Annotated[Any, Slot("dynamics")] = {"use": "alternating"},  # noqa: B006 (read only)
    average: Annotated[Any, Slot("average", optional=True)] = {"use": "ema"},  # noqa: B006 (read only)
    data: str | None = "digits",  # a SOURCE; null: the data came from code
    size: Side | tuple[Side, Side] | None = None,  # null: as the data is
    channels: Annotated[int, Field(ge=1, le=4)] | None = None,
    fit: Literal["crop", "pad", "stretch"] = "crop",
    flip: bool = False,  # left-right flips double a set of photos and ruin a set of letters
    labels: bool = True,
    balanced: bool = False,  # show every class equally often in training; samples keep the data's shares
    labelled: Count | None = None,  # rows that keep their label, chosen by the seed, as many of each class; null: all
    bad_files: Annotated[float, Field(ge=0, le=1)] = 0.01,  # share of unreadable files that is let pass
    batch: Count = 64,  # over all ranks
    micro_batch: Count | None = None,  # rows per forward and backward; null: all at once
    steps: Count = 5_000,
    seed: Annotated[int, Field(ge=0, lt=2**62)] = 0,
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto",
    channels_last: bool | None = None,  # null: where the machine is faster for it
    log_every: Count = 50,
    sample_every: Annotated[int, Field(ge=0)] = 500,  # 0: only at the end
    save_every: Annotated[int, Field(ge=0)] = 1_000,  # 0: only at the end
    standing: Annotated[int, Field(ge=0)] = 0,  # batches a saved model's batch norms are measured on; 0: as they ran
    samples: Annotated[int, Field(ge=1, le=1024)] = 64,  # fixed latents drawn on the way; of points 5,000 at least
    doctor: Annotated[int, Field(ge=0)] = 10,  # steps between the doctor's closer looks; 0: nobody watches
    autopilot: bool = False,  # let the doctor turn knobs by what it finds
) -> None:
    """The options of every recipe."""


SCHEMA: dict[str, Option] = registry._options(options)


@dataclass(frozen=True)
class Recipe:
    """A name and a checked tree; what is set is what `options` and the parts' signatures allow, defaults filled in."""

    name: str
    tree: Tree
    why: tuple[str, ...] = ()  # what `auto` decided, a line each

    def __post_init__(self) -> None:
        tree, faults = registry.check_options(SCHEMA, self.tree, "", f"recipe {self.name!r}")
        if faults:
            raise InputError(faults)
        object.__setattr__(self, "tree", tree)

    def __getitem__(self, path: str) -> Any:
        """The value at a dotted path: `recipe["players.G.lr"]`."""
        value: Any = self.tree
        for key in _route(path, self.tree):
            value = value[key]
        return value

    def override(self, *changes: str, **values: Any) -> Recipe:
        """This recipe with dotted paths changed (`"penalties.r1.gamma=4"`); all faults are reported together.

        A path that does not begin with one of the recipe's own options is looked up in its game's.
        """
        pairs: list[tuple[str, Any]] = []
        faults = []
        for change in changes:
            if not isinstance(change, str):
                raise InputError(f"a change is text, `path=value`, each an argument of its own; this is {change!r}")
            path, sign, text = change.partition("=")
            if sign:
                pairs.append((path.strip(), _value(text)))
            else:
                faults.append(f"{change!r} is not `path=value`")
        tree = _copy(self.tree)
        for path, value in [*pairs, *values.items()]:
            faults += _put(tree, path, value, self.name)
        checked, found = registry.check_options(SCHEMA, tree, "", f"recipe {self.name!r}")
        if faults + found:
            raise InputError(faults + found)
        return Recipe(self.name, checked, self.why)

    def to_yaml(self) -> str:
        return str(yaml.safe_dump(self.tree, sort_keys=False, allow_unicode=True))

    @classmethod
    def from_yaml(cls, text: str, name: str = "run") -> Recipe:
        """The recipe a YAML text spells; InputError where it is not one."""
        try:
            tree = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(tree, dict):
            raise InputError(f"{name}: a recipe is a map of options, this is {type(tree).__name__}")
        return cls(name, tree)


class About(NamedTuple):
    """What `gantlet list` says of a recipe besides its sentence."""

    family: str
    year: int
    paper: str  # authors and year, and where to find it
    use: str  # what one takes it for


def about(*, family: str, year: int, paper: str, use: str) -> Callable[[F], F]:
    """Says of a recipe where it belongs; used under `@recipe`."""

    def mark(fn: F) -> F:
        vars(fn)["about"] = About(family, year, paper, use)
        return fn

    return mark


def about_of(name: str) -> About | None:
    """What a registered recipe says of itself; None for one of the user's own that says nothing."""
    return vars(registry.recipe.find(name).fn).get("about")


def recipe(name: str, facts: Any = None) -> Recipe:
    """A registered recipe; one that looks at the data first (it takes `facts`) is given them."""
    part = registry.recipe.find(name)
    made = part.fn(facts) if part.wants else part.fn()
    if not isinstance(made, Recipe):
        raise TypeError(f"recipe {name!r} returned {type(made).__name__}, not a Recipe")
    return made


def read_yaml(path: Path) -> Mapping[str, Any]:
    """A YAML file that must be a map; InputError that names the file otherwise."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path}: a map of options is wanted, this is {type(tree).__name__}")
    return tree


def _value(text: str) -> Any:
    """The right side of an override, read as YAML (which takes `1e-3` for text: options coerce it)."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def _route(path: str, tree: Tree) -> list[str]:
    keys = path.split(".")
    inside = keys[0] not in SCHEMA and isinstance(tree.get("game"), dict) and keys[0] in tree["game"]
    return ["game", *keys] if inside else keys


ALSO = {  # what others call an option -> where it is here
    "loss": "adversarial", "batch_size": "batch", "batchsize": "batch", "generator": "G", "discriminator": "D",
    "critic": "D", "n_critic": "d_steps", "latent_dim": "G.z", "z_dim": "G.z", "nz": "G.z", "ema": "average",
    "learning_rate": "players.G.lr and players.D.lr", "optimizer": "players.G and players.D", "epochs": "steps",
    "penalty": "penalties", "trick": "tricks", "image_size": "size", "amp": "precision",
}  # fmt: skip


def _places(tree: Any, name: str, path: str = "") -> list[str]:
    """Where in the tree an option of this name stands, as one writes it."""
    found = []
    for key, value in tree.items() if isinstance(tree, dict) else ():
        here = f"{path}.{key}" if path else str(key)
        found += [here.removeprefix("game.")] * (key == name) + _places(value, name, here)
    return found


def _begun(value: Any, standing: float) -> Any:
    """A schedule that does not say where it starts starts at the number that stood there."""
    name = value if isinstance(value, str) else value.get("use") if isinstance(value, Mapping) else None
    part = registry.schedule.parts.get(name) if isinstance(name, str) else None
    if part is None or "start" not in part.options:
        return value
    return {"use": name, "start": standing, **(value if isinstance(value, Mapping) else {})}


def _joined(was: Any, given: Any) -> Any:
    """A part some of whose options are given; one that is named begins with its own defaults."""
    some = isinstance(was, dict) and isinstance(given, Mapping) and "use" not in given
    return {**was, **given} if some else given


def _put(tree: Tree, path: str, value: Any, name: str) -> list[str]:
    """Set one path in place; the faults that only its spelling can show."""
    keys = _route(path, tree)
    if keys[0] not in SCHEMA:
        known: Iterable[str] = [*SCHEMA, *(k for k in tree["game"] if k != "use")]
        there = _places(tree, keys[-1])
        way = f"it is {' and '.join(there)}" if there else nearest(keys[0], known, ALSO).rstrip("., ")
        return [f"{path}: recipe {name!r} has no option {keys[0]!r}; {way} (all of them: gantlet show {name})"]
    if keys == ["players"] and isinstance(value, Mapping):
        value = {k: _joined(tree["players"].get(k), v) for k, v in value.items()}
        value = (
            {**tree["players"], **value} if value.keys() <= tree["players"].keys() else value
        )  # the game says who plays
    if keys[0] == "players" and len(keys) == 2 and keys[1] not in tree["players"] and (there := _places(tree, keys[1])):
        return [f"{path}: no player is named {keys[1]!r}; it is {' and '.join(there)}"]
    if keys[-1] == "use" and len(keys) > 1:  # another part: it has options of its own
        keys, value = keys[:-1], {"use": value}
    inner = tree
    for i, key in enumerate(keys[:-1]):
        below = inner.get(key)
        if isinstance(below, str):  # a part written as its name alone
            below = {"use": below}
        if below is None:
            below = {}
        if not isinstance(below, dict):
            at = ".".join(keys[: i + 1])
            return [f"{path}: {at} is {below!r} and has no options"]
        inner[key] = below
        inner = below
    named = isinstance(value, str) and not _POWER.fullmatch(value)
    if isinstance(standing := inner.get(keys[-1]), int | float) and not isinstance(standing, bool):
        value = _begun(value, standing)
    if keys[-1] in inner and isinstance(inner[keys[-1]], dict) and named:
        value = {"use": value}  # another part with its own defaults
    inner[keys[-1]] = value
    return []
