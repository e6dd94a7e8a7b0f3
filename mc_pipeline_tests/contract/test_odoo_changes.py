"""Reading only what changed gives what reading everything gives, on the stand-in and on real servers.

Odoo changes some fields without a trace in ``write_date``; which ones is a matter of its version.
"""

from collections.abc import Callable
from datetime import timedelta

import pandas as pd
import pytest

from mc_pipeline.odoo import changes
from mc_pipeline.odoo.changes import Reading
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.orders import read_order_lines, read_orders
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.odoo.reading import OdooRead
from mc_pipeline.odoo.refunds import read_refunds
from mc_pipeline_tests.contract.conftest import OdooUnderTest

TABLES: dict[str, Callable[[OdooClient, int, Reading], OdooRead]] = {
    "partners": lambda client, company, reading: read_partners(client, company, reading=reading),
    "orders": lambda client, company, reading: read_orders(client, company, "Europe/Paris", reading=reading),
    "refunds": lambda client, company, reading: read_refunds(client, company, reading=reading),
    "order lines": lambda client, company, reading: read_order_lines(client, company, reading=reading),
}


class Office:
    """Records in an Odoo, and people who change them through its API."""

    def __init__(self, odoo: OdooUnderTest, mark: str) -> None:
        self.odoo, self.mark = odoo, mark
        self.taxes = "tax_ids" if odoo.client.version >= (19, 0) else "tax_id"
        self.product = odoo.create("product.product", name=f"Chair {mark}", type="service")

    def partner(self, name: str, **values: object) -> int:
        email = f"{name.lower()}@{self.mark}.example.com"
        return self.odoo.create("res.partner", name=f"{name} {self.mark}", **{"email": email, **values})

    def tag(self, name: str) -> int:
        return self.odoo.create("res.partner.category", name=f"{name} {self.mark}")

    def order(self, partner: int, *, confirmed: bool = True) -> int:
        goods = {"product_id": self.product, "product_uom_qty": 2, "price_unit": 50.0}
        order = self.odoo.create(
            "sale.order",
            partner_id=partner,
            company_id=self.odoo.company,
            order_line=[
                [0, 0, {**goods, self.taxes: [[6, 0, []]]}],
                [0, 0, {"display_type": "line_note", "name": "Thank you"}],
            ],
        )
        if confirmed:
            self.odoo.client.execute("sale.order", "action_confirm", [order])
        return order

    def line(self, order: int, *, note: bool = False) -> int:
        domain = [("order_id", "=", order), ("display_type", "=", "line_note" if note else False)]
        return self.odoo.client.search("sale.order.line", domain)[0]

    def document(self, kind: str, partner: int, **tied: object) -> int:
        return self.odoo.create(
            "account.move",
            move_type=kind,
            partner_id=partner,
            company_id=self.odoo.company,
            invoice_date="2026-11-20",
            invoice_line_ids=[
                [0, 0, {"name": "x", "quantity": 1, "price_unit": 45.0, "tax_ids": [[6, 0, []]], **tied}]
            ],
        )

    def post(self, move: int) -> None:
        self.odoo.client.execute("account.move", "action_post", [move])

    def merge(self, source: int, survivor: int) -> None:
        wizard = self.odoo.create(
            "base.partner.merge.automatic.wizard",
            partner_ids=[[6, 0, [source, survivor]]],
            dst_partner_id=survivor,
        )
        self.odoo.client.execute("base.partner.merge.automatic.wizard", "action_merge", [wizard])

    def until_the_next_second(self) -> None:
        """Odoo dates by the second it began in: write until that has passed."""
        tag = self.tag("Clock")

        def second() -> object:
            self.odoo.write("res.partner.category", tag, color=1)
            return self.odoo.client.read("res.partner.category", [tag], ["write_date"])[0]["write_date"]

        began = second()
        while second() == began:
            pass


