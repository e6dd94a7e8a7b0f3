"""Imports go one way: what each part of the package may know of the others, and of the outside."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import mc_pipeline

PACKAGE = Path(mc_pipeline.__file__).parent

SHARED = {"masking", "vocabulary", "digests", "chunks"}
"""Small modules that know nothing else of ours: words, and what several parts need alike."""

MAY_IMPORT: dict[str, set[str]] = {
    **{name: set() for name in SHARED},
    "retrying": set(),
    "domain": SHARED,
    "settings": {"domain.contacts.merge_fields", "vocabulary"},
    "tables": SHARED,
    "quality": SHARED,
    "odoo": {*SHARED, "retrying", "settings", "__version__"},
    "mailchimp": {*SHARED, "retrying", "__version__"},
    "ledger": SHARED,
    "push": {*SHARED, "domain", "odoo", "mailchimp", "ledger"},
    "webhooks": {*SHARED, "domain", "mailchimp", "ledger", "settings"},
    "sync": {*SHARED, "domain", "odoo", "mailchimp", "ledger", "push", "tables", "settings"},
    "sandbox": set(),
    "home": set(),
    "instance": {"home"},
    "defs": {
        *SHARED,
        *("domain", "quality", "tables", "odoo", "mailchimp", "ledger", "push", "sync", "settings"),
    },
    "doctor": {*SHARED, "sync", "domain", "tables", "odoo", "mailchimp", "ledger", "settings"},
    "definitions": {*SHARED, "defs", "tables", "ledger", "settings"},
    "cli": {"*"},
}
"""Part of the package → what of ours it may import; ``*`` = everything."""

MAY_IMPORT_DAGSTER = {"defs", "definitions", "instance", "quality", "tables", "cli"}
ONLY_SPEAKER = {"odoorpc": {"odoo"}, "mailchimp_marketing": {"mailchimp"}, "great_expectations": {"quality"}}
"""Library → the one part that uses it."""

NOT_FOR_RULES = frozenset(
    "asyncio dagster fsspec os pathlib requests socket sqlalchemy subprocess time upath urllib".split()
)
"""What would give the rules a clock, an environment, files or a network."""


STAND_IN_ORM = "mc_pipeline.sandbox.odoo"
KNOW_EACH_OTHER = ("access", "database", "domains", "environment", "grouping", "models")
"""Modules of the stand-in Odoo that are one thing, as in Odoo itself: records know their environment, and the
environment its models.
"""


@dataclass(frozen=True)
class Import:
    """One imported module: by which module, and whether only when a function runs, or for types alone."""

    importer: str
    imported: str
    line: int
    lazy: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def imports_of(source: str, importer: str, is_package: bool = False) -> Iterator[Import]:
    """Find every import in a module, those inside functions and TYPE_CHECKING too."""

    def visit(node: ast.AST, lazy: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(importer, alias.name, child.lineno, lazy, for_types)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parents = importer.split(".")
                    kept = parents[: len(parents) - child.level + (1 if is_package else 0)]
                    base = ".".join([*kept, base] if base else kept)
                for alias in child.names:
                    yield Import(importer, f"{base}.{alias.name}", child.lineno, lazy, for_types)
            else:
                inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                checking = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
                yield from visit(child, inside, for_types or checking)

    yield from visit(ast.parse(source), False, False)


def all_imports() -> list[Import]:
    found: list[Import] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("mc_pipeline", *path.relative_to(PACKAGE).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.extend(imports_of(path.read_text(encoding="utf-8"), name, is_package))
    return found


def part_of(module: str) -> str:
    """Return the part of ours that a module belongs to: ``domain`` for ``mc_pipeline.domain.plan.guards``."""
    return module.split(".")[1] if module.count(".") else ""


def wrong_way(imports: list[Import]) -> list[str]:
    wrong = []
    for found in imports:
        if found.imported.split(".")[0] != "mc_pipeline":
            continue
        importer, imported = part_of(found.importer), found.imported.removeprefix("mc_pipeline.")
        allowed = MAY_IMPORT.get(importer, set()) | {importer}
        if "*" not in allowed and not any(imported == a or imported.startswith(f"{a}.") for a in allowed):
            wrong.append(str(found))
    return wrong


IMPORTS = all_imports()


def test_every_part_of_the_package_has_its_place_in_the_order() -> None:
    parts = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert parts - {"__init__"} <= set(MAY_IMPORT), "say in MAY_IMPORT what the new part may import"


def test_imports_between_our_parts_go_one_way() -> None:
    assert wrong_way(IMPORTS) == []


def circles_in(imports: list[Import]) -> list[str]:
    """Return circles of imports between modules of ours, those inside functions and for types too.

    Of modules that are in one circle after another, the shortest that leads back to each is reported once.
    """
    modules = {found.importer for found in imports}
    knows: dict[str, set[str]] = {}
    for found in imports:
        whole = found.imported in modules
        imported = found.imported if whole else found.imported.rpartition(".")[0]
        if imported in modules and _one_thing(imported) != _one_thing(found.importer):
            knows.setdefault(_one_thing(found.importer), set()).add(_one_thing(imported))
    circles: dict[frozenset[str], str] = {}
    for start in sorted(knows):
        came_from, waiting = dict.fromkeys(sorted(knows[start]), start), sorted(knows[start])
        for name in waiting:
            if name == start:
                break
            for known in sorted(knows.get(name, ())):
                if known not in came_from:
                    came_from[known] = name
                    waiting.append(known)
        else:
            continue
        way = [start, came_from[start]]
        while way[-1] != start:
            way.append(came_from[way[-1]])
        circles.setdefault(frozenset(way), " → ".join(reversed(way)))
    return list(circles.values())


def _one_thing(module: str) -> str:
    """Return the module, or the ORM of the stand-in Odoo that it is part of."""
    inside = module.removeprefix(f"{STAND_IN_ORM}.")
    return f"{STAND_IN_ORM} (ORM)" if inside != module and inside.split(".")[0] in KNOW_EACH_OTHER else module


def test_no_module_imports_itself_through_others() -> None:
    assert circles_in(IMPORTS) == []


def test_a_circle_is_found_and_told() -> None:
    push = "mc_pipeline.push"
    imports = [
        *imports_of(f"def run():\n    from {push}.plan import push_plan", f"{push}.batching"),
        *imports_of(f"import {push}.stores", f"{push}.plan"),
        *imports_of(f"if TYPE_CHECKING:\n    from {push} import batching", f"{push}.stores"),
    ]
    assert circles_in(imports) == [f"{push}.batching → {push}.plan → {push}.stores → {push}.batching"]


def test_records_of_the_stand_in_and_their_environment_are_one_thing() -> None:
    orm = "mc_pipeline.sandbox.odoo"
    imports = [
        *imports_of(f"from {orm}.models.base import Model", f"{orm}.environment"),
        *imports_of(f"from {orm}.environment import Environment", f"{orm}.models.base"),
        *imports_of(f"from {orm} import models", f"{orm}.server"),
    ]
    assert circles_in(imports) == []


def test_only_what_dagster_shows_imports_dagster() -> None:
    assert [
        str(found)
        for found in IMPORTS
        if found.imported.split(".")[0].startswith("dagster")
        and part_of(found.importer) not in MAY_IMPORT_DAGSTER
    ] == []


def eagerly_loaded_by(module: str, imports: list[Import]) -> set[str]:
    """Return all that importing a module of ours loads at once, ours and others', by name."""
    at_once: dict[str, set[str]] = {}
    for found in imports:
        if not found.lazy and not found.for_types:
            at_once.setdefault(found.importer, set()).add(found.imported)
    loaded: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in loaded:
            loaded.add(name)
            waiting.extend(at_once.get(name, ()))
            if name.startswith("mc_pipeline."):
                waiting.append(
                    name.rpartition(".")[0]
                )  # its package, or the module that a name was taken from
    return loaded


