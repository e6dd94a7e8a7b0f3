"""The stores of all companies, and what each holds by our own writes."""

import json
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, insert, select, update

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.leases import require
from mc_pipeline.ledger.schema import store, store_customer, store_order, store_product
from mc_pipeline.ledger.serialization import address_key
from mc_pipeline.ledger.statements import chunks, insert_new, insert_or_replace
from mc_pipeline.ledger.store_records import NOT_REFUSED, TABLES, Key, StoreRecord, of_row

if TYPE_CHECKING:
    import pandas as pd


_CANCELLED = "cancelled_at_foreign"


@dataclass(frozen=True, kw_only=True)
class StoreState:
    """One store as we made it; ``loaded_at`` None: its first load is not complete, it is syncing."""

    store_id: str
    company: str
    list_id: str
    currency: str
    created_at: datetime
    loaded_at: datetime | None


class Stores:
    """What the stores hold."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, store_id: str) -> StoreState | None:
        """A store; None when we never made or found it."""
        with self._database.read() as connection:
            row = connection.execute(select(store).where(store.c.store_id == store_id)).mappings().first()
        return None if row is None else StoreState(**row)

    def of_company(self, company: str) -> list[StoreState]:
        """A company's stores, those too that the settings name no longer."""
        query = select(store).where(store.c.company == company).order_by(store.c.store_id)
        with self._database.read() as connection:
            return [StoreState(**row) for row in connection.execute(query).mappings()]

    def add(
        self, company: str, fence: int, store_id: str, *, list_id: str, currency: str, loaded: bool = False
    ) -> None:
        """Remember a store that Mailchimp has; ``loaded``: its first load was over before we found it."""
        now = self._database.now()
        with self._database.write() as connection:
            require(connection, company, fence, now)
            row = {"store_id": store_id, "company": company, "list_id": list_id, "currency": currency}
            insert_new(connection, store, [{**row, "created_at": now, "loaded_at": now if loaded else None}])

    def mark_loaded(self, company: str, fence: int, store_id: str) -> None:
        """Remember that the first load of a store is complete."""
        now = self._database.now()
        with self._database.write() as connection:
            require(connection, company, fence, now)
            connection.execute(update(store).where(store.c.store_id == store_id).values(loaded_at=now))

    def mark_gone(self, company: str, fence: int, store_id: str) -> None:
        """Remember that Mailchimp has no such store any more, nor anything that was in it.

        What it refused is forgotten: a store that is made again is asked again.
        """
        now = self._database.now()
        with self._database.write() as connection:
            require(connection, company, fence, now)
            connection.execute(update(store).where(store.c.store_id == store_id).values(loaded_at=None))
            for table in (store_product, store_customer, store_order):
                gone = {"present": False, **NOT_REFUSED}
                connection.execute(update(table).where(table.c.store_id == store_id).values(gone))

    def forget_refusals(self, company: str, fence: int, keys: Collection[Key]) -> None:
        """Forget what Mailchimp refused of these things (kind, store, id): they are sent again unchanged."""
        now = self._database.now()
        with self._database.write() as connection:
            require(connection, company, fence, now)
            for kind, store_id, object_id in keys:
                table = TABLES[kind]
                this = (table.c.store_id == store_id) & (table.c.object_id == object_id)
                connection.execute(update(table).where(this).values(NOT_REFUSED))

    def products(self, store_id: str) -> dict[str, StoreRecord]:
        """Records of all products of a store, by id."""
        query = select(store_product).where(store_product.c.store_id == store_id)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return {row["object_id"]: of_row("product", row) for row in rows}

    def orders(self, company: str, order_ids: Iterable[int]) -> list[StoreRecord]:
        """Records of these orders (ids in Odoo) in all stores of a company, those taken out too."""
        found: list[StoreRecord] = []
        with self._database.read() as connection:
            for chunk in chunks(order_ids):
                query = select(store_order).where(
                    store_order.c.company == company, store_order.c.order_id.in_(chunk)
                )
                found += [of_row("order", row) for row in connection.execute(query).mappings()]
        return found

    def orders_of_customer(self, store_id: str, customer_id: str) -> list[StoreRecord]:
        """Records of the orders that a store holds for a customer."""
        query = (
            select(store_order)
            .where(
                store_order.c.store_id == store_id,
                store_order.c.customer_id == customer_id,
                store_order.c.present,
            )
            .order_by(store_order.c.order_id)
        )
        with self._database.read() as connection:
            return [of_row("order", row) for row in connection.execute(query).mappings()]

    def orders_present(self, company: str) -> "pd.DataFrame":
        """All orders that the company's stores hold, by order.

        Columns: store_id, order_id (in Odoo), month, customer_id, email (of that customer), list_id (of the
        store's audience).
        """
        import pandas as pd

        query = (
            select(
                store_order.c.store_id,
                store_order.c.order_id,
                store_order.c.month,
                store_order.c.customer_id,
                store_customer.c.email,
                store.c.list_id,
            )
            .outerjoin(
                store_customer,
                (store_customer.c.store_id == store_order.c.store_id)
                & (store_customer.c.object_id == store_order.c.customer_id),
            )
            .outerjoin(store, store.c.store_id == store_order.c.store_id)
            .where(store_order.c.company == company, store_order.c.present)
            .order_by(store_order.c.order_id)
        )
        with self._database.read() as connection:
            result = connection.execute(query)
            rows = pd.DataFrame(result.all(), columns=list(result.keys()))
        # Few stores, lists and months, each many times: one object for all their rows.
        repeated = dict.fromkeys(("store_id", "month", "list_id"), "category")
        return rows.astype({**repeated, "order_id": "int64"})

    def held_orders(self, company: str) -> frozenset[int]:
        """Ids in Odoo of the orders that a store of the company holds."""
        query = select(store_order.c.order_id).where(store_order.c.company == company, store_order.c.present)
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def fixed_rates(self, company: str) -> dict[int, float]:
        """Order id in Odoo to rate (order currency per unit of the store's), fixed by the first push."""
        query = select(store_order.c.order_id, store_order.c.rate).where(
            store_order.c.company == company, store_order.c.rate.is_not(None)
        )
        with self._database.read() as connection:
            return {row.order_id: row.rate for row in connection.execute(query)}

    def lost_attributions(self, company: str) -> dict[int, str]:
        """Order id in Odoo to what Mailchimp attributed it to before it was taken out of a store (JSON)."""
        query = select(store_order.c.order_id, store_order.c.attribution_json).where(
            store_order.c.company == company,
            store_order.c.order_id.is_not(None),
            store_order.c.attribution_json.is_not(None),
            store_order.c.attribution_json != "{}",
        )
        with self._database.read() as connection:
            return {row.order_id: row.attribution_json for row in connection.execute(query)}

    def cancelled_since(self, company: str) -> dict[int, datetime]:
        """Order id in Odoo to the moment since when it is cancelled, as a store holds it by our own write."""
        query = select(store_order.c.order_id, store_order.c.sent_json).where(
            store_order.c.company == company,
            store_order.c.order_id.is_not(None),
            store_order.c.sent_json.contains(f'"{_CANCELLED}"', autoescape=True),
        )
        with self._database.read() as connection:
            dated = [
                (row.order_id, json.loads(row.sent_json).get(_CANCELLED)) for row in connection.execute(query)
            ]
        return {order_id: datetime.fromisoformat(since) for order_id, since in dated if since}

    def customers(self, store_id: str, emails: Iterable[str]) -> dict[str, StoreRecord]:
        """Records of a store's customers by address, the newest of each."""
        found: dict[str, StoreRecord] = {}
        with self._database.read() as connection:
            for chunk in chunks(sorted({address_key(email) for email in emails})):
                query = (
                    select(store_customer)
                    .where(store_customer.c.store_id == store_id, store_customer.c.email.in_(chunk))
                    .order_by(store_customer.c.present, store_customer.c.generation)
                )
                for row in connection.execute(query).mappings():
                    found[row["email"]] = of_row("customer", row)
        return found

    def customers_present(self, store_id: str, customer_ids: Collection[str]) -> frozenset[str]:
        """Which of these customers a store has, as far as the ledger knows."""
        found: set[str] = set()
        with self._database.read() as connection:
            for chunk in chunks(sorted(customer_ids)):
                query = select(store_customer.c.object_id).where(
                    store_customer.c.store_id == store_id,
                    store_customer.c.object_id.in_(chunk),
                    store_customer.c.present,
                )
                found.update(connection.execute(query).scalars())
        return frozenset(found)

    def adopt_customers(self, company: str, fence: int, store_id: str, found: Mapping[str, str]) -> None:
        """Take over customers that a store has, no matter who made them: id to address.

        An id that the ledger knows under another address is passed over.
        """
        now = self._database.now()
        with self._database.write() as connection:
            require(connection, company, fence, now)
            known: dict[str, Any] = {}
            for chunk in chunks(sorted(found)):
                query = select(store_customer).where(
                    store_customer.c.store_id == store_id, store_customer.c.object_id.in_(chunk)
                )
                known.update((row["object_id"], dict(row)) for row in connection.execute(query).mappings())
            rows = []
            for identity, address in found.items():
                email, ours = address_key(address), _OUR_CUSTOMER.fullmatch(identity)
                before = known.get(identity, {"email": email})
                if before["email"] != email:
                    continue
                row = {
                    "store_id": store_id,
                    "object_id": identity,
                    "company": company,
                    "email": email,
                    "person": ours["person"] if ours else secrets.token_hex(8),
                    "generation": int(ours["generation"]) if ours else 1,
                }
                rows.append({**row, **before, **NOT_REFUSED, "present": True})
            for part in chunks(rows):
                insert_or_replace(connection, store_customer, part)

    def name_customers(
        self, company: str, fence: int, store_id: str, formerly: Mapping[str, str | None]
    ) -> dict[str, StoreRecord]:
        """Give customers their ids, and return their records; who has one already keeps it.

        ``formerly``: address to the id of the customer that the same person was in this store until now, None
        where there is none. A person who has an id in another store of the company has it here as well.
        """
        known = self.customers(store_id, formerly)
        new = {
            address_key(email): before
            for email, before in formerly.items()
            if address_key(email) not in known
        }
        if not new:
            return known
        now = self._database.now()
        with self._database.write() as connection:
            require(connection, company, fence, now)
            elsewhere: dict[str, tuple[str, int]] = {}
            for chunk in chunks(new):
                query = (
                    select(store_customer.c.email, store_customer.c.person, store_customer.c.generation)
                    .where(store_customer.c.company == company, store_customer.c.email.in_(chunk))
                    .order_by(store_customer.c.generation)
                )
                elsewhere.update(
                    (email, (person, number)) for email, person, number in connection.execute(query)
                )
            rows: list[dict[str, Any]] = []
            taken: dict[str, int] = {}
            for email, before in new.items():
                person, generation = elsewhere.get(email) or (_person_of(before), None)
                if person is None:
                    person, generation = secrets.token_hex(8), 1
                elif generation is None:
                    newest = connection.execute(
                        select(func.max(store_customer.c.generation)).where(
                            store_customer.c.company == company, store_customer.c.person == person
                        )
                    ).scalar()
                    generation = max(newest or 0, taken.get(person, 0)) + 1
                taken[person] = max(generation, taken.get(person, 0))
                rows.append(
                    {
                        "store_id": store_id,
                        "object_id": f"c-{person}-{generation}",
                        "company": company,
                        "email": email,
                        "person": person,
                        "generation": generation,
                    }
                )
            for part in chunks(rows):
                connection.execute(insert(store_customer), part)
        return self.customers(store_id, formerly)

    def customers_without_orders(
        self, company: str, store_id: str, but: Collection[str]
    ) -> list[StoreRecord]:
        """Customers whom a store holds for no order that it holds, but those with these addresses.

        Only such as this program made, as others may have orders that the ledger does not know, and those of
        people who were erased.
        """
        has_orders = exists().where(
            store_order.c.store_id == store_customer.c.store_id,
            store_order.c.customer_id == store_customer.c.object_id,
            store_order.c.present,
        )
        query = select(store_customer).where(
            store_customer.c.company == company,
            store_customer.c.store_id == store_id,
            store_customer.c.present,
            ~has_orders,
        )
        with self._database.read() as connection:
            found = [of_row("customer", row) for row in connection.execute(query).mappings()]
        return [
            record
            for record in found
            if record.email is not None
            and record.email not in but
            and ("@" not in record.email or _OUR_CUSTOMER.fullmatch(record.object_id) is not None)
        ]


_OUR_CUSTOMER = re.compile(r"c-(?P<person>[0-9a-f]+)-(?P<generation>[0-9]{1,9})")
"""The id of a customer that this program made: the person, and the number of their address."""


def _person_of(customer_id: str | None) -> str | None:
    """The person's name within a customer id of ours; None of another program's."""
    ours = None if customer_id is None else _OUR_CUSTOMER.fullmatch(customer_id)
    return None if ours is None else ours["person"]
