"""The reconciliation end to end: exact after every change, honest where a store is not as it should be."""

import csv
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from mc_pipeline.cli.main import commands
from mc_pipeline.domain.reconciliation.by_order import AMOUNT, MISSING, NOT_KNOWN
from mc_pipeline.ledger import Ledger, Trouble, TroubleKind
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.world import World, set_environment

STORE = "acme-store"
MAY, JUNE = datetime(2026, 5, 4, 10, 0, tzinfo=UTC), datetime(2026, 6, 8, 10, 0, tzinfo=UTC)
HOLDS, LEFT_OUT, BOOKS = (
    f"revenue_reconciliation/{name}"
    for name in ("stores_match_odoo", "exclusions_within_limit", "ledger_reconciles")
)


class Shop(World):
    """A world with one audience, its store, and two products."""

    def __init__(self, odoo: SandboxOdoo, mailchimp: SandboxMailchimp, folder: Path) -> None:
        super().__init__(odoo, mailchimp, folder)
        self.configure(
            "  acme:\n    odoo_company_id: 1\n    mailchimp: main\n    timezone: Europe/Paris\n"
            "    audiences:\n      everyone:\n        list_id: list1\n"
            f"        store: {{id: {STORE}, name: Acme, currency: EUR}}\n"
        )
        self.products = {
            name: odoo.create("product.product", {"name": name, "list_price": 1.0})
            for name in ("Book", "Pen")
        }

    def order(self, email: str, product: str, amount: float, when: datetime = MAY) -> int:
        """A confirmed order of one line, of a customer who may be new."""
        known = self.odoo.search("res.partner", [("email", "=", email)])
        customer = known[0] if known else self.odoo.add_partner(name="Ada Lovelace", email=email)
        line = {"name": product, "product_id": self.products[product], "price_unit": amount}
        return self.odoo.add_order(customer, lines=[line], date_order=when)

    def held(self) -> dict[str, Any]:
        """The orders in the store, by id, as Mailchimp itself has them."""
        return self.mailchimp.store(STORE).orders

    def differences(self) -> dict[str, str]:
        rows = self.table("revenue_reconciliation").rows
        rows = rows[rows["differs_because"] != ""]
        return dict(zip(rows["foreign_order_id"], rows["differs_because"], strict=True))

    def revenue(self) -> float:
        """What Mailchimp's own report would say: totals less tax and shipping."""
        each = [
            order["order_total"] - order.get("tax_total", 0) - order.get("shipping_total", 0)
            for order in self.held().values()
        ]
        return round(sum(each), 2)

    def kept(self) -> float:
        return round(float(self.table("revenue_reconciliation").rows["kept_untaxed"].sum()), 2)

    def command(self, *arguments: str) -> Result:
        return CliRunner().invoke(commands, ["reconcile", "acme", *arguments], env={"COLUMNS": "200"})


def open_trouble(place: str, part: str, kind: TroubleKind) -> Trouble:
    return Trouble(
        kind=kind,
        part=part,
        place=place,
        code="any",
        sentence=f"The {part} {place} {kind}.",
        what_to_do="Look at it.",
        owner="finance",
    )


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    set_environment(monkeypatch, tmp_path)
    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
    mailchimp.add_audience("list1", "Everyone")
    with odoo.serve(), mailchimp.serve():
        shop = Shop(odoo, mailchimp, tmp_path)
        monkeypatch.setenv("MC_PIPELINE_CONFIG", str(shop.config))
        yield shop


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = (
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("revenue_reconciliation")
    )
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_mailchimp_follows_odoo_to_the_cent_through_refunds_and_cancellations(shop: Shop):
    refunded = shop.order("ada@example.com", "Book", 80.10)
    cancelled = shop.order("grace@example.com", "Pen", 20.20, JUNE)
    shop.order("grace@example.com", "Pen", 30.30, JUNE)
    shop.order("", "Pen", 1.10)
    invoice = shop.odoo.invoice_order(refunded)
    result = shop.sync()
    checks = shop.checks(result)
    assert [checks[name].passed for name in (HOLDS, LEFT_OUT, BOOKS)] == [True, True, True]
    assert shop.differences() == {}
    assert (shop.kept(), shop.revenue()) == (131.7, 130.6)
    shown = metadata(result)
    assert (shown["orders_that_differ"], shown["in_no_store"], shown["mailchimp"]) == (0, 1.1, 130.6)
    assert shown["report"].count("data:image/svg+xml;base64,") == 1

    shop.odoo.credit_invoice(invoice, quantity=0.5)
    shop.odoo.cancel_order(cancelled)
    checks = shop.checks(shop.sync())
    assert [checks[name].passed for name in (HOLDS, LEFT_OUT, BOOKS)] == [True, True, True]
    assert (shop.kept(), shop.revenue()) == (71.45, 70.35)

    shop.mailchimp.journal.clear()
    shop.sync()
    assert shop.mailchimp.journal.writes == []
    assert shop.differences() == {}
    assert shop.command().exit_code == 0

    # What waits is in no figure: that nothing else differs is not all there is to say.
    waiting = open_trouble("acme-store", "store", TroubleKind.WAITS)
    with Ledger.open() as ledger:
        ledger.troubles.report("acme", "order_push", "run", [waiting])
    shown = shop.command()
    assert shown.exit_code == 1
    assert "Nothing differs in what was checked." in shown.output
    assert "Waits: The store acme-store waits." in " ".join(shown.output.split())
    with Ledger.open() as ledger:
        ledger.troubles.report("acme", "order_push", "run", [open_trouble("VIP", "tag", TroubleKind.BROKEN)])
    assert shop.command().exit_code == 0, "no figure depends on a tag"


