"""Records of real Odoo 17, 18 and 19, loaded into the stand-in and read through the client."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest

from mc_pipeline.odoo.accounting import read_document_lines, read_documents
from mc_pipeline.odoo.blacklist import read_blacklist
from mc_pipeline.odoo.client import ConnectedClient
from mc_pipeline.odoo.errors import from_error_answer
from mc_pipeline.odoo.orders import read_order_lines, read_orders
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.data import data_path
from mc_pipeline_tests.odoo.conftest import logged_in

VERSIONS = [17, 18, 19]


def recorded(name: str) -> Any:
    with gzip.open(data_path(name), "rt", encoding="utf-8") as file:
        return json.load(file)


@contextmanager
def holding(version: int, *names: str, company: int) -> Iterator[ConnectedClient]:
    sandbox = SandboxOdoo((version, 0), modules={"sale", "account", "mass_mailing", "delivery"}, basics=False)
    sandbox.load_recorded(*(data_path(name) for name in names))
    unrounded = sandbox.search("res.currency", [("decimal_places", "=", 0), ("name", "in", ["USD", "EUR"])])
    if unrounded:  # the recording leaves the currencies' rounding out
        sandbox.write("res.currency", unrounded, {"rounding": 0.01, "decimal_places": 2})
    with sandbox.serve(), logged_in(sandbox, companies=(company,)) as client:
        yield client


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_partners_are_read_as_their_server_showed_them(version):
    records = recorded(f"odoo/{version}/records.json.gz")
    with holding(version, f"odoo/{version}/records.json.gz", company=1) as client:
        table = read_partners(client, 1)
    assert table.complete, table.incomplete_because
    expected = {
        partner["id"]: partner
        for partner in records["res.partner"]
        if not partner["company_id"] or partner["company_id"][0] == 1
    }
    rows = table.rows.set_index("partner_id")
    assert set(rows.index) == set(expected)
    tags = {tag["id"]: tag for tag in records["res.partner.category"]}
    countries = {country["id"]: country["code"] for country in records["res.country"]}
    internal = {user["partner_id"][0] for user in records["res.users"] if not user["share"]}
    system = ("public", "portaltemplate", "default", "__system__")
    templates = {user["partner_id"][0] for user in records["res.users"] if user["login"] in system}
    companies = {company["partner_id"][0] for company in records["res.company"]}
    for partner, record in expected.items():
        row = rows.loc[partner]
        for column in ("name", "email", "email_normalized", "street", "city", "zip", "lang"):
            assert (None if pd.isna(row[column]) else row[column]) == (record[column] or None), column
        for column in ("active", "is_company", "is_blacklisted"):
            assert row[column] == record[column], (partner, column)
        assert row["type"] == record["type"]
        assert row["commercial_partner_id"] == record["commercial_partner_id"][0]
        known_country = countries.get(record["country_id"][0]) if record["country_id"] else None
        assert known_country is None or row["country_code"] == known_country
        paths = [
            f"{tags[tag]['parent_id'][1]} / {tags[tag]['name']}"
            if tags[tag]["parent_id"]
            else tags[tag]["name"]
            for tag in sorted(record["category_id"])
            if tag in tags
        ]
        assert row["tag_names"] == paths
        assert row["is_internal_user"] == (partner in internal)
        assert row["is_public_or_template_user"] == (partner in templates)
        assert row["is_own_company"] == (partner in companies)
        assert row["write_date"] == pd.Timestamp(record["write_date"], tz="UTC")


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_orders_and_blacklist_are_read_whole(version):
    records = recorded(f"odoo/{version}/records.json.gz")
    currencies = {currency["id"]: currency["name"] for currency in records["res.currency"]}
    with holding(version, f"odoo/{version}/records.json.gz", company=1) as client:
        orders = read_orders(client, 1, "UTC")
        blacklist = read_blacklist(client)
    expected = {
        order["id"]: order
        for order in records["sale.order"]
        if order["company_id"][0] == 1 and order["state"] in ("sale", "cancel")
    }
    assert expected
    rows = orders.rows.set_index("order_id")
    assert set(rows.index) == set(expected)
    for order, record in expected.items():
        row = rows.loc[order]
        assert (row["state"], row["name"]) == (record["state"], record["name"])
        assert row["amount_untaxed"] == pytest.approx(record["amount_untaxed"], abs=0.001)
        assert row["currency"] == currencies[record["currency_id"][0]]
        in_company_currency = record["amount_untaxed"] / record["currency_rate"]
        assert row["amount_untaxed_company"] == pytest.approx(in_company_currency, abs=0.0051)
        assert row["month"] == record["date_order"][:7]
    assert blacklist.rows.set_index("blacklist_id")["email"].to_dict() == {
        row["id"]: row["email"] for row in records["mail.blacklist"]
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_invoiced_and_credited_per_order_line_agrees_with_the_journal(version):
    """The facts of the scenarios were worked out from journal items, without these readers."""
    scenarios = recorded(f"odoo/scenarios/{version}.json.gz")
    company = scenarios["company"]["id"]
    with holding(version, f"odoo/scenarios/{version}.json.gz", company=company) as client:
        documents = read_documents(client, company)
        lines = read_document_lines(client, company, documents)
        order_lines = read_order_lines(client, company)
        orders = read_orders(client, company, "UTC")
    assert all(table.complete for table in (documents, lines, order_lines, orders))

    billed: defaultdict[tuple[int, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for line in lines.rows.to_dict("records"):
        assert len(line["sale_line_ids"]) <= 1
        for order_line in line["sale_line_ids"]:
            sums = billed[order_line, line["move_type"]]
            for position, amount in enumerate(
                (line["quantity"], line["price_subtotal"], line["price_total"] - line["price_subtotal"])
            ):
                sums[position] += amount
    ordered = order_lines.rows.set_index("line_id")
    headers = orders.rows.set_index("order_id")
    compared = 0
    for scenario in scenarios["scenarios"].values():
        for order, facts in scenario["facts"]["orders"].items():
            if facts["state"] not in ("sale", "cancel"):
                assert int(order) not in headers.index
                continue
            header = headers.loc[int(order)]
            assert header["amount_untaxed"] == facts["ordered"]["untaxed"]
            assert header["amount_tax"] == facts["ordered"]["tax"]
            assert header["currency_rate"] == pytest.approx(facts["currency_rate"])
            for line in facts["lines"]:
                own = ordered.loc[line["line_id"]]
                assert own["order_id"] == int(order)
                assert own["quantity"] == line["ordered_quantity"]
                assert own["price_subtotal"] == pytest.approx(line["ordered_untaxed"], abs=0.001)
                assert own["price_tax"] == pytest.approx(line["ordered_tax"], abs=0.001)
                assert bool(own["is_delivery"]) == (line["kind"] == "shipping")
                assert bool(own["is_downpayment"]) == (line["kind"] == "down_payment")
                for kind, prefix in (("out_invoice", "invoiced"), ("out_refund", "credited")):
                    assert billed[line["line_id"], kind] == pytest.approx(
                        [line[f"{prefix}_{what}"] for what in ("quantity", "untaxed", "tax")], abs=0.001
                    ), (facts["client_order_ref"], line["line_id"], prefix)
                compared += 1
        for move, facts in scenario["facts"]["moves"].items():
            document = documents.rows[documents.rows["move_id"] == int(move)].to_dict("records")
            if facts["state"] != "posted":
                assert document == []
                continue
            assert document[0]["amount_untaxed"] == facts["untaxed"]
            assert document[0]["amount_total"] == facts["total"]
            assert document[0]["currency"] == facts["currency"]
            reversed_entry = document[0]["reversed_entry_id"]
            assert (None if pd.isna(reversed_entry) else reversed_entry) == facts["reversed_entry_id"]
    assert compared > 60


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recorded_error_becomes_a_typed_one(version):
    kinds = {
        "bad_kwarg": "OdooValidationError",
        "bad_operator": "OdooValidationError",
        "blacklist_bad_address": "OdooValidationError",
        "object_wrong_password": "OdooAuthenticationError",
        "private_method": "OdooAccessError",
        "unknown_field_in_domain": "OdooFieldMissingError",
        "unknown_field_in_fields": "OdooFieldMissingError",
        "unknown_field_in_order": "OdooFieldMissingError",
        "unknown_method": "OdooValidationError",
        "unknown_model": "OdooModelMissingError",
        "write_missing_id": "OdooRecordMissingError",
    }
    exchanges = json.loads(data_path(f"odoo/{version}/exchanges.json").read_text())
    errors = {name: answer["error"] for name, answer in exchanges.items() if "error" in answer}
    assert {
        name: type(from_error_answer(error, "res.partner", "read")).__name__ for name, error in errors.items()
    } == kinds
