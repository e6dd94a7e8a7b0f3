"""How a company stands, at the terminal: each trouble is one line, in ``sync`` as in ``status``."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mc_pipeline.cli.status import OLD_AFTER, Standing, said_first
from mc_pipeline.domain.company_status import NEVER_RUN, OK
from mc_pipeline.ledger import Ledger, RunBeat
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.cli.conftest import Finished, configure, mc_pipeline, serve_world
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 30, 18, 57, tzinfo=UTC)
KEYS = {
    "kind", "part", "place", "code", "sentence", "what_to_do", "owner", "step", "since", "seen_at", "new",
    "of_this_run",
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A company with two audiences and trouble in several parts, and one that was never synced."""
    with serve_world(tmp_path_factory.mktemp("shop")) as world:
        configure(world)
        second = world.odoo.add_company("Quiet")
        world.config.write_text(
            world.config.read_text()
            + f"  quiet:\n    odoo_company_id: {second}\n    mailchimp: main\n    timezone: Europe/Paris\n"
            "    audiences:\n      quiet: {list_id: quiet1, when: {}}\n"
        )
        world.mailchimp.add_audience("quiet1", "Quiet")
        ada = world.odoo.add_partner(name="Ada Person", email="ada@example.com")
        world.odoo.add_order(ada, 100.0, date_order=ORDERED)
        world.odoo.add_partner(name="Old Person", email="old@example.com")
        world.mailchimp.add_member("retail1", "old@example.com", "unsubscribed")
        yield world


def lines_of(finished: Finished, kind: str) -> list[str]:
    """The lines of a kind, each as it was written, up to what to do."""
    lines = re.findall(rf"^{kind}: (.*?)(?=^    \S)", finished.output, re.MULTILINE | re.DOTALL)
    return [" ".join(line.split()) for line in lines]


def stands(company: str = "acme") -> dict[str, Any]:
    (found,) = json.loads(mc_pipeline("status", company, "--json").output)
    return dict(found)


def test_trouble_in_several_parts_at_once_is_one_line_each_everywhere(shop: World):
    never = mc_pipeline("status", "acme")
    assert never.exit_code == 0
    assert "acme: no run has reported its state yet: mc-pipeline sync acme --plan" in never.in_one_line

    shop.mailchimp.faults.add(Fault("html_403", match_path_regex="/lists/wholesale1", times=None))
    shop.mailchimp.faults.add(Fault("html_403", match_path_regex="retail1/abuse-reports", times=None))
    finished = mc_pipeline("sync", "acme")
    shop.mailchimp.faults.clear()
    assert finished.exit_code == 1
    broken, waiting = lines_of(finished, "Broken"), lines_of(finished, "Waits")
    assert len(broken) == 2, finished.output
    assert any("wholesale (wholesale1) could not be read" in line for line in broken)
    assert any("retail: complaints cannot be read" in line for line in broken)
    assert len(waiting) == 2, finished.output
    assert any("1 person who opted out of retail before it was first read waits" in line for line in waiting)
    assert any("The first load of the audience retail waits for approval" in line for line in waiting)

    status = mc_pipeline("status", "acme")
    assert status.exit_code == 1
    assert re.search(
        r"acme: 2 things are broken, 2 wait for you, \d{4}-\d\d-\d\d \d\d:\d\d ", status.in_one_line
    )
    assert lines_of(status, "Broken") == broken
    assert lines_of(status, "Waits") == waiting

    found = stands()
    assert (found["company"], found["state"], found["under_way"]) == ("acme", "broken", [])
    assert all(row.keys() == KEYS for row in found["rows"])
    assert [(row["kind"], row["part"], row["place"]) for row in found["rows"]][:2] == [
        ("broken", "audience", "retail"),
        ("broken", "audience", "wholesale"),
    ]
    assert [row["kind"] for row in found["rows"]][2:] == ["waits", "waits"]
    assert sorted(row["sentence"] for row in found["rows"]) == sorted(broken + waiting)
    stored = shop.table("company_status").rows
    assert stored["sentence"].tolist() == [row["sentence"] for row in found["rows"]]
    assert "ada@" not in finished.output + status.output


