"""Orders, invoices and credit notes of real Odoo 17, 18 and 19, read over HTTP: what is kept of each order.

The expected figures were worked out from journal items and by hand, without these readers and rules.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from mc_pipeline.domain.revenue.documents import lines_of_credited_orders, match_credits, unmatched_credits
from mc_pipeline.domain.revenue.kept import kept_by_line, kept_by_order
from mc_pipeline.odoo.orders import read_order_lines, read_orders
from mc_pipeline.odoo.refunds import read_refunds
from mc_pipeline_tests.odoo.test_recorded import VERSIONS, holding, recorded

AMOUNTS = {
    "kept_untaxed": "untaxed",
    "kept_tax": "tax",
    "kept_total": "total",
    "kept_shipping_untaxed": "shipping_untaxed",
    "kept_shipping_tax": "shipping_tax",
}


@dataclass(frozen=True)
class Golden:
    """What one server holds, as it was read, and the facts of its scenarios."""

    orders: pd.DataFrame
    lines: pd.DataFrame
    refunds: pd.DataFrame
    scenarios: dict[str, Any]

    @property
    def order_facts(self) -> dict[int, dict[str, Any]]:
        """By id, of the orders that are confirmed or cancelled: quotations are no orders."""
        return {
            int(order): facts
            for scenario in self.scenarios.values()
            for order, facts in scenario["facts"]["orders"].items()
            if facts["state"] in ("sale", "cancel")
        }

    def facts_of(self, reference: str) -> tuple[int, dict[str, Any]]:
        (found,) = [item for item in self.order_facts.items() if item[1]["client_order_ref"] == reference]
        return found


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"odoo-{version}")
def golden(request: pytest.FixtureRequest) -> Golden:
    name = f"odoo/scenarios/{request.param}.json.gz"
    content = recorded(name)
    company = content["company"]["id"]
    with holding(request.param, name, company=company) as client:
        orders = read_orders(client, company, "UTC")
        refunds = read_refunds(client, company)
        lines = read_order_lines(client, company)
        named = lines_of_credited_orders(refunds.rows)
        credited = read_order_lines(client, company, line_ids=named)
    assert all(table.complete for table in (orders, refunds, lines, credited))
    assert credited.rows["line_id"].tolist() == named
    return Golden(orders.rows, lines.rows, match_credits(refunds.rows, credited.rows), content["scenarios"])


def test_every_scenario_keeps_what_was_worked_out_by_hand(golden: Golden):
    kept = kept_by_order(golden.orders, golden.lines, golden.refunds).set_index("order_id")
    facts = golden.order_facts
    assert set(kept.index) == set(facts)
    assert len(facts) >= 49

    def figures(values: Any, names: Any) -> dict[str, float]:
        return {str(name): float(values[name]) for name in names}

    found, expected = {}, {}
    for order, each in facts.items():
        reference = each["client_order_ref"]
        found[reference] = figures(kept.loc[order], AMOUNTS)
        expected[reference] = {column: each["net"][name] for column, name in AMOUNTS.items()}
        by_hand = each["net_worked_out_by_hand"]
        assert found[reference]["kept_tax"] == by_hand["tax"], reference
        assert found[reference]["kept_total"] == by_hand["total"], reference
    assert found == expected


def test_every_line_keeps_what_its_facts_say(golden: Golden):
    lines = kept_by_line(golden.orders, golden.lines, golden.refunds)
    by_line = lines[lines["line_id"].notna()].set_index("line_id")
    compared = 0
    for facts in golden.order_facts.values():
        for line in facts["lines"]:
            own = by_line.loc[line["line_id"]]
            for what in ("ordered", "invoiced", "credited"):
                for amount in ("untaxed", "tax"):
                    name = f"{what}_{amount}"
                    assert own[name] == pytest.approx(line[name], abs=0.0001), (line["line_id"], name)
            if facts["state"] == "sale":
                assert own["kept_untaxed"] == pytest.approx(line["net_untaxed"], abs=0.0001)
                assert own["kept_tax"] == pytest.approx(line["net_tax"], abs=0.0001)
            assert own["is_delivery"] == (line["kind"] == "shipping")
            compared += 1
    assert compared > 60


def test_only_what_goes_below_zero_says_so(golden: Golden):
    kept = kept_by_order(golden.orders, golden.lines, golden.refunds).set_index("order_id")
    below = {golden.order_facts[order]["client_order_ref"] for order in kept.index[kept["below_zero"]]}
    assert below == {"S37", "S41"}


def test_a_foreign_order_is_worth_what_is_kept_at_its_own_rate(golden: Golden):
    order, facts = golden.facts_of("S23")
    kept = kept_by_order(golden.orders, golden.lines, golden.refunds).set_index("order_id").loc[order]
    rate = facts["currency_rate"]
    assert kept["kept_untaxed_company"] == 200.0
    at_order_rate = facts["net_company_currency"]["net_at_order_rate"]
    assert kept["kept_total"] / rate == pytest.approx(at_order_rate, abs=0.005)


def test_what_belongs_to_no_single_order_is_listed_and_nothing_else(golden: Golden):
    expected = {}
    for scenario in golden.scenarios.values():
        for move, facts in scenario["facts"]["moves"].items():
            left = facts.get("unattributed", {"untaxed": 0.0, "tax": 0.0})
            if facts["state"] == "posted" and facts["move_type"] == "out_refund" and any(left.values()):
                expected[int(move)] = (left["untaxed"], left["tax"])
    listed = unmatched_credits(golden.refunds).set_index("move_id")
    found = {move: (row["untaxed"], row["tax"]) for move, row in listed.iterrows()}
    assert found == expected
    assert sorted(listed["because"]) == ["names_no_invoice", "several_orders"]


def test_the_lines_of_credited_orders_are_enough(golden: Golden):
    """A company's sync reads those alone: the others keep what their headers say."""
    columns = ["kept_untaxed", "kept_tax", "kept_total", "kept_untaxed_company", "below_zero"]
    credited = set(golden.refunds["order_id"].dropna())
    few = golden.lines[golden.lines["order_id"].isin(credited)]
    assert 0 < len(few) < len(golden.lines)
    pd.testing.assert_frame_equal(
        kept_by_order(golden.orders, few, golden.refunds)[columns],
        kept_by_order(golden.orders, golden.lines, golden.refunds)[columns],
    )
