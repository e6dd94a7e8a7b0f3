"""The last step of a run: it always runs, says once what is open, and alone reddens the run for a part."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mc_pipeline.defs.partitions import COMPANY_STATUS
from mc_pipeline.defs.run_tables import run_tables
from mc_pipeline.defs.status.assets import status_assets
from mc_pipeline.defs.systems import systems_resource
from mc_pipeline.domain.company_status import StatusRow
from mc_pipeline.ledger import Ledger, Trouble, TroubleKind
from mc_pipeline.settings import load_settings
from mc_pipeline.sync.company_status import rows_of
from mc_pipeline.sync.stored_status import stored_status
from mc_pipeline.sync.systems import Systems
from mc_pipeline_tests.world import TWO_AUDIENCES, World, set_environment

COMPANIES = dg.StaticPartitionsDefinition(["acme", "globex"])
FAULT = "Odoo refused the login of user a•••: check odoo.user and odoo.secret"
Body = Callable[[dg.AssetExecutionContext, Systems], None]


def nothing(context: dg.AssetExecutionContext, systems: Systems) -> None:
    """A step without trouble."""


def fails(context: dg.AssetExecutionContext, systems: Systems) -> None:
    raise dg.Failure(FAULT)


def reports(*troubles: Trouble) -> Body:
    def body(context: dg.AssetExecutionContext, systems: Systems) -> None:
        systems.ledger.troubles.report(
            context.partition_key, context.asset_key.to_user_string(), context.run.run_id, troubles
        )

    return body


def trouble(place: str, kind: TroubleKind = TroubleKind.BROKEN, part: str = "audience") -> Trouble:
    return Trouble(
        kind=kind,
        part=part,
        place=place,
        code="fields",
        sentence=f"The {part} {place} cannot take its fields.",
        what_to_do=f"Correct the fields of {place} in Mailchimp.",
        owner="marketing ops",
    )


class Steps:
    """A small graph with ``company_status`` at its end: read → plan → push, and alone."""

    def __init__(self, folder: Path) -> None:
        self.bodies: dict[str, Body] = dict.fromkeys(("read", "plan", "push", "alone"), nothing)
        self.leaks = False
        self.instance = dg.DagsterInstance.ephemeral()
        self.settings = load_settings(folder / "companies.yaml")

    def _asset(self, name: str, deps: list[str]) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=COMPANIES, deps=deps)
        def step(
            context: dg.AssetExecutionContext, systems: dg.ResourceParam[Systems]
        ) -> dg.MaterializeResult:
            self.bodies[name](context, systems)
            return dg.MaterializeResult()

        return step

    def run(self, company: str = "acme", only: tuple[str, ...] = ()) -> dg.ExecuteInProcessResult:
        """Run the whole job, or some of its assets."""

        @dg.multi_asset_check(
            name="plan_checks",
            specs=[
                dg.AssetCheckSpec(
                    "no_leaks",
                    asset="plan",
                    blocking=True,
                    description="Nothing leaks. For data engineering: report it.",
                    metadata={"owner": "data engineering"},
                )
            ],
        )
        def plan_checks() -> Iterator[dg.AssetCheckResult]:
            yield dg.AssetCheckResult(
                check_name="no_leaks",
                asset_key="plan",
                passed=not self.leaks,
                description="3 rows would harm.",
            )

        graph = {"read": [], "plan": ["read"], "push": ["plan"], "alone": []}
        definitions = dg.Definitions(
            assets=[*(self._asset(name, deps) for name, deps in graph.items()), *status_assets(COMPANIES)],
            asset_checks=[plan_checks],
            jobs=[dg.define_asset_job("sync_company")],
            resources={"io_manager": run_tables, "systems": systems_resource(self.settings)},
            executor=dg.in_process_executor,
        )
        return definitions.resolve_job_def("sync_company").execute_in_process(
            partition_key=company,
            instance=self.instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in (*only, COMPANY_STATUS)] if only else None,
        )


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    set_environment(monkeypatch, tmp_path)
    company = "odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n"
    (tmp_path / "companies.yaml").write_text(
        'odoo: {url: "http://odoo.invalid", database: x, user: a, secret: "${ODOO_SECRET}"}\n'
        'mailchimp: {main: {api_key: "${MAILCHIMP_API_KEY}"}}\n'
        f"companies:\n  acme:\n    {company}{TWO_AUDIENCES}"
    )
    return Steps(tmp_path)


def open_now(company: str = "acme") -> list[StatusRow]:
    stored = stored_status(company)
    assert stored is not None
    return rows_of(stored)


def failed(result: dg.ExecuteInProcessResult) -> list[str]:
    return [str(event.step_key) for event in result.all_events if event.is_step_failure]


def last_started(result: dg.ExecuteInProcessResult) -> str | None:
    return [event.step_key for event in result.all_events if event.is_step_start][-1]


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (made,) = result.asset_materializations_for_node(COMPANY_STATUS)
    return {name: value.value for name, value in made.metadata.items()}


def test_a_run_without_trouble_is_a_success_and_says_so(steps: Steps):
    result = steps.run()
    assert result.success
    assert last_started(result) == COMPANY_STATUS
    assert open_now() == []
    assert str(shown(result)["status"]).startswith("acme: everything is done, ")
    assert (shown(result)["broken"], shown(result)["waits"]) == (0, 0)


def test_trouble_of_parts_lets_every_step_run_and_reddens_the_last_one_alone(steps: Steps):
    steps.bodies["read"] = reports(trouble("retail"), trouble("VIP", part="tag"))
    steps.bodies["push"] = reports(trouble("retail"), trouble("shop", TroubleKind.WAITS, "store"))
    result = steps.run()
    assert failed(result) == [COMPANY_STATUS]
    assert [(row.kind, row.place, row.step, row.new) for row in open_now()] == [
        ("broken", "retail", "push, read", True),
        ("broken", "VIP", "read", True),
        ("waits", "shop", "push", True),
    ]
    said = shown(result)["status"]
    assert str(said).startswith("acme: 2 things are broken, 1 waits for you, ")
    (event,) = [event for event in result.all_events if event.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert str(failure.description).splitlines() == [
        said,
        "The audience retail cannot take its fields. Correct the fields of retail in Mailchimp.",
        "The tag VIP cannot take its fields. Correct the fields of VIP in Mailchimp.",
    ]


def test_what_only_waits_or_was_not_looked_at_is_no_failure(steps: Steps):
    steps.bodies["read"] = reports(
        trouble("retail", TroubleKind.WAITS), trouble("shop", TroubleKind.NOT_LOOKED_AT)
    )
    assert steps.run().success
    assert [row.kind for row in open_now()] == ["waits", "not_looked_at"]


def test_steps_that_fail_for_one_reason_are_one_row_with_what_they_hold_up(steps: Steps):
    steps.bodies["read"] = steps.bodies["alone"] = fails
    result = steps.run()
    assert failed(result) == ["alone", "read", COMPANY_STATUS]
    assert last_started(result) == COMPANY_STATUS
    (row,) = open_now()
    assert row.sentence == f"{FAULT}. Held up by it: plan, push."
    assert row.step == "alone, read"


def test_a_fault_of_the_program_is_reported_as_that_and_a_full_disk_is_not(steps: Steps):
    def misses_a_column(context: dg.AssetExecutionContext, systems: Systems) -> None:
        raise KeyError("email of ada@example.com")

    def has_no_room(context: dg.AssetExecutionContext, systems: Systems) -> None:
        raise OSError(28, "No space left on device")

    steps.bodies["push"], steps.bodies["alone"] = misses_a_column, has_no_room
    steps.run()
    assert sorted(row.sentence for row in open_now()) == [
        "alone could not continue: [Errno 28] No space left on device",
        "push failed because of a bug in mc_pipeline, KeyError: 'email of a•••@example.com'",
    ]


def test_a_blocking_check_that_fails_is_shown_in_its_words(steps: Steps):
    steps.leaks = True
    result = steps.run()
    assert failed(result) == ["plan_checks", COMPANY_STATUS]
    (row,) = open_now()
    assert (row.place, row.sentence, row.what_to_do) == ("plan/no_leaks", "3 rows would harm.", "Report it.")
    steps.leaks = False
    assert steps.run().success
    assert open_now() == [], "it is gone when the check passes"


def test_a_run_of_some_steps_keeps_what_the_others_reported_and_is_not_red_for_it(steps: Steps):
    steps.bodies["push"] = reports(trouble("retail"))
    steps.bodies["plan"] = fails
    steps.run()
    steps.bodies["plan"] = nothing
    steps.run()
    steps.bodies["plan"] = fails
    assert not steps.run().success
    alone = steps.run(only=("alone",))
    assert alone.success
    assert [(row.step, row.new, row.of_this_run) for row in open_now()] == [
        ("push", False, False),
        ("plan", False, False),
    ]
    steps.bodies["plan"] = steps.bodies["push"] = nothing
    steps.bodies["push"] = reports()
    assert steps.run().success
    assert open_now() == []


def test_what_is_found_again_is_not_new(steps: Steps):
    steps.bodies["read"], steps.bodies["alone"] = reports(trouble("retail")), fails
    steps.run()
    first = {row.step: row.since for row in open_now()}
    steps.run()
    assert [row.new for row in open_now()] == [False, False]
    assert {row.step: row.since for row in open_now()} == first


def test_the_trouble_of_a_company_is_its_own(steps: Steps):
    steps.bodies["alone"] = fails
    assert not steps.run("acme").success
    steps.bodies["alone"] = nothing
    assert steps.run("globex").success
    assert open_now("globex") == []
    assert len(open_now("acme")) == 1


def test_without_a_ledger_the_status_is_stored_all_the_same(steps: Steps, tmp_path: Path):
    steps.bodies["read"] = fails
    steps.run()
    ledger = tmp_path / "mc_pipeline" / "ledger.db"
    for path in ledger.parent.glob("ledger.db*"):
        path.unlink()
    ledger.mkdir()
    result = steps.run()
    shutil.rmtree(ledger)
    assert COMPANY_STATUS in failed(result)
    assert [(row.part, row.step) for row in open_now()] == [("ledger", "ledger"), ("step", "read")]
    assert open_now()[1].sentence == f"{FAULT}. Held up by it: plan, push."


def test_a_table_that_cannot_be_stored_is_reported_by_the_run(steps: Steps, tmp_path: Path):
    (tmp_path / "mc_pipeline" / "tables").mkdir(parents=True)
    (tmp_path / "mc_pipeline" / "tables" / COMPANY_STATUS).write_text("a file where the folder should be")
    steps.bodies["read"] = reports(trouble("retail"))
    result = steps.run()
    (event,) = [event for event in result.all_events if event.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert "The audience retail cannot take its fields." in str(failure.description)
    assert "The status of the company cannot be stored: " in str(failure.description)


@pytest.mark.long
def test_a_run_of_the_world_reports_the_reads_of_odoo_and_the_opt_outs(world: World):
    """The seam in the steps themselves: what shrank waits, and is gone when it is released."""
    for number in range(12):
        world.odoo.add_partner(name=f"Person {number}", email=f"person{number}@example.com")
    world.run(push=False)
    with Ledger.open() as ledger:
        last = ledger.reads.last_complete("acme", "odoo_partners")
        assert last is not None
        ledger.reads.record_observation("acme", "odoo_partners", last.observed_at, 10 * last.rows, True, "")
    result = world.run()
    found = {row.place: row for row in open_now()}
    shrunk = found["odoo_partners"]
    assert (shrunk.kind, shrunk.code) == ("waits", "shrunk")
    assert "mc-pipeline approve --read acme/odoo_partners" in shrunk.what_to_do
    assert COMPANY_STATUS not in failed(result)
    with Ledger.open() as ledger:
        ledger.reads.approve_read("acme", "odoo_partners", by="grace", reason="meant")
    world.run()
    assert "odoo_partners" not in {row.place for row in open_now()}
