"""Whole runs with trouble in a store: it delays no other, is reported with its place, and leaves no trace."""

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from mc_pipeline.ledger import TroubleKind
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.mailchimp.stores import add_store
from mc_pipeline_tests.properties.fault_matrix import _with_stores
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Run
from mc_pipeline_tests.properties.small_world import COMPANY, ORDERED, SmallWorld, small_world

STORE, FIRMS = f"store-of-{RETAIL}", f"store-of-{WHOLESALE}"


class Town:
    """A small town with a store for each audience; Ada and a firm bought something."""

    def __init__(self, world: SmallWorld) -> None:
        self.world = world
        self.mailchimp = world.mailchimp
        self.buy("ada@example.com")
        self.buy("firm@example.com", is_company=True)

    def buy(self, email: str, *, is_company: bool = False, price: float = 100.0) -> str:
        """An order of somebody who may be new; its id in a store."""
        odoo = self.world.odoo
        known = odoo.search("res.partner", [("email", "=", email)])
        partner = known[0] if known else odoo.add_partner(name="Ada", email=email, is_company=is_company)
        lines = [{"name": "Machine", "price_unit": price}]
        return f"o{odoo.add_order(partner, lines=lines, date_order=ORDERED)}"

    def sync(self) -> Run:
        """One run, and another one when a person had to approve something."""
        run = self.world.run()
        if self.world.approve_what_waits(run):
            run = self.world.run()
        assert run.succeeded, run.failure
        return run

    def held(self, store: str) -> dict[str, float]:
        """Total without tax of each order in a store of ours."""
        found = self.mailchimp.state.stores.get(store)
        orders = found.orders if found else {}
        return {name: order["order_total"] - order["tax_total"] for name, order in orders.items()}

    def compared(self, run: Run) -> tuple[set[str], set[str]]:
        """How stores differ by the reconciliation, and why kept revenue is in none."""
        rows = run.tables["revenue_reconciliation"].rows
        return set(rows["differs_because"]) - {""}, set(rows["left_out_because"]) - {""}

    def troubles(self) -> dict[tuple[str, str], TroubleKind]:
        """What is open in the ledger, by step and code."""
        with self.world._ledger_of_a_person() as systems:
            found = systems.ledger.troubles.open(COMPANY)
        return {(each.step, each.trouble.code): each.trouble.kind for each in found}

    def writes(self) -> list[str]:
        """What was written to stores since the journal was cleared."""
        entries = self.mailchimp.journal.writes
        return [f"{each.method} {each.path}" for each in entries if "/ecommerce/" in each.path]

    def check_nothing_is_left(self) -> None:
        """One more run writes nothing, and nothing is open or differs."""
        self.mailchimp.journal.clear()
        run = self.sync()
        assert self.mailchimp.journal.writes == []
        assert self.compared(run)[0] <= {"left_alone"}
        assert self.troubles() == {}


@pytest.fixture
def town() -> Iterator[Town]:
    with small_world() as world:
        world.settings = _with_stores(world)
        yield Town(world)


def creation_is_refused(town: Town) -> None:
    """Another account has a store of this id: Mailchimp answers 400 to the creation."""
    with town.mailchimp.state.lock:
        body = {"id": STORE, "list_id": RETAIL, "name": "x", "currency_code": "EUR"}
        add_store(town.mailchimp.state, town.mailchimp.audience(RETAIL).account, body).account = "another"


def of_another_audience(town: Town) -> None:
    with town.mailchimp.state.lock:
        body = {"id": STORE, "list_id": WHOLESALE, "name": "x", "currency_code": "EUR"}
        add_store(town.mailchimp.state, town.mailchimp.audience(RETAIL).account, body)


def answers_nothing(town: Town) -> None:
    town.mailchimp.faults.add(Fault("html_503", None, f"/stores/{STORE}", times=None))


@pytest.mark.parametrize("trouble", [creation_is_refused, of_another_audience, answers_nothing])
def test_a_store_that_cannot_be_opened_delays_no_other_and_is_reported_once(
    town: Town, trouble: Callable[[Town], None]
):
    trouble(town)
    run = town.sync()
    assert town.held(FIRMS) == {"o2": 100.0}
    assert town.held(STORE) == {}
    assert town.compared(run) == (set(), {"not_looked_at"})
    kinds = town.troubles()
    broken = [place for place, kind in kinds.items() if kind is TroubleKind.BROKEN]
    assert [step for step, _ in broken] == ["product_push"]
    assert kinds[("order_push", "not_written")] is TroubleKind.NOT_LOOKED_AT
    assert kinds[("revenue_reconciliation", "not_compared")] is TroubleKind.NOT_LOOKED_AT
    town.mailchimp.faults.clear()
    town.mailchimp.state.stores.pop(STORE, None)
    town.sync()
    assert town.held(STORE) == {"o1": 100.0}
    town.check_nothing_is_left()


def test_a_store_that_cannot_be_read_back_does_not_differ_and_the_others_are_compared(town: Town):
    town.sync()
    town.mailchimp.edit_order(FIRMS, "o2", order_total=999.0)
    town.mailchimp.faults.add(Fault("html_503", "GET", f"/stores/{STORE}/orders", times=None))
    run = town.sync()
    assert town.compared(run) == ({"amount_differs"}, {"not_looked_at"})
    assert town.troubles() == {
        ("revenue_reconciliation", "request_failed"): TroubleKind.BROKEN,
        ("revenue_reconciliation", "orders_differ"): TroubleKind.BROKEN,
    }
    town.mailchimp.faults.clear()
    town.sync()
    town.check_nothing_is_left()