def test_great_expectations_is_loaded_only_when_it_validates() -> None:
    """Its import takes seconds, which every start of a code location would pay."""
    starts = {found.importer for found in IMPORTS if part_of(found.importer) != "quality"} | {
        "mc_pipeline.quality"
    }
    slow = {
        start
        for start in starts
        if any(name.split(".")[0] == "great_expectations" for name in eagerly_loaded_by(start, IMPORTS))
    }
    assert slow == set()


@pytest.mark.parametrize("library", ONLY_SPEAKER)
def test_one_part_alone_speaks_through_each_client_library(library: str) -> None:
    speakers = {part_of(found.importer) for found in IMPORTS if found.imported.split(".")[0] == library}
    assert speakers == ONLY_SPEAKER[library]


def test_the_rules_have_no_clock_no_files_no_environment_and_no_network() -> None:
    rules = [found for found in IMPORTS if part_of(found.importer) == "domain"]
    assert [str(found) for found in rules if found.imported.split(".")[0] in NOT_FOR_RULES] == []
    clocks = []
    for path in (PACKAGE / "domain").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
                clocks.append(f"{path.name}:{node.lineno}")
    assert clocks == []


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("mc_pipeline.domain.contacts.contacts", "from mc_pipeline.settings import CompanySettings"),
        ("mc_pipeline.domain.contacts.contacts", "from ...ledger import Ledger"),
        ("mc_pipeline.sandbox.odoo.server", "def start():\n    import mc_pipeline.masking"),
        ("mc_pipeline.mailchimp.client", "if TYPE_CHECKING:\n    from mc_pipeline import ledger"),
        ("mc_pipeline.settings.models", "from mc_pipeline.domain.contacts.contacts import build_contacts"),
        ("mc_pipeline.newcomer", "import mc_pipeline.domain"),
    ],
)
def test_an_import_against_the_order_is_found(importer: str, source: str) -> None:
    assert len(wrong_way(list(imports_of(source, importer)))) == 1


