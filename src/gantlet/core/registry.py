"""Parts and their options: a name finds a function, and the function's keyword-only signature is the only schema.

Positional parameters are supplied by whoever calls the part (logits, evidence, a Spec); keyword-only parameters are the
options. In a tree a part is `{"use": name, **options}`; a plural slot is an ordered map label -> part, whose label is
the part's name unless it says `use`. Checking collects every fault and answers with the full tree, defaults filled in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from gantlet.core.errors import InputError, nearest
from gantlet.core.leaves import leaf, scheduled
from gantlet.core.making import make

F = TypeVar("F", bound=Callable[..., Any])
Tree = dict[str, Any]  # JSON-able

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Slot:
    """Marks an option that holds another part (`Annotated[Any, Slot("net")]`), or an ordered map of them."""

    kind: str
    many: bool = False
    optional: bool = False


SCHEDULE = Slot("schedule")


@dataclass(frozen=True)
class Option:
    """One keyword-only parameter of a part."""

    name: str
    hint: Any
    default: Any
    slot: Slot | None


@dataclass(frozen=True)
class Part:
    """A registered function or class."""

    kind: str
    name: str
    fn: Callable[..., Any]

    @property
    def doc(self) -> str:
        """First sentence of its docstring: what it is, by which formula, from which paper."""
        return " ".join((inspect.getdoc(self.fn) or "").split("\n\n")[0].split())

    @property
    def options(self) -> dict[str, Option]:
        return _options(self.fn)

    @property
    def wants(self) -> list[str]:
        """Names of its positional parameters."""
        fn = self.fn.__init__ if inspect.isclass(self.fn) else self.fn
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [n for n, p in inspect.signature(fn).parameters.items() if p.kind in kinds and n != "self"]


@cache
def _options(fn: Callable[..., Any]) -> dict[str, Option]:
    init = fn.__init__ if inspect.isclass(fn) else fn
    hints = get_type_hints(init, include_extras=True)
    options = {}
    for name, parameter in inspect.signature(init).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            hint = hints.get(name, Any)
            options[name] = Option(name, hint, parameter.default, _slot(hint))
    return options


def _slot(hint: Any) -> Slot | None:
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((m for m in marks if isinstance(m, Slot)), None)


class Kind:
    """All parts of one kind; used as the decorator that registers one."""

    def __init__(self, name: str, about: str, plural: str) -> None:
        self.name, self.about, self.plural = name, about, plural
        self.parts: dict[str, Part] = {}
        self.also: dict[str, str] = {}  # what others call a part -> its name here
        self.makes: type | None = None  # what calling a part of this kind answers, where that is one type

    def __call__(self, fn: F, name: str | None = None) -> F:
        name = name or fn.__name__.lower().rstrip("_").replace("_", "-")
        if name in self.parts and self.parts[name].fn.__module__ != fn.__module__:
            raise InputError(f"two {self.name}s are named {name!r}: {self.parts[name].fn.__module__}, {fn.__module__}")
        if missing := sorted(getattr(fn, "__abstractmethods__", ())):
            raise InputError(f"{self.name} {name!r}: class {fn.__name__} has to define {', '.join(missing)}")
        self.parts[name] = Part(self.name, name, fn)
        return fn

    def named(self, name: str) -> Callable[[F], F]:
        """Register under another name than the function's."""
        return lambda fn: self(fn, name)

    def find(self, name: str) -> Part:
        if name not in self.parts:
            raise InputError(f"no {self.name} named {name!r}; {nearest(name, self.parts)}")
        return self.parts[name]


KINDS: dict[str, Kind] = {}


def kind(name: str, about: str, plural: str | None = None) -> Kind:
    """Declare a kind of parts."""
    return KINDS.setdefault(name, Kind(name, about, plural or f"{name}s"))


recipe = kind("recipe", "a complete training: data options, game, players, dynamics")
game = kind("game", "networks and the turns played with them")
generator = kind("generator", "latents -> samples")
critic = kind("critic", "samples -> logits")
encoder = kind("encoder", "samples -> codes")
adversarial = kind("adversarial", "a pair of losses on logits", "losses")
penalty = kind("penalty", "a term that keeps the critic smooth", "penalties")
trick = kind("trick", "a remedy around the losses that composes with every game")
dynamics = kind("dynamics", "how the players' gradients become moves", "dynamics")
optimizer = kind("optimizer", "how one player moves its weights")
schedule = kind("schedule", "a number that changes with the step")
average = kind("average", "the weights that are sampled from and saved")
feature = kind("feature", "a network whose features a distance is measured in")
metric = kind("metric", "(real, fake) -> scores")
finding = kind("finding", "what can be wrong with a training, and by what it shows")


def use(name: str, /, **options: Any) -> Tree:
    """A part by name, with options: what recipes are written in."""
    return {"use": name, **options}


# ---- checking -----------------------------------------------------------------------------------------------------


