"""The tables read from Odoo, set up through its API. The same on the stand-in and on real servers."""

import json

import pandas as pd
import pytest

from mc_pipeline.odoo.accounting import read_document_lines, read_documents
from mc_pipeline.odoo.blacklist import read_blacklist
from mc_pipeline.odoo.orders import read_order_lines, read_orders
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.odoo.products import read_products


def partner_row(odoo, partner: int) -> dict:
    table = read_partners(odoo.client, odoo.company)
    assert table.complete, table.incomplete_because
    rows = table.rows[table.rows["partner_id"] == partner]
    assert len(rows) == 1
    return rows.iloc[0].to_dict()


def test_a_customer_has_every_column(odoo, mark):
    client = odoo.client
    belgium = client.search("res.country", [("code", "=", "BE")])[0]
    industry = client.search("res.partner.industry", [], limit=1, order="id")[0]
    parent_tag = odoo.create("res.partner.category", name=f"Trade {mark}")
    tag = odoo.create("res.partner.category", name="Wholesale", parent_id=parent_tag)
    shop = odoo.create(
        "res.partner",
        name=f"Shop {mark}",
        is_company=True,
        street="Rue Haute 1",
        city="Brussels",
        zip="1000",
        country_id=belgium,
        industry_id=industry,
    )
    buyer = odoo.create(
        "res.partner",
        name=f"Buyer {mark}",
        parent_id=shop,
        type="contact",
        email=f'"The Buyer" <Buyer@{mark}.example.com>',
        phone="+32 2 555 00 00",
        lang="en_US",
        category_id=[[6, 0, [tag, parent_tag]]],
    )
    row = partner_row(odoo, buyer)
    assert row["name"] == f"Buyer {mark}"
    assert row["email"] == f'"The Buyer" <Buyer@{mark}.example.com>'
    assert row["email_normalized"] == f"buyer@{mark}.example.com"
    assert (row["parent_id"], row["commercial_partner_id"]) == (shop, shop)
    assert row["company_name"] == f"Shop {mark}"
    assert (row["active"], row["is_company"], row["type"], row["lang"]) == (True, False, "contact", "en_US")
    assert dict(zip(row["tag_ids"], row["tag_names"], strict=True)) == {
        parent_tag: f"Trade {mark}",
        tag: f"Trade {mark} / Wholesale",
    }
    assert row["phone"] == "+32 2 555 00 00"
    assert (row["supplier_rank"], row["message_bounce"]) == (0, 0)
    for flag in (
        "is_internal_user",
        "is_employee",
        "is_own_company",
        "is_public_or_template_user",
        "is_blacklisted",
    ):
        assert not row[flag], flag
    assert row["evidence_json"] == "[]"
    assert row["write_date"].tzinfo is not None
    shop_row = partner_row(odoo, shop)
    assert (shop_row["street"], shop_row["zip"], shop_row["city"]) == ("Rue Haute 1", "1000", "Brussels")
    assert shop_row["country_code"] == "BE"
    assert shop_row["industry"] == client.read("res.partner.industry", [industry], ["name"])[0]["name"]
    assert pd.isna(shop_row["email"])
    assert pd.isna(shop_row["email_normalized"])
    assert pd.isna(shop_row["company_id"])


@pytest.mark.parametrize(
    ("typed", "normalized"),
    [
        ("DUP@Example.com ", "dup@example.com"),
        ("a@example.com, b@example.com", "a@example.com"),
        ("not-an-email", None),
    ],
)
def test_odoos_own_normalised_address_is_kept_beside_the_typed_one(odoo, mark, typed, normalized):
    row = partner_row(odoo, odoo.create("res.partner", name=mark, email=typed))
    assert row["email"] == typed
    assert (None if pd.isna(row["email_normalized"]) else row["email_normalized"]) == normalized


