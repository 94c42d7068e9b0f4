"""The house is tidy: floors, fences, sizes, names, tests beside sources, nothing of one machine.

One row of RULES a rule, with its reason and the way out; each failure prints file:line, rule, reason, way
out.  What may break a rule stands in EXCEPTIONS with a reason, and that list may only shrink.  Everything is
read from the source text, in one pass of well under a second; nothing of the product is imported.
"""

from __future__ import annotations

import ast
import functools
import gc
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "burncloud"
CODE_ROOTS = (f"{PACKAGE}/", "tests/", "tools/", "bench/", "run.py")
FILE_LINES_MAX = 599
FUNCTION_LINES_MAX = 69
EXCEPTIONS_MAX = 2
"""Only ever lower this number."""

GROUND = {"errors", "clock", "config", "logs", "crash"}
BELOW_ROUTER = {"wire", "adaptors", "domain"} | GROUND
BELOW_SERVICE = BELOW_ROUTER | {"database"}
BELOW_APP = BELOW_SERVICE | {"service", "router", "server"}
FLOORS: dict[str, set[str]] = {
    **dict.fromkeys(GROUND, GROUND),
    "domain": GROUND,
    **dict.fromkeys(("wire", "adaptors", "database"), {"domain"} | GROUND),
    "router": BELOW_ROUTER,
    "service": BELOW_SERVICE,
    "server": BELOW_SERVICE | {"service"},
    "app": BELOW_APP,
    **dict.fromkeys(("cli", "desktop", "__main__"), BELOW_APP | {"app", "cli", "desktop"}),
}
"""What each floor may import besides itself.  server does not see router: only app joins the planes."""

FENCES: tuple[tuple[tuple[str, ...], set[str]], ...] = (
    (("httptools", "uvloop", "winloop"), {"wire", "app"}),
    (("sqlalchemy", "aiosqlite", "asyncpg", "sqlite3", "alembic"), {"database"}),
    (("fastapi", "starlette", "pydantic"), {"server"}),
    (("uvicorn",), {"server", "app"}),
    (("structlog", "prometheus_client", "opentelemetry"), {"service", "server", "app"}),
    (("typer", "click", "rich"), {"cli"}),
    (("argon2", "cryptography"), {"service"}),
    (("time",), {"clock"}),
    (("os.environ", "os.environb", "os.getenv", "os.putenv"), {"config"}),
    (("datetime.now", "datetime.utcnow", "datetime.today", "date.today"), {"clock"}),
)
"""Libraries and names, and the floors that may use them."""
FENCED: dict[str, set[str]] = {name: floors for names, floors in FENCES for name in names}
PRINTING = (f"{PACKAGE}/cli/", f"{PACKAGE}/app/supervisor.py")
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "core"}
# In pieces, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"/(work|roo[t]|farm|home/\w+|Users/\w+)/|bash_job[s]")
REGISTRY = re.compile(r"(extra-)?index-ur[l]|https?://[\w./-]*(pypi\.or[g]/simple|pythonhosted|registry\.npmj[s])")
PLAN_LINE = re.compile(r"^ +(\w+\.py) {2,}\S", re.MULTILINE)


class Excuse(NamedTuple):
    """Why one file may break one rule."""

    rule: str
    path: str
    reason: str


EXCEPTIONS: tuple[Excuse, ...] = (
    Excuse("test beside source", "burncloud/__main__.py", "four lines; every end-to-end test goes through them"),
    Excuse("no print", "burncloud/app/control.py", "shows the first administrator's password, once and never in a log"),
)


class Finding(NamedTuple):
    """One breach of a rule."""

    path: str
    line: int
    what: str


class Function(NamedTuple):
    """Where a function stands and how long it is."""

    name: str
    line: int
    lines: int


