"""The golden scenarios of real Odoo 17, 18 and 19 through the whole pipeline: what the store should hold.

The expected figures were worked out from journal items and by hand, without any of the code that is run.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.store_reading import read_store_orders
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sync.reconciliation import Reconciliation
from mc_pipeline_tests.data import data_path
from mc_pipeline_tests.odoo.test_recorded import VERSIONS, recorded
from mc_pipeline_tests.world import World, set_environment

STORE = "golden-store"
FLOORED = {"S37", "S41"}
"""More was given back than the order says; a store gets zero."""


@dataclass(frozen=True)
class Golden:
    """One version after one sync: its world, facts by order, ``store_orders``, and revenue by month."""

    world: World
    facts: dict[int, dict[str, Any]]
    store_orders: pd.DataFrame
    books: dict[str, float]


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"odoo-{version}")
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Golden]:
    name = f"odoo/scenarios/{request.param}.json.gz"
    content = recorded(name)
    company = content["company"]["id"]
    odoo = SandboxOdoo(
        (request.param, 0), modules={"sale", "account", "mass_mailing", "delivery"}, basics=False
    )
    odoo.load_recorded(data_path(name))
    mailchimp = SandboxMailchimp()
    mailchimp.add_audience("golden1", "Golden")
    folder = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as environment, odoo.serve(), mailchimp.serve():
        set_environment(environment, folder)
        world = World(odoo, mailchimp, folder)
        world.configure(
            f"  acme:\n    odoo_company_id: {company}\n    mailchimp: main\n    timezone: UTC\n"
            "    audiences:\n"
            f"      golden: {{list_id: golden1, store: {{id: {STORE}, name: Golden, currency: USD}}}}\n"
        )
        world.sync()
        facts = {
            int(order): each
            for scenario in content["scenarios"].values()
            for order, each in scenario["facts"]["orders"].items()
            if each["state"] in ("sale", "cancel")
        }
        rows = world.table("store_orders").rows.set_index("order_id", drop=False)
        yield Golden(world, facts, rows, recorded_revenue(content))


def recorded_revenue(content: dict[str, Any]) -> dict[str, float]:
    """The revenue of each month by the recorded journal items."""
    months: dict[str, float] = {}
    for item in content["records"]["account.move.line"]:
        if item["parent_state"] == "posted" and item["account_type"] in ("income", "income_other"):
            months[item["date"][:7]] = months.get(item["date"][:7], 0.0) - item["balance"]
    return {month: round(amount, 2) for month, amount in months.items()}


def expected_figures(facts: dict[str, Any]) -> dict[str, float]:
    """What a store should hold of an order in US dollars, by its recorded books."""
    net, rate = facts["net"], facts["currency_rate"] if facts["currency"] != "USD" else 1.0
    untaxed, shipping = net["untaxed"] / rate, net["shipping_untaxed"] / rate
    figures = {"goods": untaxed - shipping, "shipping": shipping, "tax": net["tax"] / rate}
    figures["total"] = sum(figures.values())
    return {name: round(max(value, 0.0), 2) + 0.0 for name, value in figures.items()}


def test_the_store_should_hold_what_the_books_of_every_scenario_say(golden: Golden):
    rows = golden.store_orders
    assert set(rows.index) == set(golden.facts)
    assert len(golden.facts) >= 49
    found, expected = {}, {}
    for order, facts in golden.facts.items():
        row, reference = rows.loc[order], facts["client_order_ref"]
        found[reference] = {
            "goods": row["goods_total"],
            "shipping": row["shipping_total"],
            "tax": row["tax_total"],
            "total": row["order_total"],
        }
        expected[reference] = expected_figures(facts)
    assert found == expected
    below = {golden.facts[order]["client_order_ref"] for order in rows.index[rows["below_zero"]]}
    assert below == FLOORED


def test_every_order_is_due_in_the_store_but_the_cancelled(golden: Golden):
    rows = golden.store_orders
    confirmed = rows[rows["state"] == "sale"]
    assert confirmed["excluded_because"].unique().tolist() == [""]
    assert confirmed["store_id"].unique().tolist() == [STORE]
    assert rows.loc[rows["state"] == "cancel", "excluded_because"].unique().tolist() == ["cancelled"]
    assert rows["cancelled_at"].notna().equals(rows["state"] == "cancel")


def test_lines_add_up_to_the_goods_and_name_products_of_odoo(golden: Golden):
    products = golden.world.table("odoo_products").rows
    variants = {
        f"v{product}": f"p{template}"
        for product, template in zip(products["product_id"], products["product_template_id"], strict=True)
    }
    for row in golden.store_orders.itertuples():
        lines = json.loads(row.lines_json)
        assert lines
        in_all = sum(Decimal(str(line["price"])) * line["quantity"] for line in lines)
        assert in_all == Decimal(str(row.goods_total)), golden.facts[row.order_id]["client_order_ref"]
        assert all(line["price"] >= 0 and line["quantity"] >= 1 for line in lines)
        for line in lines:
            stand_in = line["product_id"] == line["product_variant_id"]
            assert variants.get(line["product_variant_id"]) == line["product_id"] or stand_in


def test_kept_revenue_of_the_orders_is_kept_revenue_of_odoo(golden: Golden):
    rows, orders = golden.store_orders, golden.world.table("odoo_orders").rows
    kept = orders["kept_untaxed_company"].sum()
    assert round(rows["kept_untaxed_company"].sum(), 2) == round(kept, 2) != 0
    due = rows[~rows["below_zero"]]
    sent = due["goods_total"] + due["shipping_total"]
    assert (sent - due["kept_untaxed_company"]).abs().max() < 0.001


def test_the_store_holds_what_the_books_say(golden: Golden):
    """Read over HTTP, as the reconciliation does; nothing of it is what we remember to have sent."""
    held = read_orders(golden)
    confirmed = {order: facts for order, facts in golden.facts.items() if facts["state"] == "sale"}
    assert set(held["foreign_order_id"]) == {f"o{order}" for order in confirmed}
    by_id = held.set_index("foreign_order_id")
    found, expected = {}, {}
    for order, facts in confirmed.items():
        row, reference = by_id.loc[f"o{order}"], facts["client_order_ref"]
        found[reference] = {
            "goods": round(row["order_total"] - row["tax_total"] - row["shipping_total"], 2) + 0.0,
            "shipping": row["shipping_total"],
            "tax": row["tax_total"],
            "total": row["order_total"],
        }
        expected[reference] = expected_figures(facts)
    assert found == expected
    assert set(golden.world.table("order_push").rows["outcome"]) == {"applied"}
    assert golden.world.mailchimp.mails == []
    assert not golden.world.mailchimp.state.stores[STORE].is_syncing


def test_the_reconciliation_is_exact_and_leads_to_the_recorded_books_to_the_cent(golden: Golden):
    table = golden.world.table("revenue_reconciliation")
    assert table.rows["differs_because"].unique().tolist() == [""]
    found = Reconciliation.of(table)
    months = found.months
    held = months["mailchimp_goods"] + months["mailchimp_shipping"]
    assert (months["kept"] - held - months["left_out"]).abs().max() < 0.001
    assert months["difference"].unique().tolist() == [0.0]
    assert found.not_explained.empty
    books = dict(zip(found.bridge["month"], found.bridge["books"], strict=True))
    assert {month: amount for month, amount in books.items() if amount} == golden.books


def read_orders(golden: Golden) -> pd.DataFrame:
    with MailchimpClient("main", DEFAULT_KEY, base_url=golden.world.mailchimp.api_url) as client:
        return read_store_orders(client, STORE)


def test_a_second_run_writes_the_same(golden: Golden):
    golden.world.mailchimp.journal.clear()
    golden.world.sync()
    assert golden.world.mailchimp.journal.writes == []
    pd.testing.assert_frame_equal(
        golden.world.table("store_orders").rows, golden.store_orders.reset_index(drop=True)
    )


def test_each_month_is_shown_with_its_sums_and_told_anew_only_when_it_changed(golden: Golden):
    rows = golden.store_orders
    partitions = golden.world.instance.get_materialized_partitions(dg.AssetKey("orders_by_month"))
    assert partitions == {f"acme|{month}" for month in rows["month"].unique()}
    # Once while nobody was a member yet, once when they were, and not again by the run that changed nothing.
    latest, _ = golden.world.instance.fetch_materializations(
        dg.AssetRecordsFilter(
            dg.AssetKey("orders_by_month"),
            asset_partitions=[dg.MultiPartitionKey({"company": "acme", "month": rows["month"].max()})],
        ),
        limit=5,
    ).records
    shown = latest.asset_materialization
    assert shown is not None
    of_month = rows[rows["month"] == rows["month"].max()]
    assert shown.metadata["dagster/row_count"].value == len(of_month)
    assert shown.metadata["order_total"].value == pytest.approx(of_month["order_total"].sum())
