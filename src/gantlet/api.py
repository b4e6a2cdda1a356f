"""What users call from code; the command line calls the same functions."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import gantlet.augment
import gantlet.core.schedules
import gantlet.dynamics
import gantlet.games
import gantlet.losses
import gantlet.metrics
import gantlet.nets
import gantlet.recipes
import gantlet.tricks  # noqa: F401 (importing a part registers it)
from gantlet.core import registry
from gantlet.core.errors import InputError, nearest
from gantlet.core.game import Game, Spec
from gantlet.core.machine import Ranks, pick_device
from gantlet.core.recipe import Recipe, read_yaml
from gantlet.core.recipe import recipe as _recipe
from gantlet.core.registry import use
from gantlet.core.train import Watch
from gantlet.data import Dataset, open_source
from gantlet.data.columns import columns_of
from gantlet.data.source import KNOWN, split_of
from gantlet.doctor import Diagnosis
from gantlet.metrics import EvaluationReport
from gantlet.recipes.auto import facts_of
from gantlet.runs import model as models
from gantlet.runs import transfer
from gantlet.runs.build import decide, seconds_per_step
from gantlet.runs.doctoring import diagnosis_of
from gantlet.runs.folder import RunFolder, recipe_of
from gantlet.runs.model import Model
from gantlet.runs.session import Outcome, Session
from gantlet.runs.show import Quiet, Show

Source = str | Path | Tensor | Dataset


def recipe(name: str, *changes: str, **values: Any) -> Recipe:
    """A registered recipe with changes: `recipe("dcgan", "players.G.lr=1e-4", batch=32)`."""
    return _recipe(name).override(*changes, **values)


def train(
    what: str | Path | Recipe | Game,
    *changes: str,
    data: Source | None = None,
    out: str | Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    until: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    resume: bool = False,
    watch: Sequence[Watch] = (),
    show: Show | None = None,
    players: Mapping[str, Any] | None = None,
    start: str | Path | None = None,
    **values: Any,
) -> Outcome:
    """Train a recipe (by name, from a run.yaml, or an object) or your own Game; `.path` of the result is the run folder.

    `changes` are dotted paths (`"penalties.r1.gamma=4"`); `values` are top-level options (`batch=32`). `players` gives
    each player of a Game its optimiser; Adam without it. With `resume` the run in `out` (or the run.yaml named) goes on.
    `start` names other weights to begin from (a run, a saved model, a Hub id): what fits by name and shape is loaded.
    `until="converged"` ends training by the doctor's rule before the last step.
    Raises InputError for what was asked wrongly, NonFiniteError and StateError for what failed.
    """
    show = show or Quiet()
    given = {**values, **{k: v for k, v in {"steps": steps, "seed": seed}.items() if v is not None}}
    if players is not None:
        given["players"] = dict(players)
    game = what if isinstance(what, Game) else None
    if isinstance(what, type):
        raise InputError(f"{what.__name__} is a class; give an object of it: {what.__name__}(...)")
    if resume and start is not None:
        raise InputError("resume: a run goes on with its own weights; leave --from (start=) out, or begin another run")
    if resume:
        session = _resumed(what, game, changes, given, data=data, out=out, device=device, show=show)
    else:
        session = _begun(what, game, changes, given, data=data, out=out, device=device, show=show, start=start)
    return session.run(minutes=minutes, until=until, watch=watch)


def _begun(
    what: Any, game: Game | None, changes: Sequence[str], values: dict[str, Any], *,
    data: Source | None, out: str | Path | None, device: str | None, show: Show, start: str | Path | None,
) -> Session:  # fmt: skip
    place = pick_device(device)
    ranks = Ranks.join(place)
    start = start if start is not None else _repeated(what)
    base = base_recipe(what) if game is None else Recipe(type(game).__name__.lower(), _code_tree(game))
    wanted = base.override(*changes, **values)
    folder = _new_folder(out, wanted.name, ranks)
    if isinstance(what, str | Path) and str(what) not in registry.recipe.parts and ranks.first:
        show.say(
            f"a new run in {folder.path} with the settings of {what}; to go on with a run, add --resume (resume=True)"
        )
    dataset = ranks.first_alone(lambda: opened(wanted, data, show.say))
    for warning in _scales(dataset) if ranks.first else []:
        show.warn(f"data: {warning}")
    if base.name == "auto" and not base.why:  # a run.yaml of `auto` has been decided
        wanted, dataset = auto_for(dataset, place, *changes, data=data, ranks=ranks, say=show.say, **values)
    wanted = wanted.override(data=_named(data, wanted))
    if wanted.why:
        show.say("auto:\n" + "\n".join(f"  {line}" for line in wanted.why))
    said = [*changes, *(f"{k}={v}" for k, v in values.items())]
    if start is None:
        return Session.new(wanted, dataset, folder, device=place, show=show, game=game, changes=said)
    return transfer.begun(start, wanted, dataset, folder, device=place, show=show, game=game, changes=said)


def _scales(dataset: Dataset) -> list[str]:
    """What is wrong with the columns of points, before anything is trained on them."""
    points = len(dataset.spec.shape) == 1
    return columns_of(lambda i: dataset.read(torch.from_numpy(i)).numpy(), len(dataset)).warnings() if points else []


def _new_folder(out: str | Path | None, recipe: str, ranks: Ranks) -> RunFolder:
    """Where the run goes; several ranks must be told, or each would choose."""
    if ranks.world > 1 and out is None:
        raise InputError(f"{ranks.world} ranks train together: name the run's folder with --out")
    return RunFolder.new(out, recipe) if ranks.first else RunFolder(str(out))


def _resumed(
    what: Any, game: Game | None, changes: Sequence[str], values: dict[str, Any], *,
    data: Source | None, out: str | Path | None, device: str | None, show: Show,
) -> Session:  # fmt: skip
    where = out if out is not None else what
    if not isinstance(where, str | Path):
        raise InputError("resume: name the run's folder with out=")
    folder = RunFolder.existing(where)
    was = folder.recipe()
    wanted = was.override(*changes, **values)
    for path, (before, after) in changed(was.tree, wanted.tree).items():
        show.say(f"changed: {path} {before} -> {after}")
    began_on = torch.device((folder.read().get("decided") or {}).get("device", "cpu"))
    place = pick_device(device or began_on.type)
    ranks = Ranks.join(place)
    dataset = ranks.first_alone(lambda: opened(wanted, data, show.say))
    return Session.resume(wanted, dataset, folder, show=show, device=place, game=game)


def _repeated(what: Any) -> str | None:
    """The weights that a run which is repeated from its run.yaml started from."""
    if not isinstance(what, str | Path) or str(what) in registry.recipe.parts:
        return None
    file = RunFolder(what).yaml if Path(what).is_dir() else Path(what)
    return transfer.repeated(read_yaml(file)) if file.suffix in (".yaml", ".yml") and file.is_file() else None


def base_recipe(what: Any) -> Recipe:
    """The recipe that was named, as a file or by name, or given."""
    if isinstance(what, Recipe):
        return what
    if str(what) in registry.recipe.parts:  # also when a folder is called so
        return _recipe(str(what))
    path = Path(what)
    if path.suffix in (".yaml", ".yml") or path.is_dir():
        folder = RunFolder(path)
        file = folder.yaml if path.is_dir() else path
        if not file.is_file():
            raise InputError(f"{file}: there is no such file; name a recipe (gantlet list) or a run's run.yaml")
        return recipe_of(dict(read_yaml(file)), file)
    return _recipe(str(what))


MOST_MINUTES = 60  # what `auto` asks for when nobody says how many steps


def auto_for(
    dataset: Dataset, device: torch.device, *changes: str, data: Source | None = None, duplicates: int = 0,
    ranks: Ranks | None = None, say: Callable[[str], None] | None = None, unasked: Sequence[str] = (), **values: Any,
) -> tuple[Recipe, Dataset]:  # fmt: skip
    """What `auto` chooses for this data on this machine, and the data as it wants it; `.why` says it in lines.

    `unasked` are changes that nobody asked for, which `.why` leaves out.
    """
    asked = _recipe("auto").override(*unasked, *changes, **values)
    source = asked["data"] if data is None else data
    free = asked["size"] is None and isinstance(source, str | Path)  # may it choose another size?
    facts = facts_of(dataset.spec, device, duplicates=duplicates, resizable=free)
    chosen = _recipe("auto", facts).override(*unasked, *changes, **values)
    why = list(chosen.why)
    if changes or values:
        why.append(f"and as you asked: {', '.join([*changes, *(f'{k}={v}' for k, v in values.items())])}")
    if free and chosen["size"] is not None:
        dataset = opened(chosen, source, say or (lambda text: None))
    step = seconds_per_step(chosen, dataset, decide(chosen, device))
    if ranks is not None:  # one machine's clocks differ; the number of steps must not
        step = float(ranks.mean([torch.tensor(step, device=device)])[0])
    most = max(100, int(MOST_MINUTES * 60 / step) // 100 * 100)
    told = "steps" in values or any(change.startswith("steps=") for change in changes)
    if not told and most < chosen["steps"]:
        chosen = chosen.override(steps=most)
        why.append(f"{most:,} of those steps: what fits into {MOST_MINUTES} minutes here")
    minutes = step * chosen["steps"] / 60
    said = f"about {minutes:.0f} minutes" if minutes < 100 else f"about {minutes / 60:.1f} hours"
    why.append(
        f"{said if minutes > 1.5 else 'a minute or less'} for {chosen['steps']:,} steps, {1e3 * step:.0f} ms each"
    )
    return replace(chosen, why=tuple(why)), dataset


def _code_tree(game: Game) -> dict[str, Any]:
    name = f"{type(game).__module__}.{type(game).__qualname__}"
    return {"game": use("code", name=name), "players": {player: use("adam") for player in game.owns()}}


def _named(data: Source | None, wanted: Recipe) -> str | None:
    """What run.yaml says of the data: a SOURCE that is found from any folder, or nothing for data from code."""
    source = wanted["data"] if data is None else data
    if not isinstance(source, str | Path):
        return None
    base, split = split_of(str(source))
    if base in KNOWN or not Path(base).exists():
        return str(source)
    return f"{Path(base).resolve()}{f'#{split}' if split else ''}"


def opened(wanted: Recipe, data: Source | None, say: Callable[[str], None]) -> Dataset:
    """The recipe's data set, or another one, prepared as the recipe says."""
    source = wanted["data"] if data is None else data
    if source is None:
        raise InputError("this run's data came from code; give it again with data=...")
    size = wanted["size"]
    return open_source(
        source,
        size=tuple(size) if isinstance(size, list) else size,
        channels=wanted["channels"],
        labels=wanted["labels"],
        bad_files=wanted["bad_files"],
        fit=wanted["fit"],
        say=say,
    )