def test_what_people_do_in_odoo_is_seen_by_reading_the_changes(odoo, mark, monkeypatch: pytest.MonkeyPatch):
    # Without the overlap only what leaves a trace, or is looked for, is seen.
    monkeypatch.setattr(changes, "OVERLAP", timedelta(0))
    office, client = Office(odoo, mark), odoo.client
    renamed, moved, archived, deleted, source, survivor, tagged, other, listed, supplier = (
        office.partner(name)
        for name in "Renamed Moved Archived Deleted Source Survivor Tagged Other Listed Supplier".split()
    )
    firm, second_firm = (office.partner(name, is_company=True) for name in ("Firm", "Second"))
    employee = office.partner("Employee", parent_id=firm)
    orphan = office.partner("Orphan", parent_id=second_firm)
    linked, new_name, going = (office.tag(name) for name in ("Linked", "Old", "Going"))
    for tag in (new_name, going):
        odoo.write("res.partner", other, category_id=[[4, tag]])
    merged_order, dearer, cancelled, noted, refunded = (
        office.order(partner) for partner in (source, renamed, renamed, moved, tagged)
    )
    quotation = office.order(moved, confirmed=False)
    invoice = office.document("out_invoice", tagged, sale_line_ids=[[6, 0, [office.line(refunded)]]])
    office.post(invoice)
    refund = office.document("out_refund", tagged, sale_line_ids=[[6, 0, [office.line(refunded)]]])
    bill = office.document("in_invoice", supplier)
    office.until_the_next_second()
    office.partner("Newest")  # tells how far Odoo's clock had come
    office.until_the_next_second()

    before: dict[str, Reading] = {}
    for table, read in TABLES.items():
        before[table] = Reading(source="contract")
        assert read(client, odoo.company, before[table]).complete

    odoo.write("res.partner", renamed, name=f"Another {mark}")
    odoo.write("res.partner", moved, email=f"new@{mark}.example.com")
    odoo.write("res.partner", archived, active=False)
    client.execute("res.partner", "unlink", [deleted])
    office.merge(source, survivor)
    office.merge(second_firm, firm)
    odoo.write("res.partner", firm, name=f"Renamed firm {mark}")
    odoo.write("res.partner.category", linked, partner_ids=[[4, tagged]])
    odoo.write("res.partner.category", new_name, name=f"New {mark}")
    client.execute("res.partner.category", "unlink", [going])
    odoo.create("mail.blacklist", email=f"listed@{mark}.example.com")
    odoo.write("sale.order.line", office.line(dearer), price_unit=70.0)
    odoo.cancel(cancelled)
    client.execute("sale.order.line", "unlink", [office.line(noted, note=True)])
    client.execute("sale.order", "action_confirm", [quotation])
    office.post(refund)
    office.post(bill)
    created = office.order(office.partner("Created"))

    rows: dict[str, pd.DataFrame] = {}
    for table, read in TABLES.items():
        again = Reading(before[table].snapshots.get, source="contract")
        changed = read(client, odoo.company, again)
        whole = read(client, odoo.company, Reading())
        assert changed.complete, changed.incomplete_because
        assert any("read again" in note for note in again.notes), again.notes
        key = whole.rows.columns[0]
        rows[table] = changed.rows.sort_values(key).reset_index(drop=True)
        pd.testing.assert_frame_equal(rows[table], whole.rows.sort_values(key).reset_index(drop=True))

    partners = rows["partners"].set_index("partner_id")
    assert not {deleted, source, second_firm} & set(partners.index)
    assert partners.loc[[employee, orphan], "company_name"].tolist() == [f"Renamed firm {mark}"] * 2
    assert partners.loc[other, "tag_names"] == [f"New {mark}"]
    assert partners.loc[tagged, "tag_names"] == [f"Linked {mark}"]
    assert partners.loc[listed, "is_blacklisted"]
    assert partners.loc[supplier, "supplier_rank"] == 1
    orders = rows["orders"].set_index("order_id")
    assert orders.loc[merged_order, "partner_id"] == survivor
    assert orders.loc[cancelled, "state"] == "cancel"
    assert orders.loc[dearer, "amount_untaxed"] == 140.0
    assert {quotation, created} <= set(orders.index)
    assert refund in set(rows["refunds"]["move_id"])
    assert (rows["order lines"]["order_id"] == noted).sum() == 1
