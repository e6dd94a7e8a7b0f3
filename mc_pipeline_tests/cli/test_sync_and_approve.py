"""Sync and approve at the terminal: exit codes, one clear line for each trouble, and nothing written then."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from mc_pipeline.ledger import Ledger
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline_tests.cli.conftest import Finished, configure, mc_pipeline, serve_world, writes
from mc_pipeline_tests.world import TWO_AUDIENCES, World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with two customers and one user who may not see orders, never synced."""
    with serve_world(tmp_path_factory.mktemp("shop")) as world:
        for name in ("ada", "mary"):
            partner = world.odoo.add_partner(name=f"{name.title()} Person", email=f"{name}@example.com")
            world.odoo.add_order(partner, 100.0, date_order=ORDERED)
        clerk = world.odoo.add_user("clerk", "admin", groups=("sales_all", "email_marketing"))
        world.odoo.deny(clerk, "sale.order")
        yield world


@pytest.fixture(autouse=True)
def right_settings(shop: World) -> None:
    configure(shop)
    shop.odoo.journal.clear()
    shop.mailchimp.journal.clear()


def broken_lines(finished: Finished) -> list[str]:
    return re.findall(r"Broken: .*?(?=Broken:|Waits:|acme: done|$)", finished.in_one_line)


TROUBLE: dict[str, tuple[Callable[[World, pytest.MonkeyPatch], None], str]] = {
    "wrong password": (
        lambda world, patch: patch.setenv("ODOO_SECRET", "of-another-user"),
        "Odoo refused the login of user a•••: check odoo.user and odoo.secret",
    ),
    "wrong database": (
        lambda world, patch: configure(world, database="other"),
        "'other': the Odoo server has no such database: correct odoo.database",
    ),
    "unreachable Odoo": (
        lambda world, patch: configure(world, url="http://127.0.0.1:9"),
        "Odoo at http://127.0.0.1:9 cannot be reached: check the host and port in odoo.url",
    ),
    "right on orders missing": (
        lambda world, patch: configure(world, user="clerk"),
        "give the Odoo user the right Sales / User: All Documents",
    ),
    "wrong list id": (
        lambda world, patch: configure(world, audiences=TWO_AUDIENCES.replace("retail1", "nowhere1")),
        "Check the id: it does not exist in the account of this API key",
    ),
    "key refused by Mailchimp": (
        lambda world, patch: patch.setenv("MAILCHIMP_API_KEY", "fedcba9876543210fedcba9876543210-us1"),
        "Check the API key of this Mailchimp account",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_with_a_system_is_reported_once_and_nothing_is_written(
    shop: World, monkeypatch: pytest.MonkeyPatch, trouble: str
):
    break_it, sentence = TROUBLE[trouble]
    break_it(shop, monkeypatch)
    finished = mc_pipeline("sync", "acme")
    assert finished.exit_code == 1, finished.output
    (line,) = broken_lines(finished)
    assert sentence in line
    assert "mc-pipeline doctor acme" in line, "what to do"
    assert "Traceback" not in finished.output
    assert "of-another-user" not in finished.output
    assert "@example.com" not in finished.output
    assert writes(shop) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("sync",), "name companies to sync, or --all; companies.yaml has acme"),
        (("sync", "acmee"), "companies.yaml has no company 'acmee'; it has acme"),
        (("approve", "abc", "--read", "acme/odoo_partners"), "give a plan or --read, not both"),
        (("approve", "--read", "acme"), "give it as COMPANY/TABLE"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    shop: World, arguments: tuple[str, ...], sentence: str
):
    finished = mc_pipeline(*arguments)
    assert finished.exit_code == 2
    assert sentence in finished.in_one_line
    assert shop.odoo.journal.requests == []
    assert shop.mailchimp.journal.requests == []


def test_help_names_every_command():
    finished = mc_pipeline("--help")
    assert finished.exit_code == 0
    for command in ("sync", "approve", "doctor", "explain", "sandbox", "demo"):
        assert f"  {command} " in finished.output


def test_settings_that_cannot_be_used_are_one_line_each(shop: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ODOO_SECRET")
    monkeypatch.delenv("MAILCHIMP_API_KEY")
    finished = mc_pipeline("sync", "acme")
    assert finished.exit_code == 1
    assert "odoo.secret: the environment variable ODOO_SECRET is not set" in finished.in_one_line
    assert (
        "mailchimp.main.api_key: the environment variable MAILCHIMP_API_KEY is not set"
        in finished.in_one_line
    )
    assert "Traceback" not in finished.output


def test_approving_is_refused_for_what_is_not_there(shop: World):
    unknown = mc_pipeline("approve", "000000000000")
    assert unknown.exit_code == 1
    assert "Error: there is no plan 000000000000" in unknown.in_one_line
    never_read = mc_pipeline("approve", "--read", "acme/odoo_invoices")
    assert never_read.exit_code == 1
    assert "no read of table odoo_invoices of company acme is recorded" in never_read.in_one_line


def test_a_first_load_waits_for_approval_and_is_then_pushed(shop: World):
    shop.odoo.blacklist("mary@example.com")
    shop.mailchimp.add_member("retail1", "mary@example.com")
    only_planned = mc_pipeline("sync", "acme", "--plan")
    assert only_planned.exit_code == 3
    assert writes(shop) == []

    listed = mc_pipeline("approve")
    assert listed.exit_code == 0
    plan_id = re.search(r"([0-9a-f]{12})\s+acme", listed.output)
    assert plan_id
    approved = mc_pipeline("approve", plan_id[1], "--by", "grace", "--reason", "first load seen")
    assert approved.exit_code == 0
    assert f"Plan {plan_id[1]} of acme is approved by grace" in approved.in_one_line
    assert "No plan and no old opt-out waits for approval." in mc_pipeline("approve").in_one_line

    done = mc_pipeline("sync", "acme")
    assert done.exit_code == 0, done.output
    assert shop.mailchimp.status("retail1", "ada@example.com") == "transactional"
    assert shop.mailchimp.status("retail1", "mary@example.com") == "unsubscribed"
    again = mc_pipeline("approve", plan_id[1])
    assert again.exit_code == 1
    assert "there is nothing left to approve" in again.in_one_line


def test_an_audience_that_cannot_be_read_is_said_and_everything_else_is_done(shop: World):
    newcomer = shop.odoo.add_partner(name="Joan Person", email="joan@example.com")
    shop.odoo.add_order(newcomer, 100.0, date_order=ORDERED)
    shop.mailchimp.faults.add(Fault("html_403", match_path_regex="/lists/wholesale1", times=None))
    finished = mc_pipeline("sync", "acme")
    shop.mailchimp.faults.clear()
    assert finished.exit_code == 1
    (unread,) = broken_lines(finished)
    assert "wholesale (wholesale1) could not be read" in unread
    assert "IP address is blocked" in unread
    assert "acme: done" in finished.in_one_line
    assert shop.mailchimp.status("retail1", "joan@example.com") == "transactional"
    assert mc_pipeline("sync", "acme").exit_code == 0


def test_a_read_that_shrank_is_released_by_name(shop: World):
    with Ledger.open() as ledger:
        ledger.reads.record_observation(
            "acme", "odoo_orders", datetime.now(UTC), 1, complete=False, incomplete_because="it shrank"
        )
    approved = mc_pipeline("approve", "--read", "acme/odoo_orders", "--by", "grace")
    assert approved.exit_code == 0
    assert "The read of odoo_orders of acme with 1 rows is approved by grace." in approved.in_one_line
    with Ledger.open() as ledger:
        accepted = ledger.reads.last_complete("acme", "odoo_orders")
    assert accepted is not None
    assert accepted.rows == 1
    assert accepted.approved_by == "grace"


def test_opt_outs_alone_write_nothing_else(shop: World):
    shop.mailchimp.add_member("retail1", "grace@example.com", "subscribed")
    shop.odoo.blacklist("grace@example.com")
    finished = mc_pipeline("sync", "acme", "--opt-outs")
    assert finished.exit_code == 0, finished.output
    assert re.search(r"Unsubscribed in Mailchimp because of Odoo: (\d+) of \1\n", finished.output)
    assert shop.mailchimp.status("retail1", "grace@example.com") == "unsubscribed"
    bodies = [entry.body for entry in shop.mailchimp.journal.writes]
    assert bodies
    assert all(body == {"status": "unsubscribed"} for body in bodies)


def test_opt_outs_are_in_no_plan(shop: World):
    finished = mc_pipeline("sync", "acme", "--opt-outs", "--plan")
    assert finished.exit_code == 2
    assert "exclude each other" in finished.output
