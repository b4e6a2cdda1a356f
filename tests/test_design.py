"""docs/design.md, enforced: layering, cycles, ladders, lengths, depth, lightness of imports, no machine paths."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "gantlet"
FILES = sorted(PACKAGE.rglob("*.py"))
# a folder imports only from folders before it (design.md, section 3)
LAYERS = ["core", "dynamics", "losses", "nets", "augment", "tricks", "data", "games", "metrics", "doctor", "explore"]
LAYERS += ["runs", "tasks", "recipes", "export", "serve", "studio", "api", "cli"]
HEAVY = {"torch", "torchvision", "numpy", "safetensors", "PIL", "datasets", "pyarrow"}
MAX_FILE, MAX_FUNCTION, MAX_DEPTH, MAX_LADDER = 330, 60, 4, 2

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
SOURCES = dict(zip(TREES, FILES))
each_module = pytest.mark.parametrize("module", TREES)


def imported(tree: ast.AST, *, lazy: bool = True) -> Iterator[tuple[str, int]]:
    """Modules named by imports, with their line; without `lazy`, only those that run on import."""
    for node in ast.walk(tree) if lazy else eager(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            assert node.module is not None
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name if name in TREES else node.module, node.lineno) for name in inner)


def eager(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: not in functions, not under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.Lambda) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ):
            continue
        yield node
        yield from eager(node)


def layer(module: str) -> int | None:
    """Where a module stands; None for the package's own front."""
    parts = module.split(".")
    return LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in LAYERS else None


def functions(tree: ast.AST) -> list[Function]:
    return [n for n in ast.walk(tree) if isinstance(n, Function)]


# ---- layering -----------------------------------------------------------------------------------------------------


def test_every_folder_has_its_place() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert folders <= set(LAYERS)
    assert {p.stem for p in PACKAGE.glob("*.py")} <= {"__init__", "__main__", "api"}


@each_module
def test_a_folder_imports_only_from_folders_above(module: str) -> None:
    here = layer(module)
    if here is None:
        return
    own = [(name, line) for name, line in imported(TREES[module]) if name.split(".")[0] == "gantlet"]
    below = [(n, line) for n, line in own if (there := layer(n)) is not None and there > here]
    assert below == []


def test_there_are_no_import_cycles() -> None:
    """Not even through imports inside functions' bodies at import time; types may point back."""
    graph = {m: {n for n, _ in imported(t, lazy=False) if n in TREES and n != m} for m, t in TREES.items()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())
    assert done == set(TREES)


@pytest.mark.parametrize(
    "module", [m for m in TREES if m.startswith("gantlet.cli") or m in ("gantlet", "gantlet.__main__")]
)
def test_the_front_imports_what_is_heavy_only_inside_functions(module: str) -> None:
    heavy = [(n, line) for n, line in imported(TREES[module], lazy=False) if n.split(".")[0] in HEAVY]
    assert heavy == []


def loads_torch(code: str) -> bool:
    report = f"import sys\n{code}\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, cwd=ROOT / "src", timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1] == "True"


def test_importing_the_package_is_light() -> None:
    assert not loads_torch("import gantlet")
    assert loads_torch("sys.modules['torch'] = sys")  # the probe works


@pytest.mark.skipif(
    "main" not in (PACKAGE / "cli" / "__init__.py").read_text(encoding="utf-8"), reason="no command line yet"
)
def test_asking_for_help_is_light() -> None:
    assert not loads_torch(
        "from gantlet.cli import main\ntry: main(['--help'])\nexcept SystemExit as e: assert not e.code"
    )


# ---- style --------------------------------------------------------------------------------------------------------


def ladder(node: ast.If) -> list[str]:
    """The name each branch of an if/elif chain compares to a text."""
    names = []
    test = node.test
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        sides = [test.left, test.comparators[0]]
        if any(isinstance(s, ast.Constant) and isinstance(s.value, str) for s in sides):
            names = [ast.dump(s) for s in sides if not isinstance(s, ast.Constant)]
    rest = node.orelse
    return names + (ladder(rest[0]) if len(rest) == 1 and isinstance(rest[0], ast.If) else [])


def ladders(tree: ast.AST) -> Iterator[int]:
    """Lines where one name is compared with three texts: in a chain, or in ifs one after another."""
    for node in ast.walk(tree):
        bodies = [getattr(node, f, None) for f in ("body", "orelse")]
        for body in (b for b in bodies if isinstance(b, list)):
            names = [n for statement in body if isinstance(statement, ast.If) for n in ladder(statement)]
            if any(names.count(n) > MAX_LADDER for n in names):
                yield next(s.lineno for s in body if isinstance(s, ast.If))
        if isinstance(node, ast.Match):
            texts = [c for c in node.cases if isinstance(c.pattern, ast.MatchValue)]
            if sum(isinstance(c.pattern.value, ast.Constant) for c in texts) > MAX_LADDER:
                yield node.lineno


@each_module
def test_nobody_branches_on_names(module: str) -> None:
    """Three comparisons of one name with texts are a table that was not written."""
    assert list(ladders(TREES[module])) == []


