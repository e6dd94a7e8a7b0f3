"""Sale orders of a company, and their lines."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from mc_pipeline.chunks import chunks_of
from mc_pipeline.odoo.changes import Reading, Stale
from mc_pipeline.odoo.client import OdooClient, Record
from mc_pipeline.odoo.companies import seeing_partners, with_companies_above
from mc_pipeline.odoo.currencies import company_currency, read_currencies
from mc_pipeline.odoo.fields import available_fields
from mc_pipeline.odoo.line_texts import UNTITLED, texts_of_lines
from mc_pipeline.odoo.reading import (
    OdooRead,
    flags,
    frame,
    ids,
    integers,
    joined,
    now,
    numbers,
    optional_ids,
    texts,
    times,
)
from mc_pipeline.odoo.visibility import hidden_sales_documents

# Odoo 17 and newer have draft, sent, sale and cancel; "done" is gone, a locked order stays "sale".
_STATES = ["sale", "cancel"]
_ORDER_FIELDS = (
    "name", "partner_id", "partner_invoice_id", "state", "date_order", "currency_id", "currency_rate",
    "amount_untaxed", "amount_tax", "amount_total", "company_id", "write_date",
)  # fmt: skip
_LINE_FIELDS = (
    "order_id", "product_id", "name", "product_uom_qty", "price_unit", "discount", "price_subtotal",
    "price_tax", "price_total", "display_type", "is_downpayment",
)  # fmt: skip


def read_orders(
    client: OdooClient,
    company_id: int,
    timezone: str,
    *,
    reading: Reading | None = None,
    months_again: Collection[str] = (),
) -> OdooRead:
    """All confirmed and cancelled orders of the company, of all time.

    ``reading`` may take unchanged orders from an earlier read, but none of ``months_again`` (YYYY-MM).

    Columns: order_id int64, name, partner_id, partner_invoice_id int64, state ("sale" or "cancel"),
    date_order (UTC), currency (ISO 4217), company_currency, decimal_places, company_decimal_places (of the
    two currencies), currency_rate (order currency per company currency, as Odoo fixed it for the order),
    amount_untaxed, amount_tax, amount_total (order currency, rounded to its decimal places),
    amount_untaxed_company (untaxed, company currency, at the order's rate;
    0 when Odoo has no rate, and then the table is not complete), month ("YYYY-MM" of date_order in
    ``timezone``), write_date (UTC).

    Not complete when the user sees its own orders only, or an order has no rate. Raises OdooAccessError,
    OdooFieldMissingError, OdooModelMissingError (sales are not installed).
    """
    observed_at = now()
    limited = client.with_companies([company_id])
    fields = available_fields(limited, "sale.order", _ORDER_FIELDS)
    domain = [("company_id", "=", company_id), ("state", "in", _STATES)]
    found = (reading or Reading()).read(
        limited,
        "sale.order",
        [domain],
        fields,
        stale=_changed_without_a_date(limited, company_id, timezone, months_again),
    )
    # Read by id, an order reset to a quotation meanwhile comes too; it is none of this table's.
    records = [
        record
        for record in found.records
        if record["company_id"] == company_id and record["state"] in _STATES and record["date_order"]
    ]
    currencies = read_currencies(limited)
    own = company_currency(limited, company_id, currencies)
    order_currencies = [currencies[record["currency_id"]] for record in records]
    rates = [
        float(record["currency_rate"] or (1.0 if currency.code == own.code else 0.0))
        for record, currency in zip(records, order_currencies, strict=True)
    ]
    without_rate = sum(rate <= 0 for rate in rates)
    date_order = times(record["date_order"] for record in records)

    def amounts(name: str) -> list[float]:
        return [
            currency.rounded(record[name]) for record, currency in zip(records, order_currencies, strict=True)
        ]

    rows = frame(
        {
            "order_id": ids(record["id"] for record in records),
            "name": texts(record["name"] for record in records),
            "partner_id": ids(record["partner_id"] for record in records),
            "partner_invoice_id": ids(record["partner_invoice_id"] for record in records),
            "state": texts(record["state"] for record in records),
            "date_order": date_order,
            "currency": texts(currency.code for currency in order_currencies),
            "company_currency": texts(own.code for _ in records),
            "decimal_places": integers(currency.decimal_places for currency in order_currencies),
            "company_decimal_places": integers(own.decimal_places for _ in records),
            "currency_rate": numbers(rates),
            "amount_untaxed": numbers(amounts("amount_untaxed")),
            "amount_tax": numbers(amounts("amount_tax")),
            "amount_total": numbers(amounts("amount_total")),
            "amount_untaxed_company": numbers(
                own.rounded(record["amount_untaxed"] / rate) if rate > 0 else 0.0
                for record, rate in zip(records, rates, strict=True)
            ),
            "month": date_order.dt.tz_convert(ZoneInfo(timezone)).dt.strftime("%Y-%m").astype("str"),
            "write_date": times(record["write_date"] for record in records),
        }
    )
    because = joined(
        [
            found.incomplete_because,
            hidden_sales_documents(limited),
            f"{without_rate} orders in a foreign currency have no rate in Odoo and count as 0"
            if without_rate
            else "",
        ]
    )
    return OdooRead(rows, observed_at, not because, because)


def _changed_without_a_date(
    client: OdooClient, company_id: int, timezone: str, months: Collection[str]
) -> Stale:
    """Finds orders whose partner is no longer there: a merge points them to the survivor without a date.

    And those of the months that are to be read again in any case.
    """

    def stale(known: Mapping[int, Record], listed: Sequence[int], since: datetime) -> set[int]:
        seeing = seeing_partners(client, with_companies_above(client, company_id))
        there = set(seeing.search("res.partner", [], order="id"))
        zone = ZoneInfo(timezone)
        return {
            order
            for order, record in known.items()
            if record["partner_id"] not in there
            or record["partner_invoice_id"] not in there
            or (months and record["date_order"] and _month(record["date_order"], zone) in months)
        }

    return stale


def _month(date_order: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(date_order).replace(tzinfo=UTC).astimezone(zone).strftime("%Y-%m")


def read_order_lines(
    client: OdooClient,
    company_id: int,
    order_ids: Iterable[int] | None = None,
    *,
    line_ids: Iterable[int] | None = None,
    reading: Reading | None = None,
    orders_again: Collection[int] = (),
) -> OdooRead:
    """The lines of the company's confirmed and cancelled orders; or of the orders, or the lines, named.

    Named ones are read in whatever state their order is. ``reading`` may take unchanged lines from an earlier
    read, but none of the orders ``orders_again``.

    Columns: line_id, order_id int64, product_id Int64 (missing on sections, notes and, from Odoo 19.4 on,
    lines without a product), name (the line's text; from Odoo 20 on most lines have none, and it is the
    product's: see ``texts_of_lines``; missing on sections and notes without a text), quantity (as ordered
    now), price_unit, discount (percent), price_subtotal (untaxed), price_tax, price_total (order
    currency, each rounded by Odoo), is_downpayment bool, is_delivery bool (False where the module delivery is
    missing), display_type ("line_section", "line_note" and the like; missing on ordinary lines).

    Not complete when the user sees its own orders only. Raises the client's errors.
    """
    observed_at = now()
    limited = client.with_companies([company_id])
    fields = available_fields(limited, "sale.order.line", _LINE_FIELDS, ["is_delivery"])
    found = (reading or Reading()).read(
        limited,
        "sale.order.line",
        _line_domains(company_id, order_ids, line_ids),
        fields,
        bumped_by=["order_id"],
        stale=_of_orders(frozenset(orders_again)),
    )
    records = found.records
    titles, untitled = texts_of_lines(limited, records)
    rows = frame(
        {
            "line_id": ids(record["id"] for record in records),
            "order_id": ids(record["order_id"] for record in records),
            "product_id": optional_ids(record["product_id"] for record in records),
            "name": texts(titles.get(record["id"]) or record["name"] for record in records),
            "quantity": numbers(record["product_uom_qty"] for record in records),
            "price_unit": numbers(record["price_unit"] for record in records),
            "discount": numbers(record["discount"] for record in records),
            "price_subtotal": numbers(record["price_subtotal"] for record in records),
            "price_tax": numbers(record["price_tax"] for record in records),
            "price_total": numbers(record["price_total"] for record in records),
            "is_downpayment": flags(record["is_downpayment"] for record in records),
            "is_delivery": flags(record.get("is_delivery") for record in records),
            "display_type": texts(record["display_type"] for record in records),
        }
    )
    because = joined([hidden_sales_documents(limited), found.incomplete_because])
    note = f"{untitled:,} order lines have no text, and a product that the Odoo user may not see: each is "
    notes = (f'{note}called "{UNTITLED}"',) if untitled else ()
    return OdooRead(rows, observed_at, not because, because, notes)


def _of_orders(orders: Set[int]) -> Stale:
    def stale(known: Mapping[int, Record], listed: Sequence[int], since: datetime) -> set[int]:
        return {line for line, record in known.items() if record["order_id"] in orders}

    return stale


def _line_domains(
    company_id: int, order_ids: Iterable[int] | None, line_ids: Iterable[int] | None
) -> Sequence[list[object]]:
    company = ("order_id.company_id", "=", company_id)
    if order_ids is None and line_ids is None:
        return [[company, ("order_id.state", "in", _STATES)]]
    field, named = ("id", line_ids) if line_ids is not None else ("order_id", order_ids)
    wanted = sorted(set(named or ()))
    return [[company, (field, "in", some)] for some in chunks_of(1000, wanted)]