def test_archived_partners_are_there_and_other_companies_are_not(odoo, mark):
    archived = odoo.create("res.partner", name=mark, active=False)
    assert not partner_row(odoo, archived)["active"]
    own = odoo.create("res.partner", name=mark, company_id=odoo.company)
    assert partner_row(odoo, own)["company_id"] == odoo.company
    rows = read_partners(odoo.client, odoo.company).rows
    assert set(rows["company_id"].dropna()) <= {odoo.company}


def test_a_removed_blacklist_row_opts_nobody_out(odoo, mark):
    address = f"jane@{mark}.example.com"
    partner = odoo.create("res.partner", name=mark, email=f"Jane@{mark}.Example.com")
    row = odoo.create("mail.blacklist", email=address)
    assert partner_row(odoo, partner)["is_blacklisted"]
    blacklist = read_blacklist(odoo.client)
    assert blacklist.complete
    assert blacklist.rows.set_index("blacklist_id").loc[row, ["email", "active"]].tolist() == [address, True]

    odoo.write("mail.blacklist", row, active=False)
    assert not partner_row(odoo, partner)["is_blacklisted"]
    blacklist = read_blacklist(odoo.client)
    assert blacklist.rows.set_index("blacklist_id").loc[row, ["email", "active"]].tolist() == [address, False]


def test_consent_on_mailing_lists_is_evidence_with_the_date_it_has(odoo, mark):
    address = f"jane@{mark}.example.com"
    partner = odoo.create("res.partner", name=mark, email=address)
    news = odoo.create("mailing.list", name=f"News {mark}")
    offers = odoo.create("mailing.list", name=f"Offers {mark}")
    undated = odoo.create("mailing.list", name=f"Undated {mark}")
    contact = odoo.create("mailing.contact", name=mark, email=address.upper(), list_ids=[[6, 0, [undated]]])
    odoo.create("mailing.subscription", contact_id=contact, list_id=news)
    odoo.create("mailing.subscription", contact_id=contact, list_id=offers, opt_out=True)

    evidence = {item["source"]: item for item in json.loads(partner_row(odoo, partner)["evidence_json"])}
    assert {item["record_id"] for item in evidence.values()} == {news, offers, undated}
    assert {(item["kind"], item["address"]) for item in evidence.values()} == {("mailing_list", address)}
    assert evidence[f"News {mark}"]["consented_at"] is not None
    assert evidence[f"News {mark}"]["opted_out"] is False
    assert evidence[f"News {mark}"]["opted_out_at"] is None
    assert evidence[f"Offers {mark}"]["opted_out"] is True
    assert evidence[f"Offers {mark}"]["opted_out_at"] is not None
    assert evidence[f"Undated {mark}"]["consented_at"] is None


def test_users_companies_and_templates_are_marked(odoo):
    client = odoo.client
    rows = read_partners(client, odoo.company).rows.set_index("partner_id")
    company_partner = client.read("res.company", [odoo.company], ["partner_id"])[0]["partner_id"]
    assert rows.loc[company_partner, "is_own_company"]
    users = client.search_read("res.users", [], ["login", "partner_id", "share"])
    partners = {user["login"]: user["partner_id"] for user in users}
    internal = {user["partner_id"] for user in users if not user["share"]}
    assert set(rows.index[rows["is_internal_user"]]) == internal & set(rows.index)
    assert rows.loc[partners["public"], "is_public_or_template_user"]
    assert rows.loc[partners["portaltemplate"], "is_public_or_template_user"]


def test_an_archived_portal_customer_is_no_template(odoo, mark):
    partner = odoo.create("res.partner", name=mark, email=f"{mark}@example.com")
    odoo.add_archived_portal_user(mark, partner)
    row = partner_row(odoo, partner)
    assert not row["is_public_or_template_user"]
    assert not row["is_internal_user"]


