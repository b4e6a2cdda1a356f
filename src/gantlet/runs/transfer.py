"""Transfer: a training that starts from other weights (Wang et al. 2018, "Transferring GANs")."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gantlet.core.errors import InputError, StateError
from gantlet.core.game import Game
from gantlet.core.machine import Ranks
from gantlet.core.recipe import Recipe
from gantlet.data import Dataset
from gantlet.games.labels import Labelled
from gantlet.runs import checkpoint
from gantlet.runs import model as models
from gantlet.runs.build import new_game, spec_of
from gantlet.runs.class_names import Order, by_class, order_of
from gantlet.runs.folder import RunFolder
from gantlet.runs.session import Session
from gantlet.runs.show import Show

SAID = 8  # lines of each kind in the terminal; run.yaml names all
LEAST = 0.01  # of one player's weights at least: a few biases that happen to be as long are no start
# what games and tricks wrap a network in: G is `net` where it is told the class, D `critic` where it answers more
WRAPPERS = {"net", "critic", "layer"}

Say = Callable[[str], None]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Start:
    """Weights to start from."""

    name: str  # as it is found again from any folder
    made_of: dict[str, dict[str, Tensor]]  # what generates, by the names the game gives its parts
    others: dict[str, Tensor]  # all that a state holds of its game, critics included; empty for a saved model
    facts: dict[str, Any]
    class_names: tuple[str, ...] = ()  # of what it was trained on; () where it does not say

    @property
    def digest(self) -> str:
        """sha256 of every tensor by name: are these the same weights?"""
        found = hashlib.sha256()
        tensors = {f"{part}.{k}": t for part, inner in self.made_of.items() for k, t in inner.items()} | self.others
        for name, t in sorted(tensors.items()):
            found.update(f"{name} {t.dtype} {list(t.shape)}\n".encode())
            found.update(t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return found.hexdigest()


def opened(start: str | Path, say: Say) -> Start:
    """The weights of a run (its last good state: averaged generator, live critics), a saved model or a Hub id."""
    path = Path(start)
    path = path.parent if path.name == "run.yaml" else path
    folder = RunFolder(path)
    if checkpoint.states(folder.state):
        return _of_state(folder, say)
    if folder.yaml.is_file() and not folder.model.is_dir():
        raise InputError(f"{path}: this run has saved nothing yet; start from another, or wait until it has")
    place = folder.model if folder.model.is_dir() else path
    if not place.exists():
        return _of_model(models.from_hub(str(start)), str(start))
    return _of_model(place, str(place.resolve()))


def _of_state(folder: RunFolder, say: Say) -> Start:
    record, path = checkpoint.load(folder.state, say)
    averages: dict[str, Any] = next(iter(record["averages"].values()), {})
    said = folder.read()
    facts = {"kind": "state", "step": record["now"]["step"], "recipe": said.get("recipe"), "state": path.name}
    made_of = {part: dict(tensors) for part, tensors in averages.items()}
    names = (said.get("data") or {}).get("class_names") or models.told(folder.model).get("class_names")
    return Start(str(folder.path.resolve()), made_of, dict(record["game"]), facts, tuple(map(str, names or ())))


def _of_model(folder: Path, name: str) -> Start:
    config = models.told(folder)
    try:
        tensors = safetensors.torch.load_file(folder / models.WEIGHTS)
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds neither a run nor a model; name a run, a saved model or a Hub id") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise StateError(f"{folder}: the model cannot be read: {error}") from error
    made_of: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        part, _, inner = key.partition(".")
        made_of.setdefault(part, {})[inner] = tensor
    facts = {"kind": "model", **{k: config.get(k) for k in ("step", "recipe", "data")}}
    return Start(name, made_of, {}, facts, tuple(map(str, config.get("class_names") or ())))


@dataclass(frozen=True)
class Fit:
    """What of a start went where, by full names in the game."""

    loaded: dict[str, str]  # mine -> theirs
    misfits: list[tuple[str, list[int], list[int]]]  # name, shape there, shape here
    fresh: list[str]  # here alone: as initialised
    unused: list[str]  # there alone
    share: dict[str, float]  # of each player's weights, by number, that was loaded


def load(game: Game, start: str | Path, say: Say, class_names: Sequence[str] = ()) -> dict[str, Any]:
    """Load what fits by name and shape into what the game is made of and its critics; the facts for run.yaml.

    What is of classes goes by the classes' names. Says exactly what was loaded and what did not fit. InputError where
    next to nothing fits.
    """
    source = opened(start, say)
    mine = _networks(game, source)
    fit = _fit(game, source, mine)
    if max(fit.share.values(), default=0.0) < LEAST:
        examples = "; ".join(f"{name}: {there} there, {here} here" for name, there, here in fit.misfits[:3])
        raise InputError(
            f"--from {start}: less than {100 * LEAST:g} % of each player's weights fits this game by name and shape"
            f"{f' ({examples})' if examples else ''}; use the recipe and the sizes it was trained with, or leave --from out"
        )
    order, dims = _order(game, source, class_names)
    dims = {name: dim for name, dim in dims.items() if name in fit.loaded}
    _copy(fit, mine, _theirs(game, source), order, dims)
    said = ", ".join(f"{100 * share:.3g} % of {player}" for player, share in fit.share.items())
    count = sum(mine[name].numel() > 1 for name in fit.loaded)  # a counter is no weight
    say(f"from {source.name}: {count} tensors loaded, {said}")
    classes = _say_classes(say, game, fit, mine, order, dims, class_names)
    _list(say, "did not fit", [f"{name}: {there} there, {here} here" for name, there, here in fit.misfits])
    _list(say, "not there, so as initialised", fit.fresh)
    _list(say, "not used", fit.unused)
    for label in _growing(game):
        say(f"tricks.{label}: what grows begins at its smallest again, whatever was loaded; leave the trick out "
            f"(tricks.{label}=null) to go on at full size")  # fmt: skip
    return {
        "from": source.name,
        **source.facts,
        "sha256": source.digest,
        "loaded": count,
        "share": {player: round(share, 6) for player, share in fit.share.items()},
        **({"classes": classes} if classes else {}),
        "misfits": [{"name": name, "there": there, "here": here} for name, there, here in fit.misfits],
        "fresh": fit.fresh,
        "unused": fit.unused,
    }


def _order(game: Game, source: Start, class_names: Sequence[str]) -> tuple[Order | None, dict[str, int]]:
    """How classes are numbered there, and the weights that count them; None where that is not known."""
    if not game.labelled or not class_names:
        return None, {}
    return order_of(class_names, source.class_names), by_class(game, len(class_names))


@torch.no_grad()
def _copy(fit: Fit, mine: Tensors, theirs: Tensors, order: Order | None, dims: Mapping[str, int]) -> None:
    for name, other in fit.loaded.items():
        moved = order is not None and name in dims
        mine[name].copy_(order.of(theirs[other], dims[name]) if order and moved else theirs[other])


def _say_classes(
    say: Say, game: Game, fit: Fit, mine: Tensors, order: Order | None, dims: Mapping[str, int], names: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    """What became of classes that are numbered otherwise there; facts for run.yaml, none where nothing did."""
    if order is None:
        if dims:
            say("CLASSES WERE TAKEN BY NUMBER: their names there are not known, or are of another number of classes")
        return {"by": "number", "tensors": sorted(dims)} if dims else {}
    if order.same and not order.stands_in:
        return {}
    rest = [n for n in fit.loaded if n not in dims and len(names) in mine[n].shape[:2] and n not in _of_data(game)]
    if dims:
        say(f"classes are numbered otherwise there: {len(dims)} tensors were loaded by the classes' names")
    _list(say, "of classes that are not there", [f"{new} starts as {old}" for new, old in order.stands_in.items()])
    if not order.same:
        _list(
            say, f"MAY COUNT CLASSES TOO ({len(names)} of something) AND WERE LOADED AS THEY ARE NUMBERED THERE", rest
        )
    return {"by": "name", "tensors": sorted(dims), "stand_ins": order.stands_in, "perhaps_by_number": rest}


def _growing(game: Game) -> list[str]:
    """Tricks that grow networks with the images seen."""
    tricks = getattr(getattr(game, "arena", None), "tricks", {})
    return [label for label, trick in tricks.items() if getattr(trick, "grown", None)]


def begun(
    start: str | Path, recipe: Recipe, dataset: Dataset, folder: RunFolder, *, device: torch.device, show: Show,
    game: Game | None, changes: Sequence[str],
) -> Session:  # fmt: skip
    """A run whose networks start from other weights, averages too; saved at once, so that a resume finds them there."""
    if game is None:
        game = new_game(recipe, spec_of(recipe, dataset), steps=recipe["steps"])
    mine, ranks = game, Ranks.join(device)
    say: Say = show.say if ranks.first else lambda text: None
    facts = ranks.first_alone(lambda: load(mine, start, say, dataset.class_names))
    session = Session.new(recipe, dataset, folder, device=device, show=show, game=game, changes=changes)
    if ranks.first:
        folder.write({**folder.read(), "start": facts})
    session.save()
    return session


def repeated(facts: Mapping[str, Any]) -> str | None:
    """What the run that a run.yaml tells of started from; None where it began anew."""
    start = facts.get("start")
    return str(start["from"]) if isinstance(start, dict) and "from" in start else None


def _list(say: Say, what: str, lines: list[str]) -> None:
    if lines:
        more = [f"and {len(lines) - SAID} more, all in run.yaml"] if len(lines) > SAID else []
        say(f"{what}:\n" + "\n".join(f"  {line}" for line in [*lines[:SAID], *more]))


def _parts(game: Game) -> dict[str, str]:
    """What generates -> its name in the game."""
    named = {id(module): name for name, module in game.named_modules()}
    return {part: named[id(module)] for part, module in game.made_of().items() if id(module) in named}


def _theirs(game: Game, source: Start) -> dict[str, Tensor]:
    """All that a start holds, what generates by the names it has here."""
    parts, theirs = _parts(game), dict(source.others)
    for part, tensors in source.made_of.items():
        theirs |= {f"{parts.get(part, part)}.{key}": t for key, t in tensors.items()}
    return theirs


def _fit(game: Game, source: Start, mine: Tensors) -> Fit:
    theirs = _theirs(game, source)
    pairs = _pairs(mine, theirs)
    loaded = {name: other for name, other in pairs.items() if mine[name].shape == theirs[other].shape}
    used = {*pairs.values(), *_of_data(game)}
    roots = tuple({name.split(".")[0] for name in mine})
    return Fit(
        loaded=loaded,
        misfits=[(n, list(theirs[o].shape), list(mine[n].shape)) for n, o in pairs.items() if n not in loaded],
        fresh=[name for name in mine if name not in pairs],
        unused=[name for name in theirs if name not in used and name.startswith(roots)],
        share=_share(game, mine, set(loaded)),
    )


def _networks(game: Game, source: Start) -> dict[str, Tensor]:
    """Every weight and buffer of what players move and what generates, by full name; not what is of the data.

    A saved model has no critics: it is no news that theirs are not there.
    """
    named = {id(module): name for name, module in game.named_modules()}
    modules = [*game.made_of().values(), *(m for modules in game.owns().values() for m in modules)]
    roots = tuple(f"{named[id(m)]}." for m in modules if id(m) in named)
    if not source.others:
        roots = tuple(f"{name}." for name in _parts(game).values())
    of_data = _of_data(game)
    return {k: t for k, t in game.state_dict().items() if k.startswith(roots) and k not in of_data}


def _of_data(game: Game) -> set[str]:
    """The shares of the classes: those of this training's data."""
    return {f"{name}.edges" for name, m in game.named_modules() if isinstance(m, Labelled)}


