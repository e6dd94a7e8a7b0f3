"""What a command loads before it asks anything: opt-outs wait for no library that makes tables.

How many seconds that takes, ``benchmarks/opt_out_start.py`` measures.
"""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import mc_pipeline.cli
from mc_pipeline.cli.main import commands
from mc_pipeline.ledger import Ledger, PlanRecord
from mc_pipeline_tests.cli.processes import command
from mc_pipeline_tests.world import World

HEAVY = {
    *("pandas", "numpy", "pyarrow", "great_expectations", "faker", "starlette", "uvicorn"),
    *("mc_pipeline.sandbox", "mc_pipeline.cli.demo", "mc_pipeline.sync.person"),
}
ONLY_FOR_RUNS = {
    *HEAVY,
    *("dagster", "alembic", "pydantic", "yaml", "jinja2", "requests", "mc_pipeline.settings"),
}
"""What a command does not wait for that runs nothing and looks into the ledger alone."""
NO_COMMANDS = {
    *("__init__", "main", "at_once", "dagster_dev", "home", "interrupts", "progress"),
    *("receiving", "running", "stand_ins", "storage_trouble", "summary"),
}
"""Modules beside the commands that hold none."""


@pytest.mark.parametrize("first_asked", ["Mailchimp", "Odoo"])
def test_nothing_heavy_is_loaded_when_the_first_request_of_the_opt_outs_is_made(
    served: World, tmp_path: Path, first_asked: str
):
    """Within a minute of the run before, Mailchimp is not asked again, and Odoo is the first."""
    settings = served.config.read_text()
    served.config.write_text(settings.replace("hear_every_seconds: 0", "hear_every_seconds: 60"))
    file = tmp_path / "modules"
    how = ("-m", "mc_pipeline_tests.cli.first_request", str(file))
    with command(tmp_path, "sync", "--opt-outs", "acme", how=how) as process:
        assert process.wait() == 0, process.output
    port, *loaded = file.read_text().split()
    asked = served.mailchimp.url if first_asked == "Mailchimp" else served.odoo.url
    assert asked.endswith(f":{port}")
    assert {"dagster", "mc_pipeline.sync.opt_outs.hearing"} <= set(loaded)
    assert HEAVY & set(loaded) == set()


def shown_and_loaded(home: Path, *arguments: str) -> tuple[str, set[str]]:
    """Run the command in a process of its own: what it showed, and the modules that it had loaded."""
    program = (
        "import sys; from mc_pipeline.cli.main import commands;"
        "commands(sys.argv[1:], standalone_mode=False, terminal_width=200);"
        "print('loaded', *sys.modules)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=home,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(mc_pipeline.cli.__file__).parents[2]),
            "DAGSTER_HOME": str(home),
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    shown, _, loaded = printed.rpartition("loaded ")
    return shown, set(loaded.split())


def test_the_list_of_commands_is_shown_without_loading_one(tmp_path: Path):
    shown, loaded = shown_and_loaded(tmp_path, "--help")
    for name in commands.list_commands(click.Context(commands)):
        assert f"\n  {name} " in shown
    assert ONLY_FOR_RUNS & loaded == set()
    assert {
        "sqlalchemy",
        "rich",
        "mc_pipeline.ledger",
        "mc_pipeline.defs",
        "mc_pipeline.cli.sync",
    } & loaded == set()


def test_the_list_shows_the_short_help_of_each_command(tmp_path: Path):
    shown = " ".join(shown_and_loaded(tmp_path, "--help")[0].split())
    context = click.Context(commands)
    for name in commands.list_commands(context):
        found = commands.get_command(context, name)
        assert found is not None
        assert f" {name} {found.get_short_help_str(200)}" in shown


def test_a_person_approves_without_waiting_for_what_only_runs_need(tmp_path: Path):
    with Ledger.open(f"sqlite:///{tmp_path}/mc_pipeline/ledger.db") as ledger:
        plan = PlanRecord(
            plan_id="1a2b",
            company="acme",
            observed_at=ledger.now(),
            row_count=3,
            counts={},
            row_keys=("a", "b", "c"),
            guards=(),
            needs_approval=True,
        )
        ledger.plans.save(plan)
    shown, loaded = shown_and_loaded(tmp_path, "approve", "1a2b", "--by", "Ana")
    assert "Plan 1a2b of acme is approved by Ana" in shown
    assert "mc_pipeline.ledger" in loaded
    assert ONLY_FOR_RUNS & loaded == set()


def test_the_help_of_a_command_that_looks_into_the_ledger_alone_waits_for_nothing_of_runs(tmp_path: Path):
    for name in ("approve", "leases", "ledger"):
        shown, loaded = shown_and_loaded(tmp_path, name, "--help")
        assert f" {name} [OPTIONS]" in shown
        assert ONLY_FOR_RUNS & loaded == set()


def test_every_command_has_its_name_in_the_list_and_a_module_of_that_name():
    context = click.Context(commands)
    names = commands.list_commands(context)
    modules = {path.stem for path in Path(mc_pipeline.cli.__file__).parent.glob("*.py")}
    assert set(names) == modules - NO_COMMANDS
    for name in names:
        found = commands.get_command(context, name)
        assert found is not None
        assert found.name == name
        assert found.help


def test_a_command_that_there_is_not_is_no_command():
    assert commands.get_command(click.Context(commands), "home") is None
