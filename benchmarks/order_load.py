"""The first load of a store, month by month: time, memory and batches; then one changed order.

``python -m benchmarks.order_load 200000`` serves a Mailchimp in a process of its own and pushes so many
orders with two lines each from another, whose peak of memory is measured. Prints of each step how long it
took, the peak, and what it asked of Mailchimp.
"""

import gc
import json
import math
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd

from mc_pipeline.ledger import Ledger
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.push.orders import OrderPusher, Orders
from mc_pipeline.push.products import push_products
from mc_pipeline.push.store_settling import settle_store_writes
from mc_pipeline.push.store_writes import StoreWrites
from mc_pipeline.push.stores import Store, end_first_loads, open_stores
from mc_pipeline.push.writer import Writer
from mc_pipeline.tables import schemas

DEFAULT_ORDERS = 20_000
ORDERS_OF_A_CUSTOMER = 8
PRODUCTS = 200
MONTHS = 36
COMPANY = "acme"
STORE = Store("acme-retail", "Retail", "EUR", "retail", "retail1")


def serve(people: int, pipe: Connection) -> None:
    """Run the stand-in, tell its address, and whenever asked what it was asked since."""
    from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp

    mailchimp = SandboxMailchimp()
    mailchimp.add_audience(STORE.list_id, "Retail")
    for number in range(people):
        mailchimp.add_member(STORE.list_id, f"person{number}@example.com", "transactional")
    mailchimp.journal.clear()
    # What was built stays: the collector need not look at it again and again.
    gc.freeze()
    with mailchimp.serve():
        pipe.send((mailchimp.api_url, DEFAULT_KEY))
        while True:
            try:
                pipe.recv()
            except EOFError:
                return
            asked = Counter(
                "operations in batches"
                if each.batch_id
                else "batches"
                if each.method == "POST" and each.path.endswith("/batches")
                else f"{each.method}s"
                for each in mailchimp.journal.requests
            )
            store = mailchimp.state.stores[STORE.store_id]
            total = round(math.fsum(order["order_total"] for order in store.orders.values()), 2)
            mailchimp.journal.clear()
            pipe.send((dict(asked), len(store.orders), total))


def orders_table(count: int) -> pd.DataFrame:
    """Rows of ``store_orders``: so many orders over 36 months, two lines each."""
    first = datetime(2023, 1, 1, tzinfo=UTC)
    numbers = pd.RangeIndex(1, count + 1)
    month = (numbers - 1) * MONTHS // count
    processed = pd.Series([first + timedelta(days=30.4 * each) for each in month])
    lines = [
        json.dumps(
            [
                {
                    "id": f"l{2 * number + line}",
                    "price": 10.0 * line,
                    "product_id": f"p{(number + line) % PRODUCTS + 1}",
                    "product_variant_id": f"v{(number + line) % PRODUCTS + 1}",
                    "quantity": 1,
                }
                for line in (1, 2)
            ],
            separators=(",", ":"),
        )
        for number in numbers
    ]
    rows = pd.DataFrame(
        {
            "order_id": numbers,
            "name": [f"S{number:07}" for number in numbers],
            "month": processed.dt.strftime("%Y-%m"),
            "state": "sale",
            "partner_id": numbers // ORDERS_OF_A_CUSTOMER,
            "email": [f"person{(number - 1) // ORDERS_OF_A_CUSTOMER}@example.com" for number in numbers],
            "audience": STORE.audience,
            "list_id": STORE.list_id,
            "store_id": STORE.store_id,
            "foreign_order_id": [f"o{number}" for number in numbers],
            "processed_at": processed,
            "cancelled_at": pd.Series(pd.NaT, index=processed.index, dtype="datetime64[us, UTC]"),
            "currency": STORE.currency,
            "order_total": 36.0,
            "tax_total": 6.0,
            "shipping_total": 0.0,
            "goods_total": 30.0,
            "lines_json": lines,
            "kept_untaxed_company": 30.0,
            "ordered_untaxed_company": 30.0,
            "below_zero": False,
            "excluded_because": "",
            "excluded_detail": None,
            "uncounted_because": "",
        }
    )
    return schemas.STORE_ORDERS.to_pandas(schemas.STORE_ORDERS.to_arrow(rows))


