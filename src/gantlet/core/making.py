"""What a part has to take and to make, and whose code an error comes from: what is said of a user's own parts."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantlet.core.errors import InputError

if TYPE_CHECKING:  # the registry comes without torch, so that help does
    from torch import Tensor

    from gantlet.core.registry import Part


def make(part: Part, makes: type | None, /, *given: Any, **options: Any) -> Any:
    """Call a part; InputError where it does not take what it is given, or makes something else than its kind's.

    Our own parts are held to that by tests, so only a user's are looked at.
    """
    if part.fn.__module__.partition(".")[0] == "gantlet":
        return part.fn(*given, **options)
    who = f"{part.kind} {part.name!r} ({place(part.fn)})"
    takes(part.fn, len(given), who, options)
    made = part.fn(*given, **options)
    if makes is None:
        return made
    if not isinstance(made, makes):
        raise InputError(f"{who} made {said(made)}; it has to return {_a(makes.__name__)}")
    if hasattr(makes, "named_modules") and "_modules" not in vars(made):  # nn.Module's own __init__ makes it
        raise InputError(f"{who}: __init__ has to call super().__init__() first")
    return made


def takes(fn: Callable[..., Any], count: int, who: str, options: Iterable[str] | None = None) -> None:
    """InputError where a callable cannot be called with so many positional arguments, and with these options by name."""
    try:
        inspect.signature(fn).bind(*[None] * count, **dict.fromkeys(options or ()))
    except TypeError as error:
        many = f"{count} argument{'' if count == 1 else 's'} by position"
        rest = "" if options is None else ", and its options by name (after *)"
        raise InputError(f"{who} has to take {many}{rest}: {error}") from error
    except ValueError:  # a callable that has no signature to look at
        return


def hooks(thing: Any, base: type, who: str) -> None:
    """InputError where a method that overrides one of `base` does not take as many arguments."""
    for name, method in vars(base).items():
        own = getattr(type(thing), name, None)
        if name.startswith("_") or own is method or not inspect.isfunction(method):
            continue
        wanted = [p.name for p in inspect.signature(method).parameters.values()][1:]
        if not callable(own):
            raise InputError(f"{who}: {name} is not a method; it is called as {name}({', '.join(wanted)})")
        takes(getattr(thing, name), len(wanted), f"{who}: {name}({', '.join(wanted)})")


def one_number(value: Any, who: str) -> Tensor:
    """The value; InputError where it is not a tensor of one number."""
    from torch import Tensor

    if not isinstance(value, Tensor):
        raise InputError(f"{who} gave {said(value)}; a tensor of one number is wanted")
    if value.dim():
        raise InputError(f"{who} gave a tensor of shape {list(value.shape)}; one number is wanted, such as its .mean()")
    return value


def said(value: Any) -> str:
    """A value in a few words."""
    if value is None:
        return "nothing (None)"
    if hasattr(value, "requires_grad_"):
        return f"a tensor of shape {list(value.shape)}"
    return f"{_a(type(value).__name__)}"


def _a(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def place(fn: Callable[..., Any]) -> str:
    """file:line of a function or class, as short as it can be said."""
    try:
        file, line = inspect.getsourcefile(fn), inspect.getsourcelines(fn)[1]
    except (OSError, TypeError):
        return fn.__module__
    return f"{_short(str(file))}:{line}"


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def blamed(error: BaseException, parts: Iterable[Part]) -> str | None:
    """`mine.py:18, in g: TypeError: ...` where an error comes out of a module that registered parts; None: it is ours."""
    modules = {part.fn.__module__ for part in parts} - {"__main__"}
    files = {m.__file__ for n in modules if (m := sys.modules.get(n)) and n.partition(".")[0] != "gantlet"}
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    if not theirs:
        return None
    last = theirs[-1]
    return f"{_short(last.filename)}:{last.lineno}, in {last.name}: {type(error).__name__}: {error}"