@pytest.fixture
def confirmed(odoo, mark):
    """A confirmed order of 2 × 50 at 10 % off, with a note, and its customer."""
    customer = odoo.create("res.partner", name=mark, email=f"{mark}@example.com")
    product = odoo.create("product.product", name=f"Chair {mark}", type="service")
    taxes = "tax_ids" if odoo.client.version >= (19, 0) else "tax_id"
    chairs = {"product_id": product, "product_uom_qty": 2, "price_unit": 50.0, "discount": 10.0}
    order = odoo.create(
        "sale.order",
        partner_id=customer,
        company_id=odoo.company,
        order_line=[
            [0, 0, {**chairs, taxes: [[6, 0, []]]}],
            [0, 0, {"display_type": "line_note", "name": "Thank you"}],
        ],
    )
    odoo.client.execute("sale.order", "action_confirm", [order])
    return customer, product, order


def order_row(odoo, order: int, timezone: str = "Europe/London") -> dict | None:
    table = read_orders(odoo.client, odoo.company, timezone)
    assert table.complete, table.incomplete_because
    found = table.rows[table.rows["order_id"] == order].to_dict("records")
    return found[0] if found else None


def test_confirmed_and_cancelled_orders_are_read_and_quotations_are_not(odoo, mark, confirmed):
    customer, _, order = confirmed
    row = order_row(odoo, order)
    assert row is not None
    assert (row["state"], row["partner_id"], row["partner_invoice_id"]) == ("sale", customer, customer)
    assert (row["amount_untaxed"], row["amount_tax"], row["amount_total"]) == (90.0, 0.0, 90.0)
    assert row["currency"] == row["company_currency"]
    assert (row["currency_rate"], row["amount_untaxed_company"]) == (1.0, 90.0)
    quotation = odoo.create("sale.order", partner_id=customer, company_id=odoo.company)
    assert order_row(odoo, quotation) is None
    odoo.cancel(order)
    cancelled = order_row(odoo, order)
    assert cancelled is not None
    assert (cancelled["state"], cancelled["amount_untaxed"]) == ("cancel", 90.0)


def test_a_line_is_called_what_was_ordered_in_every_version(odoo, mark, confirmed):
    """From Odoo 20 on the line itself has no text unless its product says something to customers."""
    _, _, order = confirmed
    rows = read_order_lines(odoo.client, odoo.company, [order]).rows.sort_values("line_id")
    assert rows["name"].tolist() == [f"Chair {mark}", "Thank you"]


def test_products_of_order_lines_are_read_archived_ones_too_and_deleted_ones_are_left_out(
    odoo, mark, confirmed
):
    _, product, order = confirmed
    odoo.write("product.product", product, default_code=f"C-{mark}", list_price=12.5, active=False)
    ordered = read_order_lines(odoo.client, odoo.company, [order]).rows["product_id"].dropna()
    table = read_products(odoo.client, odoo.company, [*map(int, ordered), 99999999])
    assert table.complete, table.incomplete_because
    (row,) = table.rows.to_dict("records")
    assert (row["product_id"], row["name"], row["variant_name"]) == (
        product,
        f"Chair {mark}",
        f"Chair {mark}",
    )
    assert (row["default_code"], row["active"], row["list_price"]) == (f"C-{mark}", False, 12.5)


def test_variants_are_told_apart_by_the_values_of_their_attributes(odoo, mark):
    if odoo.sandbox is not None:
        pytest.skip("the stand-in has no attributes of products")
    color = odoo.create("product.attribute", name=f"Color {mark}", create_variant="always")
    values = [
        odoo.create("product.attribute.value", name=name, attribute_id=color) for name in ("Red", "Sea")
    ]
    template = odoo.create(
        "product.template",
        name=f"Scarf {mark}",
        list_price=12.5,
        attribute_line_ids=[[0, 0, {"attribute_id": color, "value_ids": [[6, 0, values]]}]],
    )
    variants = odoo.client.search("product.product", [("product_tmpl_id", "=", template)], order="id")
    rows = read_products(odoo.client, odoo.company, variants).rows
    assert rows["product_id"].tolist() == variants
    assert rows["variant_name"].tolist() == ["Red", "Sea"]
    assert rows["list_price"].tolist() == [12.5, 12.5]
    assert set(rows["product_template_id"]) == {template}