def products_table() -> pd.DataFrame:
    """Rows of ``odoo_products``."""
    numbers = range(1, PRODUCTS + 1)
    rows = pd.DataFrame(
        {
            "product_id": numbers,
            "product_template_id": numbers,
            "active": True,
            "name": [f"Product {number}" for number in numbers],
            "variant_name": None,
            "default_code": [f"SKU{number}" for number in numbers],
            "list_price": 10.0,
            "write_date": datetime(2026, 1, 1, tzinfo=UTC),
        }
    )
    return schemas.ODOO_PRODUCTS.to_pandas(schemas.ODOO_PRODUCTS.to_arrow(rows))


def push(orders: pd.DataFrame, ledger: Ledger, client: MailchimpClient) -> int:
    """Push as the assets do; return how many orders were written."""
    with ledger.leases.hold(COMPANY, f"run {time.monotonic_ns()}") as lease:
        now = datetime.now(UTC)
        writer = Writer(client, ledger, lease, lease.owner)
        settle_store_writes(writer)
        writes = StoreWrites(writer)
        open_stores(writer, [STORE])
        push_products(orders, products_table(), writes, now)
        # None of the orders is excluded: nobody asks who is a member.
        members = pd.DataFrame(columns=["list_id", "email"])
        wanted = Orders(rows=orders, members=members, complete=True, rates={}, states_of=lambda ids: {})
        pushed = OrderPusher(wanted, [STORE], writes, now).push()
        if not set(pushed.rows["outcome"]) <= {"applied"} or pushed.failed_months:
            raise RuntimeError(f"not all was applied: {pushed.rows['outcome'].value_counts().to_dict()}")
        end_first_loads(writer, [STORE], pushed.unfinished_stores([STORE]))
        return len(pushed.rows)


@contextmanager
def served(people: int) -> Iterator[tuple[str, str, Connection]]:
    """Serve so many people in a process that is gone afterwards: address, key, and whom to ask."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(people, there), daemon=True)
    process.start()
    there.close()
    try:
        yield (*here.recv(), here)
    finally:
        here.close()
        process.join(timeout=20)
        process.terminate()


def measure(count: int) -> Iterator[str]:
    """Load so many orders, push again, and push one changed order; say what each took."""
    with tempfile.TemporaryDirectory() as folder, served(count // ORDERS_OF_A_CUSTOMER + 1) as server:
        url, key, pipe = server
        orders = orders_table(count)
        changed = orders.copy()
        changed.loc[0, ["order_total", "tax_total", "goods_total"]] = [24.0, 4.0, 20.0]
        changed.loc[0, "lines_json"] = str(changed.loc[0, "lines_json"]).replace(
            '"price":10.0', '"price":0.0'
        )
        for what, rows in {
            f"load of {count:,} orders": orders,
            "the same again": orders,
            "one changed order": changed,
        }.items():
            began = time.monotonic()
            with (
                Ledger.open(f"sqlite:///{Path(folder)}/ledger.db") as ledger,
                MailchimpClient("main", key, base_url=url) as client,
            ):
                written = push(rows, ledger, client)
            seconds = time.monotonic() - began
            pipe.send("asked")
            asked, held, total = pipe.recv()
            if (held, total) != (count, round(float(rows["order_total"].sum()), 2)):
                raise RuntimeError(f"the store holds {held:,} orders of {total:,}")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            requests = ", ".join(f"{number:,} {kind}" for kind, number in sorted(asked.items()))
            yield f"{what}: {seconds:.1f} s; {written:,} written; peak of {peak:,.0f} MB; {requests}"
        least = math.ceil(count / 500)
        yield f"at least {least:,} batches are needed for the orders, of {MONTHS} months"


if __name__ == "__main__":
    for line in measure(int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_ORDERS):
        print(line, flush=True)
