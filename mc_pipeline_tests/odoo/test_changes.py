"""Reading what changed gives exactly what reading everything gives, and costs what the changes cost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_pipeline.odoo.changes import WHOLE_READ_EVERY, Reading, Snapshot
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.orders import read_order_lines, read_orders
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.odoo.reading import OdooRead
from mc_pipeline.odoo.refunds import read_refunds
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.conftest import logged_in

LONG_AGO = timedelta(days=30)

TABLES: dict[str, Callable[[OdooClient, Reading], OdooRead]] = {
    "partners": lambda client, reading: read_partners(client, 1, reading=reading),
    "orders": lambda client, reading: read_orders(client, 1, "Europe/Paris", reading=reading),
    "refunds": lambda client, reading: read_refunds(client, 1, reading=reading),
    "order lines": lambda client, reading: read_order_lines(client, 1, reading=reading),
}


class Office:
    """People at work in an Odoo: whatever they do, by numbers that pick what they do it to."""

    def __init__(self, odoo: SandboxOdoo) -> None:
        self.odoo = odoo
        self.numbers = count()
        with odoo.at(datetime.now(UTC) - LONG_AGO):
            self.tags = [odoo.add_tag(name) for name in ("Gold", "Silver")]
            self.newsletter = odoo.add_mailing_list("Newsletter")
            company = odoo.add_partner(name="Mill", is_company=True, email="mill@example.com", tags=self.tags)
            odoo.add_partner(name="Ann", parent_id=company, email="ann@example.com", country="FR")
            odoo.add_partner(name="Ben", email="ben@example.com", tags=self.tags[:1])
            odoo.add_partner(name="Cleo", email="cleo@example.com")
            for _ in range(3):
                self.order(next(self.numbers))
            invoice = odoo.invoice_order(self.orders()[0])
            odoo.credit_invoice(invoice, quantity=1)

    # what there is

    def partners(self) -> list[int]:
        users = {
            *(self.odoo.read("res.users", user, "partner_id")["partner_id"] for user in self._all_users()),
            *(
                self.odoo.read("res.company", company, "partner_id")["partner_id"]
                for company in self.odoo.search("res.company")
            ),
        }
        return [partner for partner in self.odoo.search("res.partner", order="id") if partner not in users]

    def _all_users(self) -> list[int]:
        return self.odoo.search("res.users")

    def orders(self, *states: str) -> list[int]:
        return self.odoo.search("sale.order", [("state", "in", states or ["sale"])], order="id")

    def documents(self, kind: str, state: str) -> list[int]:
        return self.odoo.search("account.move", [("move_type", "=", kind), ("state", "=", state)], order="id")

    def partner(self, pick: int) -> int:
        partners = self.partners()
        return partners[pick % len(partners)] if partners else self.create_partner(pick)

    # what people do

    def create_partner(self, pick: int) -> int:
        number = next(self.numbers)
        return self.odoo.add_partner(name=f"Person {number}", email=f"person{number}@example.com")

    def rename_partner(self, pick: int) -> None:
        self.odoo.edit_partner(self.partner(pick), name=f"Name {next(self.numbers)}")

    def change_email(self, pick: int) -> None:
        self.odoo.edit_partner(self.partner(pick), email=f"other{next(self.numbers)}@example.com")

    def change_parent(self, pick: int) -> None:
        child, parent = self.partner(pick), self.partner(pick // 7)
        grandparent = self.odoo.read("res.partner", parent, "parent_id")["parent_id"]
        children = self.odoo.search("res.partner", [("parent_id", "=", child)])
        if child != parent and not grandparent and not children:
            self.odoo.edit_partner(child, parent_id=parent)

    def archive(self, pick: int) -> None:
        self.odoo.archive_partner(self.partner(pick))

    def delete_partner(self, pick: int) -> None:
        partner = self.create_partner(pick)
        child = self.odoo.add_partner(name="Child", parent_id=partner)
        if pick % 2:
            self.odoo.unlink("res.partner", child)
        if not self.odoo.search("sale.order", [("partner_id", "=", partner)]) and pick % 2:
            self.odoo.unlink("res.partner", partner)

    def merge(self, pick: int) -> None:
        survivor, source = self.partner(pick), self.partner(pick // 5 + 1)
        related = {
            self.odoo.read("res.partner", each, "parent_id")["parent_id"] for each in (survivor, source)
        }
        if survivor != source and not related & {survivor, source}:
            self.odoo.merge_partners(survivor, source)

    def tag(self, pick: int) -> None:
        self.odoo.tag_partner(self.partner(pick), self.tags[pick % len(self.tags)])

    def tag_from_the_tag(self, pick: int) -> None:
        self.odoo.write(
            "res.partner.category",
            self.tags[pick % len(self.tags)],
            {"partner_ids": [(pick % 2 + 3, self.partner(pick // 2))]},
        )

    def rename_tag(self, pick: int) -> None:
        self.odoo.write(
            "res.partner.category", self.tags[pick % len(self.tags)], {"name": f"Tag {next(self.numbers)}"}
        )

    def replace_tag(self, pick: int) -> None:
        self.odoo.unlink("res.partner.category", self.tags.pop(0))
        self.tags.append(self.odoo.add_tag(f"Tag {next(self.numbers)}"))

    def blacklist(self, pick: int) -> None:
        email = self.odoo.read("res.partner", self.partner(pick), "email_normalized")["email_normalized"]
        if email:
            (self.odoo.unblacklist if pick % 3 == 0 else self.odoo.blacklist)(email)

    def subscribe(self, pick: int) -> None:
        email = self.odoo.read("res.partner", self.partner(pick), "email_normalized")["email_normalized"]
        if email and not self.odoo.search("mailing.contact", [("email_normalized", "=", email)]):
            subscription = self.odoo.subscribe(self.newsletter, email, dated=bool(pick % 2))
            if pick % 3 == 0:
                self.odoo.opt_out(subscription)

    def order(self, pick: int) -> int:
        return self.odoo.add_order(
            self.partner(pick),
            lines=[
                {"name": "Book", "product_uom_qty": 1 + pick % 4, "price_unit": 12.5},
                {"name": "Pen", "product_uom_qty": 2, "price_unit": 1.2},
            ],
            state="draft" if pick % 4 == 1 else "sale",
        )

    def confirm(self, pick: int) -> None:
        drafts = self.orders("draft", "sent")
        if drafts:
            self.odoo.confirm_order(drafts[pick % len(drafts)])

    def cancel(self, pick: int) -> None:
        orders = self.orders()
        if orders:
            self.odoo.cancel_order(orders[pick % len(orders)])

    def edit_line(self, pick: int) -> None:
        orders = self.orders()
        lines = self.odoo.search("sale.order.line", [("order_id", "in", orders)], order="id")
        if lines:
            changes = [
                {"price_unit": 3.0 + pick % 9},
                {"product_uom_qty": 5 + pick % 3},
                {"name": "Reworded"},
            ]
            self.odoo.write("sale.order.line", lines[pick % len(lines)], changes[pick % 3])

    def add_free_line(self, pick: int) -> None:
        orders = self.orders()
        if orders:
            self.odoo.create(
                "sale.order.line",
                {
                    "order_id": orders[pick % len(orders)],
                    "name": "Gift",
                    "product_uom_qty": 1,
                    "price_unit": 0,
                },
            )

    def delete_order(self, pick: int) -> None:
        cancelled = self.orders("cancel", "draft")
        free = [
            order
            for order in cancelled
            if not self.odoo.search("account.move.line", [("sale_line_ids.order_id", "=", order)])
        ]
        if free:
            self.odoo.unlink("sale.order", free[pick % len(free)])

    def invoice(self, pick: int) -> None:
        orders = self.orders()
        if orders:
            self.odoo.invoice_order(orders[pick % len(orders)], post=bool(pick % 3))

    def post(self, pick: int) -> None:
        drafts = [*self.documents("out_invoice", "draft"), *self.documents("out_refund", "draft")]
        if drafts:
            with self.odoo._as_person("post", "account.move") as env:
                self.odoo.model("account.move").action_post(env, [drafts[pick % len(drafts)]])  # type: ignore[attr-defined]

    def credit(self, pick: int) -> None:
        invoices = self.documents("out_invoice", "posted")
        if invoices:
            self.odoo.credit_invoice(
                invoices[pick % len(invoices)], quantity=1, post=bool(pick % 3), linked=bool(pick % 2)
            )

    def pay(self, pick: int) -> None:
        invoices = self.documents("out_invoice", "posted")
        if invoices:
            self.odoo.pay_invoice(invoices[pick % len(invoices)], 1.0)


ACTS = (
    "create_partner rename_partner change_email change_parent archive delete_partner merge tag "
    "tag_from_the_tag rename_tag replace_tag blacklist subscribe order confirm cancel edit_line "
    "add_free_line delete_order invoice post credit pay"
).split()


class Reader:
    """Reads a table again and again, the way runs do: each builds on the one before."""

    def __init__(self, client: OdooClient) -> None:
        self.client = client
        self.stored: dict[str, dict[str, Snapshot]] = {}

    def whole(self, table: str) -> OdooRead:
        reading = Reading()
        read = TABLES[table](self.client, reading)
        self.stored[table] = reading.snapshots
        return read

    def changes(self, table: str) -> tuple[OdooRead, list[str]]:
        reading = Reading(self.stored.get(table, {}).get)
        read = TABLES[table](self.client, reading)
        self.stored[table] = reading.snapshots
        return read, reading.notes


@contextmanager
def office(version: int) -> Iterator[tuple[Office, Reader]]:
    with SandboxOdoo((version, 0)).serve() as odoo, logged_in(odoo) as client:
        yield Office(odoo), Reader(client)


def assert_same(changes: OdooRead, whole: OdooRead) -> None:
    assert changes.complete, changes.incomplete_because
    assert whole.complete, whole.incomplete_because
    pd.testing.assert_frame_equal(changes.rows, whole.rows)


acts = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 60)), max_size=8)


@pytest.mark.parametrize("version", [17, 19])
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(before=acts, between=acts, minutes_late=st.sampled_from([0, 0, 5, 14]))
def test_whatever_people_do_reading_the_changes_is_reading_everything(
    version: int, before: list[tuple[str, int]], between: list[tuple[str, int]], minutes_late: int
):
    with office(version) as (people, reader):
        with people.odoo.at(datetime.now(UTC) - LONG_AGO / 2):
            for act, pick in before:
                getattr(people, act)(pick)
        for table in TABLES:
            reader.whole(table)
        # A transaction that began before the read and commits after it shows rows with an old date.
        with people.odoo.at(datetime.now(UTC) - timedelta(minutes=minutes_late)):
            for act, pick in between:
                getattr(people, act)(pick)
        for table, read in TABLES.items():
            changes, notes = reader.changes(table)
            assert_same(changes, read(reader.client, Reading()))
            assert all("read again" in note for note in notes), notes


@pytest.fixture
def desk() -> Iterator[tuple[Office, Reader]]:
    with office(18) as both:
        yield both


def reread(reader: Reader, table: str) -> OdooRead:
    """The changes of a table, proved to be what a whole read gives."""
    changes, notes = reader.changes(table)
    assert all("read again" in note for note in notes), notes
    assert_same(changes, TABLES[table](reader.client, Reading()))
    return changes


def test_a_tag_linked_from_its_own_side_is_seen_although_the_partner_has_no_new_date(desk):
    people, reader = desk
    (cleo,) = people.odoo.search("res.partner", [("name", "=", "Cleo")])
    reader.whole("partners")
    people.odoo.write("res.partner.category", people.tags[0], {"partner_ids": [(4, cleo)]})
    row = reread(reader, "partners").rows.set_index("partner_id").loc[cleo]
    assert row["tag_names"] == ["Gold"]


def test_a_renamed_and_a_deleted_tag_are_seen_on_every_partner(desk):
    people, reader = desk
    (mill,) = people.odoo.search("res.partner", [("name", "=", "Mill")])
    reader.whole("partners")
    people.odoo.write("res.partner.category", people.tags[0], {"name": "Platinum"})
    people.odoo.unlink("res.partner.category", people.tags[1])
    row = reread(reader, "partners").rows.set_index("partner_id").loc[mill]
    assert row["tag_names"] == ["Platinum"]


def test_orders_of_a_partner_merged_away_follow_without_a_new_date(desk):
    people, reader = desk
    with people.odoo.at(datetime.now(UTC) - LONG_AGO):
        survivor, source = people.create_partner(0), people.create_partner(0)
        order = people.odoo.add_order(source, 10)
    reader.whole("orders")
    people.odoo.merge_partners(survivor, source)
    row = reread(reader, "orders").rows.set_index("order_id").loc[order]
    assert row["partner_id"] == survivor
    assert row["write_date"] < pd.Timestamp(datetime.now(UTC) - LONG_AGO / 2)


def test_contacts_of_a_company_merged_away_follow_it(desk):
    people, reader = desk
    with people.odoo.at(datetime.now(UTC) - LONG_AGO):
        survivor = people.odoo.add_partner(name="Mill Ltd", is_company=True)
        source = people.odoo.add_partner(name="Mill Limited", is_company=True)
        child = people.odoo.add_partner(name="Dora", parent_id=source)
    reader.whole("partners")
    people.odoo.merge_partners(survivor, source)
    assert reread(reader, "partners").rows.set_index("partner_id").loc[child, "parent_id"] == survivor


def test_a_supplier_is_seen_although_odoo_counts_bills_without_a_date(desk):
    people, reader = desk
    (ben,) = people.odoo.search("res.partner", [("name", "=", "Ben")])
    reader.whole("partners")
    people.odoo.model("res.partner").table.update(ben, {"supplier_rank": 1})
    assert reread(reader, "partners").rows.set_index("partner_id").loc[ben, "supplier_rank"] == 1


def test_deleting_the_order_of_an_invoice_unties_its_lines(desk):
    people, reader = desk
    with people.odoo.at(datetime.now(UTC) - LONG_AGO):
        order = people.order(0)
        invoice = people.odoo.invoice_order(order)
    tied = reader.whole("refunds").rows
    ties = [tie for each in tied[tied["move_id"] == invoice]["sale_line_ids"] for tie in each]
    assert ties
    # What PostgreSQL does to the relation when the order line goes.
    for line in people.odoo.search("account.move.line", [("sale_line_ids", "in", ties)]):
        people.odoo.model("account.move.line").table.update(line, {"sale_line_ids": ()})
    for line in ties:
        people.odoo.model("sale.order.line").table.delete(line)
    left = reread(reader, "refunds").rows
    assert not [tie for each in left[left["move_id"] == invoice]["sale_line_ids"] for tie in each]


def test_a_record_without_any_date_is_read_every_time(desk):
    people, reader = desk
    (ben,) = people.odoo.search("res.partner", [("name", "=", "Ben")])
    people.odoo.model("res.partner").table.update(ben, {"write_date": False})
    reader.whole("partners")
    people.odoo.model("res.partner").table.update(ben, {"name": "Benjamin"})
    assert reread(reader, "partners").rows.set_index("partner_id").loc[ben, "name"] == "Benjamin"


def test_a_long_transaction_that_commits_after_the_read_is_not_lost(desk):
    people, reader = desk
    (ben,) = people.odoo.search("res.partner", [("name", "=", "Ben")])
    # Somebody else writes meanwhile, so that Odoo's clock is seen to be where ours is.
    people.create_partner(0)
    reader.whole("partners")
    with people.odoo.at(datetime.now(UTC) - timedelta(minutes=14)):
        people.odoo.edit_partner(ben, name="Benjamin")
        late = people.create_partner(0)
    rows = reread(reader, "partners").rows.set_index("partner_id")
    assert rows.loc[ben, "name"] == "Benjamin"
    assert late in rows.index


def test_a_second_change_within_the_second_of_the_read_is_not_lost(desk):
    people, reader = desk
    (ben,) = people.odoo.search("res.partner", [("name", "=", "Ben")])
    moment = datetime.now(UTC).replace(microsecond=100_000)
    with people.odoo.at(moment):
        people.odoo.edit_partner(ben, name="Benny")
    reader.whole("partners")
    with people.odoo.at(moment + timedelta(microseconds=300_000)):
        people.odoo.edit_partner(ben, name="Benjamin")
    assert reread(reader, "partners").rows.set_index("partner_id").loc[ben, "name"] == "Benjamin"


@pytest.mark.parametrize("ahead", [timedelta(minutes=50), -timedelta(hours=5)])
def test_a_clock_that_differs_from_odoos_loses_nothing(ahead: timedelta):
    odoo = SandboxOdoo((18, 0), clock=lambda: datetime.now(UTC) - ahead)
    with odoo.serve(), logged_in(odoo) as client:
        people, reader = Office(odoo), Reader(client)
        cleo = people.create_partner(0)
        reader.whole("partners")
        odoo.edit_partner(cleo, name="Changed")
        assert reread(reader, "partners").rows.set_index("partner_id").loc[cleo, "name"] == "Changed"


def test_what_odoo_no_longer_shows_is_gone_and_comes_back_as_it_is_by_then(desk):
    people, reader = desk
    (ben,) = people.odoo.search("res.partner", [("name", "=", "Ben")])
    reader.whole("partners")
    people.odoo.hide("res.partner", [ben])
    assert ben not in set(reread(reader, "partners").rows["partner_id"])
    people.odoo.database.rules.pop()
    people.odoo.model("res.partner").table.update(ben, {"name": "Benjamin"})
    assert reread(reader, "partners").rows.set_index("partner_id").loc[ben, "name"] == "Benjamin"


def _older(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, whole_at=snapshot.whole_at - WHOLE_READ_EVERY)


def _of_the_future(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, whole_at=snapshot.whole_at + timedelta(days=1))


def _of_other_fields(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, asked="another digest")


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        (_older, "the last complete read is from"),
        (_of_the_future, "the last complete read is from"),
        (_of_other_fields, "other fields, companies, user or server"),
        (lambda snapshot: None, "no earlier complete read is stored"),
    ],
)
@pytest.mark.parametrize("table", TABLES)
def test_a_read_that_cannot_be_built_upon_is_replaced_by_a_whole_one(desk, table, spoil, because):
    _, reader = desk
    reader.whole(table)
    reader.stored[table] = {model: spoil(snapshot) for model, snapshot in reader.stored[table].items()}
    read, notes = reader.changes(table)
    assert notes
    assert all(because in note for note in notes), notes
    assert_same(read, TABLES[table](reader.client, Reading()))
    reread(reader, table)


def test_building_upon_changes_does_not_put_off_the_next_whole_read(desk):
    _, reader = desk
    reader.whole("partners")
    first = reader.stored["partners"]["res.partner"].whole_at
    reread(reader, "partners")
    assert reader.stored["partners"]["res.partner"].whole_at == first


def test_one_percent_of_changes_costs_one_percent_of_the_rows():
    odoo = SandboxOdoo((19, 0))
    with odoo.serve(), logged_in(odoo) as client:
        with odoo.at(datetime.now(UTC) - LONG_AGO), odoo._as_person("import", "res.partner") as env:
            partners = odoo.model("res.partner").create_records(
                env,
                [{"name": f"Person {n}", "email": f"person{n}@example.com"} for n in range(20_000)],
            )
        reader = Reader(client)
        reader.whole("partners")
        for partner in partners[::100]:
            odoo.edit_partner(partner, name="Changed")
        odoo.journal.clear()
        changes, _ = reader.changes("partners")
        assert (changes.rows["name"] == "Changed").sum() == 200
        actions = [getattr(entry, "action", "") for entry in odoo.journal.requests]
        read = sum(
            len(entry.body["params"]["args"][5][0])
            for entry in odoo.journal.requests
            if getattr(entry, "action", "") == "res.partner.read"
        )
        assert 200 <= read <= 400
        assert len(actions) < 60, actions