def test_opt_outs_alone_are_no_failure_for_what_a_sync_left_open_elsewhere(shop: World):
    mc_pipeline("sync", "acme", "--opt-outs")
    shop.mailchimp.faults.add(Fault("html_403", match_path_regex="/lists/wholesale1", times=None))
    mc_pipeline("sync", "acme")
    shop.mailchimp.faults.clear()
    finished = mc_pipeline("sync", "acme", "--opt-outs")
    assert finished.exit_code == 3, "old opt-outs wait"
    assert lines_of(finished, "Broken") == []
    assert re.search(r"Open from earlier runs: \d \(mc-pipeline status acme\)", finished.in_one_line)
    rows = {row["place"]: row for row in stands()["rows"]}
    assert (rows["wholesale"]["kind"], rows["wholesale"]["of_this_run"]) == ("broken", False)
    assert "(from the last run that looked, at " in mc_pipeline("status", "acme").in_one_line
    assert mc_pipeline("status", "acme").exit_code == 1


def test_a_run_under_way_and_one_that_was_killed_are_said(shop: World):
    with Ledger.open() as ledger:
        ledger.runs.begin("run-under-way", company="acme", job="sync_company", owner="here:1")
        assert "sync_company is under way since" in mc_pipeline("status", "acme").in_one_line
        assert [run["run_id"] for run in stands()["under_way"]] == ["run-under-way"]
        ledger.runs.end("run-under-way")
    killed = mc_pipeline("status", "acme")
    assert "The last run (sync_company, " in killed.in_one_line
    assert "was interrupted or killed; the next run continues from there." in killed.in_one_line
    assert stands()["interrupted_run"] == "run-under-way"


def test_without_a_company_all_are_reported(shop: World):
    finished = mc_pipeline("status")
    assert finished.exit_code == 1, "the worst of both"
    assert "quiet: no run has reported its state yet" in finished.in_one_line
    found = {each["company"]: each for each in json.loads(mc_pipeline("status", "--json").output)}
    assert (found["quiet"]["state"], found["quiet"]["rows"], found["quiet"]["read_at"]) == (
        NEVER_RUN,
        [],
        None,
    )
    assert mc_pipeline("status", "quiet").exit_code == 0
    unknown = mc_pipeline("status", "acmee")
    assert unknown.exit_code == 2
    assert "companies.yaml has no company 'acmee'" in unknown.in_one_line


@pytest.mark.parametrize(
    ("ago", "line"),
    [
        (OLD_AFTER, None),
        (
            OLD_AFTER + timedelta(seconds=1),
            "  Not synced since 2026-11-29 17:56: mc-pipeline sync acme, or switch on the schedule "
            "nightly_acme.",
        ),
        (None, "  Not synced yet: mc-pipeline sync acme, or switch on the schedule nightly_acme."),
    ],
)
def test_a_company_whose_last_sync_is_old_is_said_to_be_behind(ago: timedelta | None, line: str | None):
    standing = Standing(
        company="acme",
        state=OK,
        read_at=NOW,
        synced_at=NOW - ago if ago is not None else None,
        under_way=(),
        unfinished=None,
        rows=(),
    )
    said = said_first(standing, PARIS, NOW)
    assert said[0] == "acme: everything is done, 2026-11-30 19:57"
    assert said[1:] == ([line] if line else [])


def test_the_run_that_ended_without_a_word_is_named_with_its_time():
    run = RunBeat(
        run_id="r", company="acme", job="opt_outs", owner="here:1", started_at=NOW, beat_at=NOW, ended_at=NOW
    )
    standing = Standing(
        company="acme", state=OK, read_at=NOW, synced_at=NOW, under_way=(run,), unfinished=run, rows=()
    )
    assert said_first(standing, PARIS, NOW)[1:] == [
        "  opt_outs is under way since 2026-11-30 19:57.",
        "  The last run (opt_outs, 2026-11-30 19:57) was interrupted or killed; the next run continues "
        "from there.",
    ]
