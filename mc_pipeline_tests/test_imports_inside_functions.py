"""An import inside a function, or for types alone, has a reason: at the top it would load what takes long."""

from mc_pipeline_tests.test_architecture import IMPORTS, Import, eagerly_loaded_by

LOADED_WHEN_NEEDED = {
    "pandas": "half a second that neither opt-outs nor the receiver of webhooks wait for",
    "numpy": "as pandas",
    "pyarrow": "as pandas",
    "great_expectations": "three seconds that every start of a code location would pay",
    "mailchimp_marketing": "a code location declares assets, and speaks to nobody",
    "odoorpc": "as mailchimp_marketing",
    "alembic": "nearly every opening finds the ledger up to date",
    "dagster_postgres": "two seconds that SQLite need not pay",
    "faker": "only the demo invents people",
    "jinja2": "only the stand-ins show pages",
    "starlette": "only the receiver of webhooks and the stand-ins serve",
    "uvicorn": "as starlette",
}
"""Library → why it is loaded only when it is needed."""

COMMANDS = "mc_pipeline.cli."
"""Commands load what they need when they are called; cli/test_what_is_loaded.py says what that is."""


def slow_libraries_of(module: str, imports: list[Import]) -> set[str]:
    return {name.split(".")[0] for name in eagerly_loaded_by(module, imports)} & set(LOADED_WHEN_NEEDED)


def without_reason(imports: list[Import]) -> list[str]:
    """Return the imports that could as well be at the top of their module."""
    slow: dict[str, set[str]] = {}

    def known(module: str) -> set[str]:
        if module not in slow:
            slow[module] = slow_libraries_of(module, imports)
        return slow[module]

    return [
        str(found)
        for found in imports
        if (found.lazy or found.for_types)
        and not found.importer.startswith((COMMANDS, "mc_pipeline.sandbox.odoo."))
        and known(found.imported) <= known(found.importer)
    ]


def test_imports_inside_functions_have_a_reason() -> None:
    # The records of the stand-in Odoo and their environment need each other's types.
    assert without_reason(IMPORTS) == []


def test_an_import_without_a_reason_is_found() -> None:
    parts = ("sync.reads", "tables.table", "domain.money")
    reads, table, money = (f"mc_pipeline.{part}" for part in parts)
    imports = [
        Import(reads, f"{table}.Table", 1, lazy=True, for_types=False),
        Import(reads, f"{money}.units", 2, lazy=True, for_types=False),
        Import(money, "pandas", 1, lazy=False, for_types=False),
        Import(table, "pandas", 1, lazy=False, for_types=True),
    ]
    assert without_reason(imports) == [f"{reads}:1 imports {table}.Table"]