@pytest.mark.quick
def test_a_product_that_mailchimp_refuses_holds_up_its_own_orders_alone(town: Town):
    town.sync()
    product = town.world.odoo.create("product.product", {"name": "Poison", "list_price": 5.0})
    partner = town.world.odoo.search("res.partner", [("email", "=", "ada@example.com")])[0]
    lines = [{"name": "Poison", "product_id": product, "price_unit": 5.0}]
    late = town.world.odoo.add_order(partner, lines=lines, date_order=ORDERED)
    fine = town.buy("ada@example.com")
    town.mailchimp.faults.add(
        Fault("html_403", "POST", f"/stores/{STORE}/products", times=None, match_body_regex="Poison")
    )
    town.sync()
    assert fine in town.held(STORE)
    assert f"o{late}" not in town.held(STORE)
    assert town.troubles()[("order_push", "orders_held_back")] is TroubleKind.NOT_LOOKED_AT
    town.mailchimp.faults.clear()
    town.sync()
    town.check_nothing_is_left()


def test_the_date_of_an_order_that_was_moved_in_mailchimp_is_listed_and_put_right(town: Town):
    town.sync()
    town.mailchimp.edit_order(STORE, "o1", processed_at_foreign="2026-02-01T10:00:00+00:00")
    rows = town.sync().tables["revenue_reconciliation"].rows
    (row,) = rows[rows["differs_because"] != ""].to_dict("records")
    assert (row["foreign_order_id"], row["differs_because"], row["month"]) == (
        "o1",
        "date_differs",
        "2026-05",
    )
    assert "2026-02-01 10:00:00 UTC (2026-02) instead of 2026-05-04" in row["differs_detail"]
    town.sync()
    moved = town.mailchimp.store(STORE).orders["o1"]["processed_at_foreign"]
    assert datetime.fromisoformat(moved) == ORDERED
    town.check_nothing_is_left()


def test_an_older_ledger_put_back_and_a_lost_one_change_nothing_in_the_stores(town: Town):
    town.sync()
    ledger = town.world.folder / "ledger.db"
    yesterday = ledger.read_bytes()
    town.buy("ada@example.com")
    town.buy("eve@example.com")
    town.sync()
    for put_back in (lambda: ledger.write_bytes(yesterday), lambda: ledger.unlink()):
        before = {store: town.held(store) for store in (STORE, FIRMS)}
        customers = sorted(town.mailchimp.store(STORE).customers)
        for file in ledger.parent.glob("ledger.db-*"):
            file.unlink()
        put_back()
        town.mailchimp.journal.clear()
        run = town.sync()
        assert town.writes() == []
        assert {store: town.held(store) for store in (STORE, FIRMS)} == before
        assert sorted(town.mailchimp.store(STORE).customers) == customers
        assert town.compared(run) == (set(), set())


def test_an_order_of_somebody_archived_is_reported_as_left_alone_after_a_lost_ledger(town: Town):
    town.sync()
    for file in town.world.folder.glob("ledger.db*"):
        file.unlink()
    town.mailchimp.archive(RETAIL, "ada@example.com")
    assert town.compared(town.sync()) == ({"left_alone"}, {"not_a_member"})
    assert town.mailchimp.status(RETAIL, "ada@example.com") == "archived"
    run = town.sync()
    # It is listed, and nothing is said to be written.
    metadata = run.metadata["order_push"]
    assert (len(run.tables["order_push"].rows), metadata["written"]) == (1, 0)
    town.check_nothing_is_left()


def test_a_customer_and_a_store_that_people_deleted_come_back(town: Town):
    town.sync()
    town.mailchimp.delete_customers(STORE, "ada@example.com")
    later = town.buy("ada@example.com")
    town.sync()
    assert town.held(STORE) == {"o1": 100.0, later: 100.0}
    town.check_nothing_is_left()
    town.mailchimp.delete_store(STORE)
    town.sync()
    assert town.held(STORE) == {"o1": 100.0, later: 100.0}
    town.check_nothing_is_left()


def test_an_order_brings_nobody_back_who_was_deleted_with_their_customer(town: Town):
    town.sync()
    town.buy("ada@example.com")

    def delete_everything() -> None:
        town.mailchimp.delete_permanently(RETAIL, "ada@example.com")
        town.mailchimp.delete_customers(STORE, "ada@example.com")
        town.mailchimp.journal.clear()

    run = town.world.run(before={"order_push": delete_everything})
    assert run.succeeded, run.failure
    assert town.mailchimp.status(RETAIL, "ada@example.com") is None
    assert not [each for each in town.writes() if each.endswith("/customers")]
    details = run.tables["order_push"].rows["detail"]
    assert details.str.contains("the person is not a member any more").any()


def test_the_store_of_an_audience_that_nobody_approved_gets_nothing(town: Town):
    town.mailchimp.add_member(RETAIL, "ada@example.com", "subscribed")
    town.buy("eve@example.com")
    town.world.run()
    assert town.writes() == []
    assert town.held(STORE) == {}
