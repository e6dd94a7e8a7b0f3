"""A desk for pushes to a store: one served Mailchimp, one ledger, and orders written down by hand.

A push is that of the pipeline: what an interrupted one left open is settled, the store is opened, products
are pushed, then orders, and the first load ends.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from mc_pipeline.domain.store import ids as store_ids
from mc_pipeline.domain.store.held_orders import orders_to_supply
from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.schema import opened_audience
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.connections import InProcessSlots
from mc_pipeline.mailchimp.retry import RetryPolicy
from mc_pipeline.mailchimp.store_reading import read_store_orders
from mc_pipeline.push.orders import OrderPusher, Orders
from mc_pipeline.push.orders.rows import OrderPush
from mc_pipeline.push.products import push_products
from mc_pipeline.push.store_settling import settle_store_writes
from mc_pipeline.push.store_writes import StoreWrites
from mc_pipeline.push.stores import Store, end_first_loads, open_stores
from mc_pipeline.push.writer import Writer
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.tables import schemas
from mc_pipeline_tests.new_ledger import put_new_ledger
from mc_pipeline_tests.properties.runs import Death, MortalSlots

COMPANY = "acme"
RETAIL = Store("acme-retail", "Retail", "EUR", "retail", "retail1")
WHOLESALE = Store("acme-wholesale", "Wholesale", "EUR", "wholesale", "wholesale1")
START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Order:
    """An order as the rules want it in a store: price by line number, 10 % tax, all of one product each."""

    number: int
    prices: Mapping[int, float] = field(default_factory=lambda: {1: 10.0, 2: 5.0})
    email: str = "ada@example.com"
    store: Store = RETAIL
    month: str = "2026-01"
    cancelled: bool = False
    excluded: str = ""
    uncounted: str = ""
    currency: str = "EUR"
    processed_at: datetime = START - timedelta(days=40)

    def row(self) -> dict[str, Any]:
        prices = dict.fromkeys(self.prices, 0.0) if self.cancelled else dict(self.prices)
        goods = sum(prices.values())
        lines = [
            {
                "id": store_ids.line_id(self.number * 100 + line),
                "price": price,
                "product_id": store_ids.product_id(line),
                "product_variant_id": store_ids.variant_id(line),
                "quantity": 1,
            }
            for line, price in prices.items()
        ]
        return {
            "order_id": self.number,
            "name": f"S{self.number:05}",
            "month": self.month,
            "state": "cancel" if self.cancelled else "sale",
            "partner_id": 7,
            "email": self.email,
            "audience": self.store.audience,
            "list_id": self.store.list_id,
            "store_id": self.store.store_id,
            "foreign_order_id": store_ids.order_id(self.number),
            "processed_at": self.processed_at,
            "cancelled_at": START - timedelta(days=1) if self.cancelled else None,
            "currency": self.currency,
            "order_total": goods + goods / 10,
            "tax_total": goods / 10,
            "shipping_total": 0.0,
            "goods_total": goods,
            "lines_json": json.dumps(lines),
            "kept_untaxed_company": goods,
            "ordered_untaxed_company": goods,
            "below_zero": False,
            "excluded_because": self.excluded,
            "excluded_detail": self.excluded or None,
            "uncounted_because": self.uncounted,
        }


def products(count: int = 9, *, name: str = "Product") -> pd.DataFrame:
    return schemas.ODOO_PRODUCTS.to_pandas(
        schemas.ODOO_PRODUCTS.to_arrow(
            pd.DataFrame(
                {
                    "product_id": range(1, count + 1),
                    "product_template_id": range(1, count + 1),
                    "active": True,
                    "name": [f"{name} {number}" for number in range(1, count + 1)],
                    "variant_name": None,
                    "default_code": None,
                    "list_price": 10.0,
                    "write_date": START,
                }
            )
        )
    )


def table(orders: Sequence[Order]) -> pd.DataFrame:
    columns = schemas.STORE_ORDERS
    if not orders:
        return columns.empty()
    rows = pd.DataFrame([order.row() for order in orders])
    for name in ("processed_at", "cancelled_at"):
        rows[name] = pd.to_datetime(rows[name], utc=True).astype("datetime64[us, UTC]")
    return columns.to_pandas(columns.to_arrow(rows))


@dataclass
class StoreDesk:
    """Mailchimp with two audiences, and the ledger's file; ``states`` are Odoo's answers by order id."""

    mailchimp: SandboxMailchimp
    folder: Path
    later: timedelta = timedelta()
    order_notifications: bool = False
    complete: bool = True
    rates: dict[int, float] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    products: pd.DataFrame = field(default_factory=products)
    timeout_seconds: float = 20
    lowered_limit: Callable[[int], int] = lambda held: held
    failed: list[str] = field(default_factory=list)
    """Stores that the last push could not open."""

    @property
    def stores(self) -> list[Store]:
        return [replace(store, order_notifications=self.order_notifications) for store in (RETAIL, WHOLESALE)]

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later

    @contextmanager
    def ledger(self, death: Death | None = None) -> Iterator[Ledger]:
        def clock() -> datetime:
            if death is not None:
                death.passes("ledger")
            return self.now()

        put_new_ledger(self.folder / "ledger.db")
        ledger = Ledger.open(f"sqlite:///{self.folder}/ledger.db", clock=clock)
        try:
            yield ledger
        finally:
            ledger.close()

    @contextmanager
    def client(self, death: Death | None = None) -> Iterator[MailchimpClient]:
        with MailchimpClient(
            "main",
            DEFAULT_KEY,
            base_url=self.mailchimp.api_url,
            timeout=(5, self.timeout_seconds),
            connections=MortalSlots(InProcessSlots(8), death or Death()),
            retry=RetryPolicy(attempts=3, sleep=lambda seconds: time.sleep(min(seconds, 0.002))),
        ) as client:
            yield client

    def open_audiences(self) -> None:
        """Both audiences had their first load."""
        with self.ledger() as ledger, ledger._database.write() as connection:
            for store in self.stores:
                connection.execute(
                    opened_audience.insert().values(
                        company=COMPANY,
                        list_id=store.list_id,
                        plan_id="first",
                        opened_at=self.now(),
                        loaded_at=self.now(),
                    )
                )

    def members(self) -> pd.DataFrame:
        """Who is in the audiences, in whatever status but archived."""
        found = [
            (store.list_id, email)
            for store in self.stores
            for email, status in self.mailchimp.statuses(store.list_id).items()
            if status != "archived"
        ]
        return pd.DataFrame(found, columns=["list_id", "email"])

    def push(self, orders: Sequence[Order], *, death: Death | None = None, workers: int = 1) -> OrderPush:
        """Do one whole push; what ends it is raised. ``death`` counts from its first request."""
        rows = table(orders)
        place, passive = (death.place if death else "never"), death or Death()
        passive.place = "never"
        with (
            self.ledger(passive) as ledger,
            self.client(passive) as client,
            ledger.leases.hold(COMPANY, f"run {time.monotonic_ns()}") as lease,
        ):
            passive.place = place
            writer = Writer(client, ledger, lease, lease.owner, workers)
            settle_store_writes(writer)
            writes = StoreWrites(writer)
            due = rows[rows["excluded_because"] == ""]
            used = set(due["store_id"]) | {store.store_id for store in ledger.stores.of_company(COMPANY)}
            stores = [store for store in self.stores if store.store_id in used]
            failed = open_stores(writer, stores)
            stores = [store for store in stores if store.store_id not in failed]
            self.failed = [*failed]
            present = ledger.stores.orders_present(COMPANY)
            supplied = orders_to_supply(rows, present, self.members(), [store.store_id for store in stores])
            push_products(supplied, self.products, writes, self.now())
            wanted = Orders(
                rows=rows,
                members=self.members(),
                complete=self.complete,
                rates=self.rates,
                states_of=lambda ids: {each: self.states[each] for each in ids if each in self.states},
                incomplete_because="a page is missing",
                stores_left_alone=frozenset(failed),
                lowered_limit=self.lowered_limit,
                approved_row_keys=lambda: ledger.plans.approved_row_keys(COMPANY),
            )
            push = OrderPusher(wanted, stores, writes, self.now()).push()
            end_first_loads(writer, stores, push.unfinished_stores(stores))
            return push

    # --- going back ---------------------------------------------------------------------------------

    def save(self) -> tuple[bytes, Path]:
        """Remember how everything is."""
        copy = self.folder / "saved.db"
        shutil.copy(self.folder / "ledger.db", copy)
        return self.mailchimp.snapshot(), copy

    def restore(self, saved: tuple[bytes, Path]) -> None:
        """Go back to how everything was; the journal starts empty."""
        snapshot, copy = saved
        for suffix in ("-wal", "-shm"):
            Path(f"{self.folder}/ledger.db{suffix}").unlink(missing_ok=True)
        shutil.copy(copy, self.folder / "ledger.db")
        self.mailchimp.restore(snapshot)
        self.mailchimp.journal.clear()
        self.mailchimp.faults.clear()
        self.mailchimp.resume_batches()

    # --- looking ------------------------------------------------------------------------------------

    def held(self, store: Store = RETAIL) -> dict[str, tuple[float, float, dict[str, float], bool]]:
        """What the store holds: by order id its total, tax, price by line, and whether it is cancelled."""
        found = self.mailchimp.state.stores.get(store.store_id)
        return {
            identity: (
                order["order_total"],
                order["tax_total"],
                {name: line["price"] for name, line in sorted(order["lines"].items())},
                bool(order.get("cancelled_at_foreign")),
            )
            for identity, order in sorted(found.orders.items() if found else ())
        }

    def attributed(self, store: Store = RETAIL) -> dict[str, str]:
        """Orders of the store that Mailchimp attributes to a campaign."""
        orders = self.mailchimp.state.stores[store.store_id].orders
        return {
            identity: order["campaign_id"] for identity, order in orders.items() if order.get("campaign_id")
        }

    def lost_attributions(self) -> dict[int, Any]:
        """What orders were attributed to before they left their store, by their id in Odoo."""
        with self.ledger() as ledger:
            return {key: json.loads(lost) for key, lost in ledger.stores.lost_attributions(COMPANY).items()}

    def should_hold(self, orders: Sequence[Order], store: Store = RETAIL) -> dict[str, Any]:
        """The same, by the orders written down."""
        found = {}
        for order in sorted(orders, key=lambda each: store_ids.order_id(each.number)):
            row = order.row()
            if order.store == store and not order.excluded:
                lines = {line["id"]: line["price"] for line in json.loads(row["lines_json"])}
                found[row["foreign_order_id"]] = (
                    row["order_total"], row["tax_total"], dict(sorted(lines.items())), order.cancelled,
                )  # fmt: skip
        return found

    def read(self, store: Store = RETAIL) -> pd.DataFrame:
        with self.client() as client:
            return read_store_orders(client, store.store_id)

    def still_open(self) -> int:
        with self.ledger() as ledger:
            return len(ledger.store_intents.open(COMPANY))

    def writes(self) -> list[JournalEntry]:
        """Requests that change something, since the journal was cleared; operations of batches left out."""
        return [entry for entry in self.mailchimp.journal.writes if entry.batch_id is None]

    def written(self) -> list[str]:
        """Method and end of the path of each of them."""
        return [f"{entry.method} {entry.path.partition('/stores/')[2]}" for entry in self.writes()]
