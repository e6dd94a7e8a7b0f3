"""A recording loaded into the stand-in has what Odoo itself fills in, also where it was not recorded."""

import pytest

from mc_pipeline_tests.odoo.conftest import logged_in
from mc_pipeline_tests.recorded.recordings import VERSIONS, raw_records, recorded_odoo


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_order_lines_are_seen_by_their_orders_company_alone(version):
    records = raw_records(version)
    order_of = {line["id"]: line["order_id"][0] for line in records["sale.order.line"]}
    orders = {order["id"]: order for order in records["sale.order"]}
    assert not any("company_id" in line for line in records["sale.order.line"])
    with recorded_odoo(version) as odoo:
        for company in (company["id"] for company in records["res.company"]):
            with logged_in(odoo, companies=(company,)) as client:
                lines = client.search_read(
                    "sale.order.line", [], ["order_id", "company_id", "order_partner_id", "state"]
                )
            assert {line["id"] for line in lines} == {
                line for line, order in order_of.items() if orders[order]["company_id"][0] == company
            }
            for line in lines:
                order = orders[order_of[line["id"]]]
                assert line["company_id"] == order["company_id"][0]
                assert line["order_partner_id"] == order["partner_id"][0]
                assert line["state"] == order["state"]


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_currencies_have_odoos_two_decimal_places(version):
    with recorded_odoo(version) as odoo, logged_in(odoo) as client:
        currencies = client.search_read("res.currency", [], ["decimal_places"])
    assert len(currencies) == len(raw_records(version)["res.currency"])
    assert {currency["decimal_places"] for currency in currencies} == {2}