def changed(before: Any, after: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted paths at which two trees differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in {**before, **after}:
            found |= changed(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        return found
    return {} if before == after else {path: (before, after)}


def load(path: str | Path, *, device: str | None = None, game: Game | None = None) -> Model:
    """A run, a saved model, or a Hub id (`owner/name`): something to sample from."""
    folder = Path(path)
    if (folder / "run.yaml").is_file() and not (folder / "model").is_dir():
        raise InputError(f"{folder}: this run has no model yet; it is written when training ends or is interrupted")
    if (folder / "model").is_dir():
        folder = folder / "model"
    if not folder.exists():
        folder = models.from_hub(str(path))
    return models.load(folder, device=device, game=game)


def save_pretrained(path: str | Path, folder: str | Path) -> Path:
    """The model of a run as a folder of its own: model.safetensors, config.json, README.md."""
    return load(path).save_pretrained(folder)


def create(net: str, spec: Spec, *, kind: str = "generator", **options: Any) -> nn.Module:
    """A registered network for this data: `create("dcgan", Spec((3, 64, 64)), kind="critic", width=32)`."""
    tree, faults = registry.check(kind, use(net, **options))
    if faults:
        raise InputError(faults)
    made: nn.Module = registry.bind(kind, tree, total=1)(spec)
    return made


def evaluate(
    real: Any, fake: Any = None, *, features: Any = None, metrics: Any = None, n: int | None = None,
    seeds: int | None = None, device: str | None = None, say: Callable[[str], None] | None = None, **options: Any,
) -> EvaluationReport:  # fmt: skip
    """Scores of fakes against reals, each with its interval, its floor and the protocol that made it.

    Both are a SOURCE, a data set or a tensor; `fake` may also be a run, a saved model or a Hub id. A run alone,
    `evaluate(run)`, is judged by the data it was trained on. Features and metrics are chosen by the data where none are
    named; `n` samples a set, `seeds` sets of a generator. Further options: weights ("averaged", "best"), truncation,
    reference (rows of the real set at most), seed, intervals, classifier, batch, and how images are opened (size,
    channels, fit, bad_files).
    """
    from gantlet.runs.evaluation import HOW, OPTIONS, Wanted, measured

    if fake is None:
        real, fake = None, real
    known = {*OPTIONS, *HOW, "weights", "reference", "batch", "truncation"}
    faults = [f"evaluate has no option {name!r}; {nearest(name, known)}" for name in options if name not in known]
    if faults:
        raise InputError(faults)
    parts: list[dict[str, Any]] = [
        {k: v for k, v in options.items() if k in names} for names in (OPTIONS, HOW, known - {*OPTIONS, *HOW})
    ]
    wanted = Wanted(features=features, metrics=metrics, n=n, seeds=seeds, device=device, options=parts[0], how=parts[1],
                    **parts[2])  # fmt: skip
    return measured(real, fake, wanted, say or (lambda text: None))


def diagnose(run: str | Path) -> Diagnosis:
    """What is wrong with a run, why, and what to do, by the vitals it wrote; InputError where it wrote none."""
    return diagnosis_of(RunFolder.existing(run))


def plug_in(modules: Sequence[str]) -> None:
    """Import modules that register parts (`--with your_module`), also from the current folder."""
    here = str(Path.cwd())
    if modules and here not in sys.path:
        sys.path.insert(0, here)
    for name in modules:
        try:
            importlib.import_module(name)
        except InputError as error:
            raise InputError([f"--with {name}: {fault}" for fault in error.faults]) from error
        except Exception as error:  # whatever a user's module raises is the user's to mend
            raise InputError(f"--with {name}: {type(error).__name__}: {error}") from error