@pytest.mark.long
def test_what_somebody_changed_in_mailchimp_is_found_and_put_right_by_the_next_sync(shop: Shop):
    edited, deleted = (f"o{shop.order(f'{name}@example.com', 'Book', 50.0)}" for name in ("ada", "grace"))
    shop.sync()
    held = shop.held()
    held["stranger"] = {**held[edited], "id": "stranger", "order_total": 7.0, "lines": {}}
    held[edited]["order_total"] += 10
    shop.mailchimp.delete_order(STORE, deleted)
    result = shop.run()
    assert shop.went_through(result), "a difference stops nothing"
    assert shop.differences() == {edited: AMOUNT, deleted: MISSING, "stranger": NOT_KNOWN}
    check = shop.checks(result)[HOLDS]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert not check.blocking
    listed = str(check.metadata["differing_orders_in_odoo"].value)
    assert f"/web#id={edited[1:]}&model=sale.order" in listed
    assert "goods 60.00 instead of 50.00" in listed

    command = shop.command("--orders", "--csv", str(shop.folder / "orders.csv"))
    assert command.exit_code == 1
    assert "3 orders differ" in command.output
    assert "goods 60.00 instead of 50.00" in command.output
    path = shop.folder / "orders.csv"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    assert {row["foreign_order_id"]: row["difference_goods"] for row in rows} == {
        edited: "10.00", deleted: "-50.00", "stranger": "7.00",
    }  # fmt: skip

    assert shop.went_through(shop.run()), "an order that nobody knows is still to be looked at"
    assert shop.differences() == {"stranger": NOT_KNOWN}
    assert shop.held()[edited]["order_total"] == 50.0
    assert deleted in shop.held()


def test_an_order_that_mailchimp_refuses_is_reported_with_its_words(shop: Shop):
    shop.order("ada@example.com", "Book", 50.0)
    shop.sync()
    refused = f"o{shop.order('grace@example.com', 'Pen', 20.0)}"
    shop.mailchimp.faults.add(Fault("html_403", "POST", "/products$", times=None, match_body_regex="Pen"))
    shop.sync(in_trouble=True)
    assert shop.differences() == {refused: MISSING}
    row = shop.table("revenue_reconciliation").rows.set_index("foreign_order_id").loc[refused]
    assert row["push_outcome"] not in ("applied", "unchanged")
    assert "product" in row["push_detail"]


def test_the_command_shows_a_month_and_says_what_to_do_without_a_reconciliation(shop: Shop):
    early = shop.command()
    assert early.exit_code == 2
    assert "mc-pipeline sync acme" in early.output
    shop.odoo.invoice_order(shop.order("ada@example.com", "Book", 80.0))
    shop.order("ada@example.com", "Pen", 20.0, JUNE)
    shop.sync()
    path = shop.folder / "months.csv"
    june = shop.command("--month", "2026-06", "--csv", str(path))
    assert june.exit_code == 0
    assert "2026-06" in june.output
    assert "2026-05" not in june.output
    (row,) = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())
    assert (row["kept"], row["mailchimp_goods"], row["step_not_yet_invoiced"]) == ("20.00", "20.00", "-20.00")
    assert shop.command("--month", "June").exit_code == 2
