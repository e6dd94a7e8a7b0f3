"""Order lines without a text of their own, as Odoo 20 has them: they are called what was ordered."""

from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pytest

from mc_pipeline.odoo.changes import Reading
from mc_pipeline.odoo.line_texts import UNTITLED
from mc_pipeline.odoo.orders import read_order_lines
from mc_pipeline.odoo.reading import texts
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.tables import schemas
from mc_pipeline_tests.odoo.conftest import logged_in


@contextmanager
def selling(version: tuple[int, int]) -> Iterator[tuple[SandboxOdoo, int, int]]:
    """A server, and two products of it."""
    with SandboxOdoo(version).serve() as odoo:
        desk = odoo.create("product.product", {"name": "Desk", "default_code": "DESK"})
        chair = odoo.create("product.product", {"name": "Chair"})
        yield odoo, desk, chair


def names(rows: pd.DataFrame) -> list[str | None]:
    return [None if pd.isna(name) else str(name) for name in rows.sort_values("line_id")["name"]]


def ordered(odoo: SandboxOdoo, *lines: dict[str, object]) -> int:
    return odoo.add_order(odoo.add_partner(name="Ada Lovelace"), lines=lines)


@pytest.mark.parametrize("version", [(19, 0), (19, 4), (20, 0)], ids=str)
def test_a_line_is_called_by_its_product_in_every_version(version):
    """Case V6."""
    with selling(version) as (odoo, desk, chair):
        ordered(odoo, {"product_id": desk}, {"product_id": chair}, {"product_id": desk})
        with logged_in(odoo) as client:
            read = read_order_lines(client, 1)
    assert names(read.rows) == ["[DESK] Desk", "Chair", "[DESK] Desk"]
    assert read.notes == ()


def test_what_the_line_says_itself_stays_and_sections_need_no_text():
    with selling((20, 0)) as (odoo, desk, _):
        ordered(
            odoo,
            {"product_id": desk, "name": "Oak, to measure"},
            {"name": "Work by the hour", "price_unit": 5.0},
            {"display_type": "line_section"},
            {"price_unit": 3.0},
        )
        with logged_in(odoo) as client:
            rows = read_order_lines(client, 1).rows
    assert names(rows) == ["Oak, to measure", "Work by the hour", None, UNTITLED]
    stored = schemas.ODOO_ORDER_LINES.to_arrow(rows.assign(month="2026-11"))
    assert stored.column("name").to_pylist() == names(rows)


def test_labels_that_odoo_refuses_stop_no_order():
    """``label`` needs every product to be readable; the rest is known from the products themselves."""
    with selling((20, 0)) as (odoo, desk, chair):
        ordered(odoo, {"product_id": desk}, {"product_id": chair})
        uid = odoo.add_user("bot", "secret", groups=("sales_all",))
        odoo.hide("product.product", [desk], uid=uid)
        with logged_in(odoo, "bot", "secret") as client:
            read = read_order_lines(client, 1)
            assert names(read.rows) == [UNTITLED, "Chair"]
            assert read.complete
            assert "1 order lines have no text" in read.notes[0]
        odoo.deny(uid, "product.product")
        with logged_in(odoo, "bot", "secret") as client:
            assert names(read_order_lines(client, 1).rows) == [UNTITLED, UNTITLED]


def test_labels_are_asked_once_per_product_and_incremental_reads_stay_incremental():
    with selling((20, 0)) as (odoo, desk, chair):
        ordered(odoo, *[{"product_id": product} for product in (desk, chair) * 20])
        with logged_in(odoo) as client:
            first = Reading(source="x")
            before = read_order_lines(client, 1, reading=first)
            template = odoo.read("product.product", chair, "product_tmpl_id")["product_tmpl_id"]
            odoo.write("product.template", template, {"name": "Stool"})
            again = Reading(first.snapshots.get, source="x")
            after = read_order_lines(client, 1, reading=again)
    assert set(names(before.rows)) == {"[DESK] Desk", "Chair"}
    assert set(names(after.rows)) == {"[DESK] Desk", "Stool"}
    assert all("computes" not in note for note in again.notes)


@pytest.mark.parametrize("said", ["[DESK] Desk", "", False])
def test_a_line_is_stored_whatever_odoo_tells_of_its_text(said):
    """Whether 20 gives '' or False over RPC is to be seen on a server: either is no text."""
    row = {
        "line_id": 1, "order_id": 1, "month": "2026-11", "product_id": 7, "name": None, "quantity": 1.0,
        "price_unit": 10.0, "discount": 0.0, "price_subtotal": 10.0, "price_tax": 0.0, "price_total": 10.0,
        "is_downpayment": False, "is_delivery": False, "display_type": None,
    }  # fmt: skip
    table = pd.DataFrame([row], columns=schemas.ODOO_ORDER_LINES.names)
    table["name"], table["display_type"] = texts([said]), texts([False])
    table["product_id"] = table["product_id"].astype("Int64")
    assert schemas.ODOO_ORDER_LINES.to_arrow(table).column("name").to_pylist() == [said or None]