def _pairs(mine: Tensors, theirs: Tensors) -> dict[str, str]:
    """My names with theirs: the same, or the same but for what networks are wrapped in."""
    found = {name: name for name in mine if name in theirs}
    free = [name for name in theirs if name not in found]
    plain = _alone(free)
    for bare, name in _alone([name for name in mine if name not in found]).items():
        if bare in plain:
            found[name] = plain[bare]
    return found


def _alone(names: list[str]) -> dict[str, str]:
    """Names without their wrappers -> names, where that is no other's too."""
    bare = {name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in names}
    count = Counter(bare.values())
    return {plain: name for name, plain in bare.items() if count[plain] == 1}


def _share(game: Game, mine: Tensors, loaded: set[str]) -> dict[str, float]:
    """Of the numbers in each player's weights, how many were loaded; of players that could have been.

    A lone number fits any other: it counts for nothing.
    """
    names = {id(p): name for name, p in game.named_parameters(remove_duplicate=False) if name in mine}
    found = {}
    for player, modules in game.owns().items():
        weights: list[nn.Parameter] = [p for m in modules for p in m.parameters() if id(p) in names and p.numel() > 1]
        total = sum(p.numel() for p in weights)
        if total:
            found[player] = sum(p.numel() for p in weights if names[id(p)] in loaded) / total
    return found