def test_the_probe_for_ladders_works() -> None:
    chain = "if a == 'x': 1\nelif a == 'y': 2\nelif a == 'z': 3"
    row = "def f(a):\n if a == 'x': return 1\n if 'y' == a: return 2\n if a == 'z': return 3"
    two = "if a == 'x': 1\nelif a == 'y': 2\nelif b == 'z': 3"
    case = "match a:\n case 'x': 1\n case 'y': 2\n case 'z': 3"
    assert [bool(list(ladders(ast.parse(code)))) for code in (chain, row, case, two)] == [True, True, True, False]


@each_module
def test_no_error_is_swallowed(module: str) -> None:
    """No bare except, no `except Exception` that neither raises nor says anything."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            silent = all(isinstance(s, ast.Pass | ast.Continue | ast.Break) for s in node.body)
            assert not (broad and silent), f"{module}:{node.lineno}"
            assert node.type is not None, f"{module}:{node.lineno}: bare except"


@each_module
def test_files_and_functions_are_short(module: str) -> None:
    assert len(SOURCES[module].read_text(encoding="utf-8").splitlines()) <= MAX_FILE
    long = [
        (f.name, f.end_lineno - f.lineno)
        for f in functions(TREES[module])
        if (f.end_lineno or 0) - f.lineno >= MAX_FUNCTION
    ]
    assert long == []


def depth(node: ast.AST) -> int:
    """How many blocks are open at the deepest statement of a function's own body."""
    blocks = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.AsyncFor, ast.AsyncWith, ast.Match)
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.Lambda | ast.ClassDef):
            continue
        elif_ = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child) + (isinstance(child, blocks) and not elif_))
    return deepest


@each_module
def test_nesting_is_shallow(module: str) -> None:
    assert [(f.name, depth(f)) for f in functions(TREES[module]) if depth(f) > MAX_DEPTH] == []


@each_module
def test_core_and_games_never_touch_data_behind_autograd_s_back(module: str) -> None:
    """`.data` is forbidden (law 2): it changes weights without telling the graph."""
    if module.split(".")[1:2] not in (["core"], ["losses"], ["nets"], ["games"], ["augment"], ["tricks"], ["doctor"]):
        return
    for node in ast.walk(TREES[module]):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
        )
        assert not any(isinstance(t, ast.Attribute) and t.attr == "data" for t in targets), f"{module}:{node.lineno}"
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        of_data = called and isinstance(node.func.value, ast.Attribute) and node.func.value.attr == "data"
        assert not of_data, f"{module}:{node.lineno}"


ONLY_THE_ENGINE = re.compile(r"\.backward\(|\.all_reduce\(|\.zero_grad\(|\.step\(\)")


@each_module
def test_only_the_engine_differentiates_reduces_and_steps(module: str) -> None:
    """No method owns a training step: `backward`, `all_reduce`, `opt.step` are the engine's (with its guard and ranks)."""
    if module in ("gantlet.core.engine", "gantlet.core.guard", "gantlet.core.machine"):
        return
    if module.split(".")[1:2] in (["core"], ["losses"], ["nets"], ["games"], ["augment"], ["tricks"]):
        assert not ONLY_THE_ENGINE.search(SOURCES[module].read_text(encoding="utf-8"))


@each_module
def test_every_module_says_what_it_is(module: str) -> None:
    empty = not TREES[module].body
    assert empty or ast.get_docstring(TREES[module])


@each_module
def test_options_that_are_choices_are_not_mutable_by_accident(module: str) -> None:
    """A mutable default is only allowed where nobody writes to it: it must say `read only`."""
    lines = SOURCES[module].read_text(encoding="utf-8").splitlines()
    for f in functions(TREES[module]):
        for default in [*f.args.defaults, *(d for d in f.args.kw_defaults if d is not None)]:
            if isinstance(default, ast.List | ast.Dict | ast.Set):
                assert "read only" in lines[default.lineno - 1], f"{module}:{default.lineno}"


# ---- the tree itself ----------------------------------------------------------------------------------------------

# written so that this file does not match itself
SPELT = [
    "/" + "work/",
    "/" + "root/",
    "/" + r"home/\w",
    r"\.\./" + "shared",
    r"(?<![\w.])/" + "tmp/",
    r"C:\\+" + "Users",
]
MACHINE_PATHS = re.compile("|".join(SPELT))


def texts() -> list[Path]:
    folders = [ROOT / name for name in ("src", "docs", "tests", "examples", "bench")]
    found = [p for f in folders for p in f.rglob("*") if p.suffix in (".py", ".md", ".yaml", ".toml", ".html", ".js")]
    return [*found, ROOT / "README.md", ROOT / "pyproject.toml"]


@pytest.mark.parametrize("path", texts(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_path_of_somebody_s_machine(path: Path) -> None:
    assert MACHINE_PATHS.findall(path.read_text(encoding="utf-8")) == []


def test_the_layers_are_those_of_the_design() -> None:
    """design.md draws the same tree, in the same order."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    tree = text[text.index("## 3. The tree") : text.index("**Recipes and configuration.**")]
    drawn = re.findall(r"^  (\w+)/(?:  (\w+)/  (\w+)/)?", tree, re.MULTILINE)
    flat = [name for row in drawn for name in row if name]
    assert flat == [name for name in LAYERS if name != "api"]