@pytest.mark.parametrize(
    ("importer", "is_package", "source"),
    [
        ("mc_pipeline.domain.contacts.contacts", False, "from . import routing"),
        ("mc_pipeline.domain", True, "from .contacts import build_contacts"),
        (
            "mc_pipeline.settings.models",
            False,
            "from mc_pipeline.domain.contacts.merge_fields import MERGE_FIELD_SOURCES",
        ),
        ("mc_pipeline.push.member_writes", False, "from mc_pipeline.ledger.leases import Lease"),
        ("mc_pipeline.domain.contacts.contacts", False, "import pandas"),
    ],
)
def test_an_import_along_the_order_is_not(importer: str, is_package: bool, source: str) -> None:
    assert wrong_way(list(imports_of(source, importer, is_package))) == []


def test_an_import_inside_a_function_counts_as_lazy() -> None:
    source = "import a\ndef run():\n    import b\nclass C:\n    import c"
    assert [(found.imported, found.lazy) for found in imports_of(source, "mc_pipeline.x")] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]


def test_an_import_for_types_loads_nothing() -> None:
    imports = list(
        imports_of("if TYPE_CHECKING:\n    import pandas as pd\nimport json", "mc_pipeline.tables.table")
    )
    assert [(found.imported, found.for_types) for found in imports] == [("pandas", True), ("json", False)]
    assert {"json"} == eagerly_loaded_by("mc_pipeline.tables.table", imports) & {"json", "pandas"}


def test_what_a_module_loads_through_others_counts() -> None:
    imports = [
        *imports_of("from mc_pipeline.quality.suites import emails", "mc_pipeline.defs.checks"),
        *imports_of("import great_expectations as gx", "mc_pipeline.quality.suites"),
        *imports_of("def run():\n    import mc_pipeline.quality.suites", "mc_pipeline.cli"),
    ]
    assert "great_expectations" in eagerly_loaded_by("mc_pipeline.defs.checks", imports)
    assert "great_expectations" not in eagerly_loaded_by("mc_pipeline.cli", imports)