@dataclass
class Source:
    """What the rules need to know of one Python file."""

    path: str
    lines: int
    docstring: str
    statements: int
    imports: list[tuple[int, str, str]] = field(default_factory=list)
    """(line, module, name or "")."""
    dotted: list[tuple[int, str]] = field(default_factory=list)
    """(line, "os.environ")."""
    functions: list[Function] = field(default_factory=list)
    asynchronous: list[int] = field(default_factory=list)
    prints: list[int] = field(default_factory=list)

    @property
    def floor(self) -> str:
        """`wire` for burncloud/wire/pool.py, `config` for burncloud/config.py."""
        return self.path.split("/")[1].removesuffix(".py")

    @property
    def module(self) -> str:
        """Dotted name."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Every statement of a file, without walking the expressions (which is most of the tree)."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, block, ())


def read(path: str, text: str) -> Source:
    """Parse one file and note what the rules look at."""
    tree = ast.parse(text)
    source = Source(path, text.count("\n"), ast.get_docstring(tree, clean=False) or "", len(tree.body))
    for node in statements(tree):
        if isinstance(node, ast.Import):
            source.imports += [(node.lineno, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source.imports += [(node.lineno, node.module or "", alias.name) for alias in node.names]
            source.dotted += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            source.functions.append(Function(node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1))
            if isinstance(node, ast.AsyncFunctionDef):
                source.asynchronous.append(node.lineno)
    if path.startswith(f"{PACKAGE}/"):
        for part in ast.walk(tree):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                source.dotted.append((part.lineno, f"{part.value.id}.{part.attr}"))
            elif isinstance(part, ast.Name) and part.id == "print":
                source.prints.append(part.lineno)
    return source


class House:
    """All files of the project that git knows or would take, and the Python ones among them, read."""

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.texts: dict[str, str] = {}
        for path in sorted(paths):
            try:
                self.texts[path] = (root / path).read_text(encoding="utf-8")
            except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
                continue  # a picture, a database; or deleted and not yet committed
        python = [path for path in self.texts if path.endswith(".py") and path.startswith(CODE_ROOTS)]
        self.sources = {path: read(path, self.texts[path]) for path in python}
        self.product = {path: source for path, source in self.sources.items() if path.startswith(f"{PACKAGE}/")}

    def test_of(self, path: str) -> str:
        """Where the test of a source file has to stand."""
        folder, _, name = path.removeprefix(f"{PACKAGE}/").rpartition("/")
        return "/".join(part for part in ("tests/unit", folder, f"test_{name}") if part)


def project_files() -> list[str]:
    """Tracked files and untracked ones that are not ignored; without git, all outside the usual scratch folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout.splitlines()
    scratch = {".git", ".venv", "build", "dist", "__pycache__", "node_modules"}
    return [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*") if p.is_file() and not scratch & set(p.parts)]


def floor_breaches(house: House) -> Iterator[Finding]:
    for source in house.product.values():
        allowed = FLOORS.get(source.floor, set()) | {source.floor}
        for line, module, name in source.imports:
            parts = [*module.split("."), name]
            if parts[0] == PACKAGE and parts[1] and parts[1] not in allowed:
                yield Finding(source.path, line, f"{source.floor} imports {parts[1]}")


def unknown_floors(house: House) -> Iterator[Finding]:
    for source in house.product.values():
        if source.floor not in FLOORS and source.path != f"{PACKAGE}/__init__.py":
            yield Finding(source.path, 1, f"{source.floor!r} is no floor")


def fence_breaches(house: House) -> Iterator[Finding]:
    for source in house.product.values():
        uses = [(line, module.split(".")[0]) for line, module, _ in source.imports] + source.dotted
        for line, name in uses:
            if source.floor not in FENCED.get(name, {source.floor}):
                yield Finding(source.path, line, f"{source.floor} uses {name}")


def async_below(house: House) -> Iterator[Finding]:
    for source in house.product.values():
        if source.floor in ("domain", "adaptors"):
            lines = source.asynchronous + [line for line, module, _ in source.imports if module == "asyncio"]
            yield from (Finding(source.path, line, "async") for line in lines)


def import_edges(house: House) -> dict[str, dict[str, int]]:
    """module → imported module of ours → line, wherever in the file the import stands."""
    modules = {source.module for source in house.product.values()}
    edges: dict[str, dict[str, int]] = {}
    for source in house.product.values():
        mine = edges.setdefault(source.module, {})
        for line, module, name in source.imports:
            target = f"{module}.{name}" if f"{module}.{name}" in modules else module
            if target in modules and target != source.module:
                mine[target] = line
    return edges


def import_circles(house: House) -> Iterator[Finding]:
    edges = import_edges(house)
    paths = {source.module: source.path for source in house.product.values()}
    state: dict[str, int] = {}  # 1 on the way, 2 done

    def visit(module: str, way: list[str]) -> Iterator[Finding]:
        state[module] = 1
        for target, line in edges[module].items():
            if state.get(target) == 1:
                circle = [*way[way.index(target) :], target] if target in way else [module, target]
                yield Finding(paths[module], line, " → ".join(circle))
            elif target not in state:
                yield from visit(target, [*way, target])
        state[module] = 2

    for module in edges:
        if module not in state:
            yield from visit(module, [module])


def banned_names(house: House) -> Iterator[Finding]:
    for path in house.sources:
        for part in path.removesuffix(".py").split("/"):
            if part in BANNED_NAMES:
                yield Finding(path, 1, f"named {part}")


def long_files(house: House) -> Iterator[Finding]:
    for source in house.sources.values():
        if source.lines > FILE_LINES_MAX:
            yield Finding(source.path, FILE_LINES_MAX, f"{source.lines} lines")


def long_functions(house: House) -> Iterator[Finding]:
    for source in house.sources.values():
        for function in source.functions:
            if function.lines > FUNCTION_LINES_MAX:
                yield Finding(source.path, function.line, f"{function.name} has {function.lines} lines")


def logic_in_init(house: House) -> Iterator[Finding]:
    for source in house.product.values():
        if source.path.endswith("/__init__.py") and source.statements > bool(source.docstring):
            yield Finding(source.path, 1, "more than a docstring")


def untested_sources(house: House) -> Iterator[Finding]:
    for path in house.product:
        if not path.endswith("/__init__.py") and "/migrations/" not in path and house.test_of(path) not in house.texts:
            yield Finding(path, 1, f"no {house.test_of(path)}")


def orphaned_tests(house: House) -> Iterator[Finding]:
    expected = {house.test_of(path) for path in house.product} | {"tests/unit/test_run.py"}
    expected |= {
        path.replace("tools/", "tests/unit/tools/test_") for path in house.sources if path.startswith("tools/")
    }
    for path in house.sources:
        name = path.rpartition("/")[2]
        if path.startswith("tests/unit/") and name.startswith("test_") and path not in expected:
            base = re.sub(r"_[a-z0-9]+\.py$", ".py", path)
            if base not in expected:  # test_config_files.py may stand beside test_config.py
                yield Finding(path, 1, "its source file is gone")


def missing_docstrings(house: House) -> Iterator[Finding]:
    for source in house.sources.values():
        if not source.docstring and source.lines:
            yield Finding(source.path, 1, "no docstring at its head")


def stray_prints(house: House) -> Iterator[Finding]:
    for source in house.product.values():
        if not source.path.startswith(PRINTING):
            yield from (Finding(source.path, line, "print") for line in source.prints)


def wrong_plans(house: House) -> Iterator[Finding]:
    for source in house.product.values():
        planned = set(PLAN_LINE.findall(source.docstring))
        if not source.path.endswith("/__init__.py") or not planned:
            continue
        folder = source.path.removesuffix("__init__.py")
        there = {p.removeprefix(folder) for p in house.product if p.startswith(folder) and "/" not in p[len(folder) :]}
        there -= {"__init__.py", "__main__.py"}
        yield from (Finding(source.path, 1, f"names {name}, which is not there") for name in sorted(planned - there))
        yield from (Finding(source.path, 1, f"does not name {name}") for name in sorted(there - planned))


def machine_traces(house: House) -> Iterator[Finding]:
    for path, text in house.texts.items():
        if MACHINE_PATH.search(text) or REGISTRY.search(text):
            for number, line in enumerate(text.splitlines(), 1):
                found = MACHINE_PATH.search(line) or REGISTRY.search(line)
                if found:
                    yield Finding(path, number, found.group())


class Rule(NamedTuple):
    """One rule: what looks for breaches, why it is there, and what to do instead."""

    name: str
    check: Callable[[House], Iterator[Finding]]
    reason: str
    way_out: str


RULES: tuple[Rule, ...] = (
    Rule(
        "imports run down",
        floor_breaches,
        "a floor that knows the ones above it cannot be tested or replaced alone",
        "move the shared thing down, or take it as an argument (router/ports.py is the pattern)",
    ),
    Rule("known floors", unknown_floors, "each file has one floor", "put it on a floor; a new floor goes into FLOORS"),
    Rule(
        "fences",
        fence_breaches,
        "a library that is used everywhere can never be replaced, and weighs on processes that do not need it",
        "call the floor that owns it; settings come from config, time from clock",
    ),
    Rule(
        "no async below",
        async_below,
        "domain and adaptors decide purely; the caller does the I/O",
        "return what to do, and do it a floor higher",
    ),
    Rule(
        "no import circles",
        import_circles,
        "in a circle no file can be read, tested or compiled alone; TYPE_CHECKING and lazy imports only hide it",
        "move what both need into a third file below them",
    ),
    Rule(
        "names that say something",
        banned_names,
        "such a file collects what belongs elsewhere",
        "name it after the one thing it is about",
    ),
    Rule("short files", long_files, "a file is read in one sitting", "split it by idea, not by size"),
    Rule("short functions", long_functions, "a function fits on a screen", "name its steps"),
    Rule("no logic in __init__", logic_in_init, "importing a package must cost and do nothing", "a file of its own"),
    Rule(
        "test beside source",
        untested_sources,
        "a reader finds the test of x/y.py at tests/unit/x/test_y.py",
        "write that test; it holds at least the file's main idea",
    ),
    Rule("source beside test", orphaned_tests, "a test names what it tests", "move it with its source, or to tests/…"),
    Rule("docstring at the head", missing_docstrings, "a file opens with its idea", "write one sentence of why"),
    Rule("no print", stray_prints, "processes speak through logs", "logs.logger(__name__)"),
    Rule("plans hold", wrong_plans, "a package's docstring is its map", "mend the list in __init__.py"),
    Rule(
        "nothing of one machine",
        machine_traces,
        "the project installs anywhere, from any index",
        "a relative path, a setting, or nothing",
    ),
)


@functools.cache
def house() -> House:
    """The project, read once."""
    gc.disable()  # it would look at every node of every tree again and again
    try:
        return House(ROOT, project_files())
    finally:
        gc.enable()


def breaches(rule: Rule, of: House) -> list[str]:
    """A rule's breaches without an excuse, one line each."""
    excused = {excuse.path for excuse in EXCEPTIONS if excuse.rule == rule.name}
    return [f"{f.path}:{f.line}: {rule.name}: {f.what}" for f in rule.check(of) if f.path not in excused]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule(rule: Rule) -> None:
    found = breaches(rule, house())
    if found:
        pytest.fail("\n".join([*found, f"why: {rule.reason}", f"way out: {rule.way_out}"]), pytrace=False)


def test_every_excuse_is_still_needed() -> None:
    checks = {rule.name: rule.check for rule in RULES}
    stale = [e for e in EXCEPTIONS if e.path not in {finding.path for finding in checks[e.rule](house())}]
    assert not stale, f"these exceptions are no longer needed; remove them: {stale}"
    assert len(EXCEPTIONS) <= EXCEPTIONS_MAX, "the list of exceptions may only shrink"


UNTIDY: dict[str, str] = {
    "burncloud/__init__.py": '"""A plan.\n\n    gone.py   is not there\n"""\n',
    "burncloud/attic/x.py": '"""On no floor."""\n',
    "burncloud/domain/money.py": '"""Up."""\nimport asyncio\nfrom burncloud.service import billing\n',
    "burncloud/service/billing.py": '"""Circle."""\nif 0:\n    from burncloud.service.ledger import x\n',
    "burncloud/service/ledger.py": '"""Circle."""\ndef f():\n    from burncloud.service import billing\n',
    "burncloud/router/gateway.py": '"""Fences."""\nimport os, time, httptools\nos.environ\nprint()\n',
    "burncloud/router/__init__.py": '"""Logic."""\nX = 1\n',
    "burncloud/wire/utils.py": "X = 1\n",
    "burncloud/wire/pool.py": '"""Long."""\ndef f():\n' + "    x = 1\n" * 70,
    "burncloud/wire/heads.py": '"""Longer."""\n' + "X = 1\n" * 600,
    "tests/unit/wire/test_gone.py": '"""Of nothing."""\n',
    "notes.txt": "see /hom" + "e/me/notes and /wor" + "k/x\n",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_can_fail(rule: Rule, tmp_path: Path) -> None:
    for path, text in UNTIDY.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert breaches(rule, House(tmp_path, list(UNTIDY)))
