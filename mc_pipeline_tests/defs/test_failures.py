"""What Dagster shows of a step that could not go on."""

from collections.abc import Iterator
from inspect import signature, unwrap
from pathlib import Path

import dagster as dg
import pytest

from mc_pipeline.definitions import build_defs
from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.sandbox.seed import demo_companies_yaml
from mc_pipeline.settings import load_settings
from mc_pipeline.sync.errors import SyncError


def refuse() -> None:
    try:
        raise KeyError("what the message says better")
    except KeyError:
        raise SyncError("The plan is old.", allow_retries=False, about={"place": "retail"}) from None


@shows_failures
def by_function() -> None:
    refuse()


@shows_failures
def by_generator() -> Iterator[int]:
    yield 1
    refuse()


@pytest.mark.parametrize("step", [by_function, lambda: list(by_generator())], ids=["function", "generator"])
def test_an_error_of_the_work_is_a_failure_of_dagster_with_its_words_and_its_stack(step):
    with pytest.raises(dg.Failure) as shown:
        step()
    failure = shown.value
    assert (failure.description, failure.allow_retries) == ("The plan is old.", False)
    assert failure.metadata == {"place": dg.MetadataValue.text("retail")}
    assert (failure.__cause__, failure.__suppress_context__) == (None, True)
    assert shown.traceback[-1].name == "refuse"


def test_other_errors_are_shown_as_they_are():
    @shows_failures
    def broken() -> None:
        raise ValueError("a fault of the program")

    with pytest.raises(ValueError, match="a fault of the program"):
        broken()


def test_every_step_that_works_with_the_systems_shows_its_failures(tmp_path: Path):
    config = tmp_path / "companies.yaml"
    config.write_text(demo_companies_yaml("http://odoo.invalid", "http://mailchimp.invalid/3.0"))
    secrets = {"ODOO_SECRET": "secret", "MAILCHIMP_API_KEY": "0123456789abcdef0123456789abcdef-us1"}
    jobs = build_defs(load_settings(config, secrets)).get_repository_def().get_all_jobs()
    steps = {node.name: node.definition.compute_fn.decorated_fn for job in jobs for node in job.nodes}
    working = {name: step for name, step in steps.items() if "systems" in signature(step).parameters}
    assert {"odoo_partners", "contacts", "audience_push", "erase_people", "release_plan"} <= working.keys()
    assert [name for name, step in working.items() if unwrap(step) is step] == []
