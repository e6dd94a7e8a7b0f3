"""A plan that waits holds back its own rows, and the rest of the run goes on (rule 7.6).

Two audiences with a store each. What waits is released by its plan or by a later one, and applied once.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from mc_pipeline.ledger import PlanError
from mc_pipeline.ledger.troubles import TroubleKind
from mc_pipeline.settings.models import GuardSettings
from mc_pipeline_tests.properties.fault_matrix import _with_stores
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Death, Run
from mc_pipeline_tests.properties.small_world import COMPANY, ORDERED, SmallWorld, small_world


def customer(world: SmallWorld, name: str, *, is_company: bool = False) -> int:
    return world.odoo.add_partner(name=name, email=f"{name.lower()}@example.com", is_company=is_company)


def buy(world: SmallWorld, partner: int) -> int:
    (desk,) = world.odoo.search("product.product", [("default_code", "=", "DESK")])
    line = {"product_id": desk, "name": "Desk", "product_uom_qty": 1, "price_unit": 100.0}
    return world.odoo.add_order(partner, date_order=ORDERED, lines=[line])


@pytest.fixture
def town() -> Iterator[SmallWorld]:
    with small_world() as world:
        world.settings = _with_stores(world)
        world.odoo.create("product.product", {"name": "Desk", "default_code": "DESK"})
        yield world


def let_nobody_be_archived(world: SmallWorld) -> None:
    """The smallest guard there is: one archiving is too much."""
    guards = GuardSettings.model_validate({"archived": {"percent": 0, "at_least": 0}})
    company = world.settings.companies[COMPANY].model_copy(update={"guards": guards})
    world.settings = world.settings.model_copy(update={"companies": {COMPANY: company}})


def outcomes(run: Run) -> dict[tuple[str, str], str]:
    rows = run.tables["audience_push"].rows
    people = rows["email"].str.partition("@")[0]
    return dict(zip(zip(rows["operation"], people, strict=True), rows["outcome"], strict=True))


def written(world: SmallWorld, since: int) -> list[str]:
    return [
        f"{entry.method} {entry.path}" for entry in world.mailchimp.journal.since(since) if entry.is_write
    ]


def held(world: SmallWorld, list_id: str) -> dict[str, float]:
    """What the orders of a store amount to, by the address of their customer."""
    store = world.mailchimp.state.stores.get(f"store-of-{list_id}")
    if store is None:
        return {}
    amounts: Counter[str] = Counter()
    for order in store.orders.values():
        buyer = store.customers[order["customer_id"]].email_address
        amounts[buyer.partition("@")[0]] += float(order["order_total"])
    return dict(amounts)


def what_is_open(world: SmallWorld) -> list[tuple[TroubleKind, str, str]]:
    with world._ledger_of_a_person() as systems:
        found = systems.ledger.troubles.open(COMPANY)
    return [(each.trouble.kind, each.trouble.place, each.trouble.code) for each in found]


def plan_id(run: Run) -> str:
    return str(run.metadata["audience_plan"]["plan_id"])


def approve(world: SmallWorld, plan: str) -> None:
    with world._ledger_of_a_person() as systems:
        systems.ledger.plans.approve(plan, by="marketing", reason="looks right")


def waiting(world: SmallWorld) -> list[str]:
    with world._ledger_of_a_person() as systems:
        return [plan.plan_id for plan in systems.ledger.plans.waiting(COMPANY)]


def load(world: SmallWorld) -> None:
    """Everybody is loaded; then somebody leaves, which is too much, and everything else changes too."""
    people = {
        name: customer(world, name, is_company=name in ("Firm", "Closing"))
        for name in ("Firm", "Closing", "Ann", "Ben")
    }
    for partner in people.values():
        buy(world, partner)
    cancelled = buy(world, people["Ann"])
    world.run_until_done()
    assert held(world, RETAIL) == {"ann": 200.0, "ben": 100.0}
    let_nobody_be_archived(world)
    world.time_passes(timedelta(minutes=5))
    world.odoo.archive_partner(people["Closing"])
    world.odoo.edit_partner(people["Firm"], name="Firm Limited")
    world.odoo.cancel_order(cancelled)
    world.odoo.edit_partner(people["Ben"], name="Ben King")
    buy(world, customer(world, "Dan"))
    world.mailchimp.sign_up(WHOLESALE, "out@example.com")
    customer(world, "Out")
    world.mailchimp.unsubscribe(WHOLESALE, "out@example.com")


def check_all_but_what_waits_is_done(world: SmallWorld, run: Run) -> None:
    assert run.succeeded, run.failure
    assert run.needs_approval
    found = outcomes(run)
    assert {row: outcome for row, outcome in found.items() if outcome == "waits"} == {
        ("archive", "closing"): "waits",
        ("create", "dan"): "waits",
        ("tag", "dan"): "waits",
    }
    assert world.member_fields(WHOLESALE, "firm@example.com")["FNAME"] == "Firm Limited"
    assert world.member_fields(RETAIL, "ben@example.com")["FNAME"] == "Ben King"
    assert "out@example.com" in world.odoo.database.blacklisted()
    assert world.mailchimp.status(WHOLESALE, "closing@example.com") == "transactional"
    assert world.mailchimp.status(RETAIL, "dan@example.com") is None
    # An order of a member goes on, and nobody who waits is in a store.
    assert held(world, RETAIL) == {"ann": 100.0, "ben": 100.0}
    assert run.metadata["revenue_reconciliation"]["orders_that_differ"] == 0
    assert what_is_open(world) == [(TroubleKind.WAITS, "archived of wholesale", "tripped")]


@pytest.mark.parametrize("released", ["the first plan", "the plan of the rest"])
def test_a_guard_of_one_audience_holds_back_its_people_and_nothing_else(town: SmallWorld, released: str):
    load(town)
    first = town.run()
    check_all_but_what_waits_is_done(town, first)
    rows = first.tables["audience_push"].rows
    said = rows.loc[rows["outcome"] == "waits", "detail"]
    assert said.str.startswith(f"plan {plan_id(first)} waits for approval: 1 members would be archived").all()

    before = town.mailchimp.journal.last_number
    again = town.run()
    check_all_but_what_waits_is_done(town, again)
    assert set(outcomes(again).values()) == {"waits"}
    assert written(town, before) == []
    assert waiting(town) == [plan_id(again)]

    approve(town, plan_id(first if released == "the first plan" else again))
    before = town.mailchimp.journal.last_number
    done = town.run()
    assert done.succeeded, done.failure
    assert not done.needs_approval
    assert outcomes(done) == {
        ("archive", "closing"): "applied",
        ("create", "dan"): "applied",
        ("tag", "dan"): "applied",
    }
    assert town.mailchimp.status(WHOLESALE, "closing@example.com") == "archived"
    assert held(town, RETAIL) == {"ann": 100.0, "ben": 100.0, "dan": 100.0}
    of_members = [each for each in written(town, before) if "/members/" in each or each.endswith(RETAIL)]
    assert len(of_members) == 2, "one archiving and one creation"
    assert waiting(town) == []
    assert what_is_open(town) == []
    with pytest.raises(PlanError, match="nothing left to approve"):
        approve(town, plan_id(done))
    town.check_nothing_is_left_to_do()
    assert not town.violations()


@pytest.mark.parametrize(("place", "number"), [("after_request", 0), ("before_request", 1), ("ledger", 12)])
def test_a_process_that_dies_while_it_applies_a_part_leaves_the_rest_approvable(
    town: SmallWorld, place: str, number: int
):
    load(town)
    death = Death()

    def arm() -> None:
        death.place, death.number = place, number

    died = town.run(death, before={"audience_push": arm})
    assert died.failed_step == "audience_push"
    assert death.dead
    assert waiting(town) == [plan_id(died)]
    town.time_passes(timedelta(minutes=10))
    check_all_but_what_waits_is_done(town, town.run())
    town.run_until_done()
    assert town.mailchimp.status(WHOLESALE, "closing@example.com") == "archived"
    assert held(town, RETAIL) == {"ann": 100.0, "ben": 100.0, "dan": 100.0}
    town.check_everybody_is_where_they_belong()
    town.check_nothing_is_left_to_do()
    assert not town.violations()


@pytest.mark.quick
def test_the_first_load_of_an_audience_waits_beside_one_that_is_approved(town: SmallWorld):
    people = {name: customer(town, name) for name in ("Ann", "Ben")}
    for partner in people.values():
        buy(town, partner)
    town.run_until_done()

    # Ann becomes a company: she moves. A firm is a member of wholesale already, and one has to be created.
    town.odoo.edit_partner(people["Ann"], is_company=True)
    town.odoo.edit_partner(people["Ben"], name="Ben King")
    firms = {name: customer(town, name, is_company=True) for name in ("Member", "Newfirm", "Saidno")}
    for partner in (*firms.values(), customer(town, "Dan")):
        buy(town, partner)
    for name in ("member", "saidno"):
        town.mailchimp.sign_up(WHOLESALE, f"{name}@example.com")
    town.odoo.blacklist("saidno@example.com")

    before = town.mailchimp.journal.last_number
    run = town.run()
    assert run.succeeded, run.failure
    assert run.needs_approval
    assert [each for each in what_is_open(town) if each[0] != TroubleKind.NOT_LOOKED_AT] == [
        (TroubleKind.WAITS, "wholesale", "first_load")
    ]
    (opt_out,) = [each for each in written(town, before) if WHOLESALE in each]
    assert opt_out.startswith("PATCH")
    assert town.mailchimp.status(WHOLESALE, "saidno@example.com") == "unsubscribed"
    assert f"store-of-{WHOLESALE}" not in town.mailchimp.state.stores
    assert town.mailchimp.statuses(RETAIL) == dict.fromkeys(
        ("ann@example.com", "ben@example.com", "dan@example.com"), "transactional"
    )
    assert outcomes(run)[("archive", "ann")] == "waits", "she stays until she is in wholesale"
    assert town.member_fields(RETAIL, "ben@example.com")["FNAME"] == "Ben King"
    # An order stays where its person is.
    assert held(town, RETAIL) == {"ann": 100.0, "ben": 100.0, "dan": 100.0}
    assert run.metadata["revenue_reconciliation"]["orders_that_differ"] == 0

    assert town.approve_what_waits(run)
    town.run_until_done()
    assert town.mailchimp.status(RETAIL, "ann@example.com") == "archived"
    assert held(town, RETAIL) == {"ben": 100.0, "dan": 100.0}
    assert held(town, WHOLESALE) == dict.fromkeys(("ann", "member", "newfirm", "saidno"), 100.0)
    assert what_is_open(town) == []
    town.check_everybody_is_where_they_belong()
    town.check_nothing_is_left_to_do()
    assert not town.violations()


def test_the_store_of_an_audience_that_is_as_it_should_be_waits_for_its_approval_too():
    """Every member is as wanted when the ledger is lost: no row of the plan asks for an approval then."""
    with small_world() as world:
        world.odoo.create("product.product", {"name": "Desk", "default_code": "DESK"})
        buy(world, customer(world, "Ann"))
        world.run_until_done()
        (world.folder / "ledger.db").unlink()
        shutil.rmtree(world.folder / "tables")
        world.settings = _with_stores(world)

        run = world.run()
        assert run.succeeded, run.failure
        assert run.tables["audience_plan"].rows.empty
        assert run.needs_approval
        assert f"store-of-{RETAIL}" not in world.mailchimp.state.stores
        assert world.approve_what_waits(run)
        done = world.run()
        assert not done.needs_approval
        assert held(world, RETAIL) == {"ann": 100.0}
        assert waiting(world) == []


def test_a_plan_that_would_harm_somebody_is_not_pushed_by_whoever_starts_the_push(town: SmallWorld):
    buy(town, customer(town, "Ann"))
    town.run_until_done()
    buy(town, customer(town, "Dan"))
    before = town.mailchimp.journal.last_number
    run = town.run(before={"audience_push": lambda: say_that_it_leaks(town)})
    assert run.failed_step == "audience_push"
    assert "has 1 rows that would harm somebody" in str(getattr(run.failure, "description", ""))
    assert written(town, before) == []
    town.run_until_done()
    assert town.mailchimp.status(RETAIL, "dan@example.com") == "transactional"


def say_that_it_leaks(town: SmallWorld) -> None:
    """No plan of ours is known to leak: the ledger is made to say so."""
    with sqlite3.connect(town.folder / "ledger.db") as ledger:
        ledger.execute("UPDATE ledger_plan SET counts_json = json_set(counts_json, '$.leaking', 1)")