@pytest.mark.parametrize(
    ("timezone", "month"),
    [
        ("UTC", "2025-12"),
        ("Europe/London", "2025-12"),
        ("Europe/Paris", "2026-01"),
        ("America/New_York", "2025-12"),
    ],
)
def test_the_month_of_an_order_is_the_companys(odoo, confirmed, timezone, month):
    _, _, order = confirmed
    odoo.write("sale.order", order, date_order="2025-12-31 23:30:00")
    row = order_row(odoo, order, timezone)
    assert row is not None
    assert row["month"] == month
    assert row["date_order"] == pd.Timestamp("2025-12-31 23:30:00", tz="UTC")


def test_lines_of_orders_have_their_amounts_and_kinds(odoo, confirmed):
    _, product, order = confirmed
    for table in (
        read_order_lines(odoo.client, odoo.company),
        read_order_lines(odoo.client, odoo.company, [order]),
    ):
        assert table.complete, table.incomplete_because
        goods, note = table.rows[table.rows["order_id"] == order].sort_values("line_id").to_dict("records")
        assert (goods["product_id"], goods["quantity"], goods["price_unit"]) == (product, 2.0, 50.0)
        assert (goods["discount"], goods["price_subtotal"], goods["price_tax"]) == (10.0, 90.0, 0.0)
        assert (goods["price_total"], goods["is_downpayment"], goods["is_delivery"]) == (90.0, False, False)
        assert pd.isna(goods["display_type"])
        assert (note["display_type"], note["name"], note["price_subtotal"]) == ("line_note", "Thank you", 0.0)
        assert pd.isna(note["product_id"])


def test_posted_documents_and_their_ties_to_order_lines_are_read(odoo, mark, confirmed):
    customer, _, order = confirmed
    client = odoo.client
    (line,) = client.search("sale.order.line", [("order_id", "=", order), ("display_type", "=", False)])

    def document(kind: str, quantity: float, **values: object) -> int:
        tied = {"name": mark, "quantity": quantity, "price_unit": 45.0, "tax_ids": [[6, 0, []]]}
        return odoo.create(
            "account.move",
            move_type=kind,
            partner_id=customer,
            company_id=odoo.company,
            invoice_date="2026-11-20",
            invoice_line_ids=[[0, 0, {**tied, "sale_line_ids": [[6, 0, [line]]]}]],
            **values,
        )

    invoice = document("out_invoice", 2)
    credit_note = document("out_refund", 1, reversed_entry_id=invoice)
    draft = document("out_refund", 1)
    client.execute("account.move", "action_post", [invoice])
    client.execute("account.move", "action_post", [credit_note])

    documents = read_documents(client, odoo.company)
    assert documents.complete, documents.incomplete_because
    rows = documents.rows.set_index("move_id")
    assert draft not in rows.index
    assert rows.loc[invoice, ["move_type", "state", "amount_untaxed"]].tolist() == [
        "out_invoice",
        "posted",
        90.0,
    ]
    assert rows.loc[credit_note, ["move_type", "amount_untaxed", "amount_total"]].tolist() == [
        "out_refund",
        45.0,
        45.0,
    ]
    assert rows.loc[credit_note, "reversed_entry_id"] == invoice
    assert pd.isna(rows.loc[invoice, "reversed_entry_id"])
    assert rows.loc[invoice, "invoice_date"] == pd.Timestamp("2026-11-20")
    assert rows.loc[invoice, "name"]

    lines = read_document_lines(client, odoo.company, documents)
    assert lines.complete, lines.incomplete_because
    own = lines.rows[lines.rows["move_id"].isin([invoice, credit_note, draft])].sort_values("line_id")
    assert own["move_id"].tolist() == [invoice, credit_note]
    assert own["sale_line_ids"].tolist() == [[line], [line]]
    assert own["display_type"].tolist() == ["product", "product"]
    assert own["price_subtotal"].tolist() == [90.0, 45.0]
    assert own["quantity"].tolist() == [2.0, 1.0]
    assert own["move_type"].tolist() == ["out_invoice", "out_refund"]
    assert own["currency"].nunique() == 1