def check(kind: str, data: Any, path: str = "", default: Tree | None = None) -> tuple[Tree, list[str]]:
    """The full tree of one part and every fault found in it (each names the path, the value, the rule, the way out)."""
    if isinstance(data, str):
        data = {"use": data}
    if not isinstance(data, Mapping):
        return {}, [f"{path or kind}: {data!r} is not a {kind}; give a name, or a map with `use`"]
    name = data.get("use", default["use"] if default else None)
    if not isinstance(name, str):
        return {}, [f"{path or kind}: say which {kind} to use; {nearest('', KINDS[kind].parts)}"]
    if name not in KINDS[kind].parts:
        return {}, [
            f"{path + ': ' if path else ''}no {kind} named {name!r}; {nearest(name, KINDS[kind].parts, KINDS[kind].also)}"
        ]
    given = {k: v for k, v in data.items() if k != "use"}
    if default and "use" not in data:
        given = {**{k: v for k, v in default.items() if k != "use"}, **given}
    options, faults = check_options(KINDS[kind].parts[name].options, given, path, f"{kind} {name!r}")
    return {"use": name, **options}, faults


def check_options(known: Mapping[str, Option], given: Mapping[str, Any], path: str, of: str) -> tuple[Tree, list[str]]:
    """Every option of `known`, from `given` or its default, and every fault."""
    tree: Tree = {}
    faults = [
        f"{_join(path, name)}: {of} has no option {name!r}; {nearest(str(name), known)}"
        for name in given
        if name not in known
    ]
    for name, option in known.items():
        if name not in given and option.default is REQUIRED:
            faults.append(f"{_join(path, name)}: {of} needs this option")
            continue
        value, found = check_option(option, given.get(name, option.default), _join(path, name))
        tree[name] = value
        faults += found
    return tree, faults


def check_option(option: Option, value: Any, path: str) -> tuple[Any, list[str]]:
    """One option's checked value, and every fault in it."""
    slot = option.slot
    if slot is None:
        if scheduled(option.hint) and _is_part(value):
            tree, faults = check("schedule", value, path)
            return tree, faults or _ends(option.hint, tree, path)
        return leaf(option.hint, value, path)
    if value is None and (slot.optional or slot.many):
        return ({} if slot.many else None), []
    if not slot.many:
        default = option.default if isinstance(option.default, dict) else None
        return check(slot.kind, value, path, default)
    return _many(slot, value, path)


def _many(slot: Slot, value: Any, path: str) -> tuple[Tree, list[str]]:
    if not isinstance(value, Mapping):
        return {}, [f"{path}: {value!r} is not a map of {slot.kind} parts (label: options)"]
    tree: Tree = {}
    faults: list[str] = []
    for label, data in value.items():
        if data is None:
            continue
        tree[str(label)], found = check(slot.kind, data, _join(path, str(label)), {"use": str(label)})
        faults += found
    return tree, faults


def _ends(hint: Any, tree: Tree, path: str) -> list[str]:
    """Faults of the numbers a schedule goes between: they are held to what the option holds a number to."""
    named = [name for name in ("value", "start", "end") if name in tree]
    return [fault for name in named for fault in leaf(hint, tree[name], _join(path, name))[1]]


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, str) and value in KINDS["schedule"].parts)


def _join(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


# ---- binding ------------------------------------------------------------------------------------------------------


def bind(kind: str, tree: Tree, *, total: int | None) -> Any:
    """A checked tree as a callable that wants only its positional arguments.

    `total`: steps of the training, the value of an option `steps` that is null; a total nobody knows leaves it null.
    """
    part = KINDS[kind].find(tree["use"])
    options = {
        name: bind_option(part.options[name], value, total=total) for name, value in tree.items() if name != "use"
    }
    if options.get("steps", 0) is None:
        options["steps"] = total
    return partial(make, part, KINDS[kind].makes, **options)


def part_of(kind: str, value: Any) -> Any:
    """What a slot was given, ready to call: a bound part or an object as it is; a name or a tree is checked and bound."""
    if not isinstance(value, str | Mapping):
        return value
    tree, faults = check(kind, value)
    if faults:
        raise InputError(faults)
    return bind(kind, tree, total=None)  # it came as an object, of which no recipe says how long it is trained


def parts_of(kind: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same for an ordered map of parts; a label is the part's name unless it says `use`."""
    found = {}
    if values is not None and not isinstance(values, Mapping):
        raise InputError(f"{KINDS[kind].plural}: {values!r} is not a map; give label: options, such as {{'r1': {{}}}}")
    for label, value in (values or {}).items():
        found[label] = part_of(kind, {"use": label, **value} if isinstance(value, Mapping) else value)
    return found


def bind_option(option: Option, value: Any, *, total: int | None) -> Any:
    """An option's value with every part in it bound."""
    slot = option.slot
    if slot is None:
        is_schedule = isinstance(value, dict) and "use" in value and scheduled(option.hint)
        return bind("schedule", value, total=total) if is_schedule else value
    if value is None:
        return None
    if slot.many:
        return {label: bind(slot.kind, tree, total=total) for label, tree in value.items()}
    return bind(slot.kind, value, total=total)
