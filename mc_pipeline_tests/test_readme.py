"""What the README tells people is so: its example loads, its commands, options, names and pictures exist."""

import re
from pathlib import Path

import click
import pytest

from mc_pipeline.cli.main import commands
from mc_pipeline.definitions import build_defs
from mc_pipeline.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def example(tmp_path: Path) -> Settings:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "companies.yaml"
    path.write_text(block)
    secrets = {"ODOO_SECRET": "secret", "MAILCHIMP_API_KEY": "0123456789abcdef0123456789abcdef-us1"}
    return load_settings(path, secrets)


def test_the_example_of_companies_yaml_is_valid(example: Settings):
    assert list(example.companies["acme_uk"].audiences) == ["wholesale", "retail"]


def subcommand(name: str) -> click.Command:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    return command


def test_every_command_it_names_exists_with_its_options():
    named = set(re.findall(r"`mc-pipeline ([a-z]+)", README))
    there = {name: subcommand(name) for name in commands.list_commands(click.Context(commands))}
    assert named == set(there)
    groups = [command for command in there.values() if isinstance(command, click.Group)]
    nested = [command for group in groups for command in group.commands.values()]
    options = {
        option
        for command in (*there.values(), *nested)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert set(re.findall(r"`[^`\n]*?(?<!\S)(--[a-z-]+)[^`\n]*`", README)) <= options


def test_every_command_about_webhooks_is_named():
    named = set(re.findall(r"`mc-pipeline webhooks ([a-z]+)", README))
    group = subcommand("webhooks")
    assert isinstance(group, click.Group)
    assert named == set(group.commands)


def test_every_schedule_and_job_it_names_exists(example: Settings):
    definitions = build_defs(example)
    assert "nightly_acme_uk" in {schedule.name for schedule in definitions.schedules or []}
    jobs = {job.name for job in definitions.resolve_all_job_defs()}
    assert {"sync_company", "approve_plan"} <= jobs


def test_every_variable_of_the_example_environment_is_explained():
    variables = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert [name for name in variables if f"`{name}`" not in README] == []


def test_its_pictures_and_links_lead_somewhere():
    linked = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert linked
    assert [path for path in linked if not (ROOT / path).is_file()] == []
    assert sum(path.stat().st_size for path in (ROOT / "docs").iterdir()) < 500_000
