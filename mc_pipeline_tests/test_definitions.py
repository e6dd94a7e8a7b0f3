"""What Dagster shows: every asset and check as written down, loaded quickly, and refused in plain words."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from mc_pipeline.definitions import build_defs
from mc_pipeline.sandbox.seed import demo_companies_yaml
from mc_pipeline.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
SNAPSHOT = Path(__file__).with_name("definitions.yaml")
WRITE_SNAPSHOT = "MC_PIPELINE_TESTS_WRITE_SNAPSHOT"
SECRETS = {"ODOO_SECRET": "secret", "MAILCHIMP_API_KEY": "0123456789abcdef0123456789abcdef-us1"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("definitions") / "companies.yaml"
    path.write_text(demo_companies_yaml("http://odoo.invalid", "http://mailchimp.invalid/3.0"))
    return path


def test_every_asset_and_check_is_as_written_down(config: Path):
    """A change of what people see in Dagster is meant, and shows in a review."""
    assets = described(build_defs(load_settings(config, SECRETS)))
    if os.environ.get(WRITE_SNAPSHOT):
        SNAPSHOT.write_text(yaml.safe_dump(assets, sort_keys=True, allow_unicode=True))
    assert assets == yaml.safe_load(SNAPSHOT.read_text()), (
        f"if this is meant, write it down: {WRITE_SNAPSHOT}=1 pytest {Path(__file__).name}"
    )


def test_every_asset_and_check_tells_people_what_it_is(config: Path):
    graph = build_defs(load_settings(config, SECRETS)).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, f"{key} has no description"
        assert node.owners, f"{key} has no owner"
        assert node.group_name != "default", f"{key} is in no group"
    for check in graph.asset_check_keys:
        description = graph.get_check_spec(check).description or ""
        assert (
            "For marketing ops: " in description
            or "For data engineering: " in description
            or ("For finance: " in description)
        ), f"{check.to_user_string()} does not say who should do what"


def described(definitions: dg.Definitions) -> dict[str, Any]:
    graph = definitions.resolve_asset_graph()
    assets: dict[str, Any] = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assets[key.to_user_string()] = {
            "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
            "group": node.group_name,
            "owners": sorted(node.owners),
            "kinds": sorted(node.kinds),
            "partitions": _partitions(node.partitions_def),
            "checks": {
                check.name: {
                    "blocking": spec.blocking,
                    "owner": spec.metadata["owner"],
                    "partitions": _partitions(spec.partitions_def),
                }
                for check in sorted(graph.get_check_keys_for_assets({key}), key=lambda check: check.name)
                for spec in [graph.get_check_spec(check)]
            },
        }
    return assets


def _partitions(definition: dg.PartitionsDefinition | None) -> list[str] | None:
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return [f"each {dimension.name}" for dimension in definition.partitions_defs]  # months go on
    return None if definition is None else list(definition.get_partition_keys())


def validate(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Let Dagster load the location as it does for the UI and the daemon, away from any .env."""
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml")]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": "", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
    )


def test_dagster_finds_the_definitions_valid(tmp_path: Path, config: Path):
    validated = validate(tmp_path, MC_PIPELINE_CONFIG=str(config), **SECRETS)
    assert validated.returncode == 0, validated.stdout


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "MC_PIPELINE_CONFIG: is not set; set this environment variable to your companies.yaml"),
        ({"MC_PIPELINE_CONFIG": "no/such/file.yaml"}, "no/such/file.yaml: no such file"),
    ],
)
def test_dagster_says_in_one_line_what_is_missing(tmp_path: Path, environment: dict[str, str], said: str):
    validated = validate(tmp_path, **environment)
    assert validated.returncode != 0
    line = next(line for line in validated.stdout.splitlines() if "SettingsError" in line)
    assert said in line


def test_definitions_load_nothing_heavy(config: Path):
    """Paid by every code server and every run. Great Expectations takes longer than everything else together;
    only the checks pay for it."""
    loaded = python(
        "import sys; from mc_pipeline.definitions import build_defs; "
        "from mc_pipeline.settings import load_settings; "
        "build_defs(load_settings()).resolve_all_job_defs(); print(*sys.modules)",
        MC_PIPELINE_CONFIG=str(config),
        **SECRETS,
    )
    heavy = {
        *("great_expectations", "pandas", "numpy", "pyarrow", "mailchimp_marketing", "odoorpc"),
        *("mc_pipeline.sandbox", "mc_pipeline.domain.contacts.contacts"),
    }
    assert heavy & set(loaded.split()) == set()


def python(program: str, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
