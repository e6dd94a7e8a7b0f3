"""One fault in one place of a town, and what of a run may be otherwise because of it: nothing else may be.

A run of the town is lived through twice, once undisturbed. What both systems hold afterwards and what was
written on the way is broken up into atoms, one for each contact, order, field or tag, so that it can be said
of each whether it hangs on the broken place.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.ledger import OpenTrouble
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline_tests.properties.fault_matrix import _Kept, _state, _timeless, _with_stores
from mc_pipeline_tests.properties.oracle import RETAIL, WHOLESALE
from mc_pipeline_tests.properties.runs import Run
from mc_pipeline_tests.properties.small_world import COMPANY, ORDERED, SmallWorld, small_world

FIRST_LOAD, CHANGED_DAY = SITUATIONS = ("first load", "changed day")


@dataclass
class Town:
    """A town before a run, and what the run leaves behind when nothing is broken.

    ``writes`` and ``state``: atoms of one undisturbed run, and how often. ``end``: when all is done.
    """

    world: SmallWorld
    situation: str
    kept: _Kept
    writes: Counter[str]
    state: Mapping[str, Any]
    end: Mapping[str, Any]

    def begin_again(self) -> None:
        self.kept.restore(self.world)

    def run(self) -> Run:
        """Sync once; tables go through their files, as Dagster has them."""
        return self.world.run(meanwhile=lambda moment, step: None)

    def troubles(self) -> list[OpenTrouble]:
        systems = self.world.systems()
        try:
            return systems.ledger.troubles.open(COMPANY)
        finally:
            systems.close()


@contextmanager
def town_of(situation: str) -> Iterator[Town]:
    """Found a town in one of the two situations, and live through its run undisturbed."""
    with small_world() as world:
        world.settings = _with_stores(world)
        _first_customers(world)
        if situation == CHANGED_DAY:
            world.run_until_done()
            world.run(meanwhile=lambda moment, step: None)
            world.time_passes(timedelta(hours=1))
            _a_day_passes(world)
        else:
            world.run(meanwhile=lambda moment, step: None)
            assert world.approve_what_waits(world.last_runs[COMPANY])
        kept = _Kept(world)
        town = Town(world, situation, kept, Counter(), {}, {})
        before = world.mailchimp.journal.last_number
        run = town.run()
        assert run.succeeded, run.failure
        town.writes, town.state = writes_since(world, before), state_of(world)
        world.run_until_done()
        town.end = state_of(world)
        yield town


def _buy(world: SmallWorld, partner: int, amount: float, *, month: int = 5, product: str = "Desk") -> int:
    (product_id,) = world.odoo.search("product.product", [("name", "=", product)])
    line = {"product_id": product_id, "name": product, "product_uom_qty": 1, "price_unit": amount}
    return world.odoo.add_order(partner, date_order=ORDERED.replace(month=month), lines=[line])


def _customer(world: SmallWorld, name: str, *, is_company: bool, amount: float = 100.0) -> int:
    partner = world.odoo.add_partner(name=name, email=f"{name.lower()}@example.com", is_company=is_company)
    _buy(world, partner, amount)
    return partner


def _first_customers(world: SmallWorld) -> None:
    """Firms and persons with orders of two months and of two products; one of each consents."""
    for product in ("Desk", "Lamp", "Chair"):
        world.odoo.create("product.product", {"name": product, "default_code": product.upper()})
    partners = {
        name: _customer(world, name, is_company=True, amount=1500.0)
        for name in ("Firm", "Closing", "Turning", "Refusing", "Lighting")
    }
    partners |= {
        name: _customer(world, name, is_company=False, amount=1500.0)
        for name in ("Ann", "Ben", "Cleo", "Bob", "Lucy")
    }
    for name in ("Firm", "Ann"):
        _buy(world, partners[name], 30.0, month=4)
    for name in ("Lighting", "Lucy"):
        _buy(world, partners[name], 40.0, product="Lamp")
    for name in ("firm", "ann"):
        world.odoo.subscribe(world.newsletter, f"{name}@example.com")


def _a_day_passes(world: SmallWorld) -> None:
    """Everything changes in both audiences and both stores."""
    odoo = world.odoo

    def partner(name: str) -> int:
        (found,) = odoo.search("res.partner", [("email_normalized", "=", f"{name.lower()}@example.com")])
        return found

    odoo.edit_partner(partner("Firm"), name="Firm Limited")
    odoo.edit_partner(partner("Ann"), name="Ann King")
    for name in ("Closing", "Ben"):
        odoo.archive_partner(partner(name))
    odoo.edit_partner(partner("Turning"), is_company=False)
    odoo.edit_partner(partner("Cleo"), is_company=True)
    world.mailchimp.unsubscribe(WHOLESALE, "refusing@example.com")
    world.mailchimp.unsubscribe(RETAIL, "bob@example.com")
    for name, is_company in (("Newfirm", True), ("Dan", False), ("Eve", False)):
        _customer(world, name, is_company=is_company)
    odoo.subscribe(world.newsletter, "eve@example.com")
    for name in ("Firm", "Ann"):
        odoo.cancel_order(_orders_of(world, partner(name))[0])
        _buy(world, partner(name), 50.0, month=6)
    for name in ("Lighting", "Lucy"):
        _buy(world, partner(name), 60.0, month=6, product="Chair")


def _orders_of(world: SmallWorld, partner: int) -> list[int]:
    return sorted(world.odoo.search("sale.order", [("partner_id", "=", partner)]))


# --- atoms ------------------------------------------------------------------------------------------


def state_of(world: SmallWorld) -> dict[str, Any]:
    """What both systems hold, by contact, order, store, mail, and row of Odoo's blacklist."""
    found = _state(world)
    for row in map(json.loads, found.pop("mail.blacklist")):
        found[f"mail.blacklist {row['email']}"] = row
    for kind, email, list_id, *_ in found.pop("mails"):
        mail = f"{list_id} {email} mail {kind}"
        found[mail] = found.get(mail, 0) + 1
    return found


def writes_since(world: SmallWorld, number: int) -> Counter[str]:
    """What was carried out by Mailchimp since then, one text for each contact or thing."""
    return Counter(
        atom
        for entry in world.mailchimp.journal.since(number)
        if entry.is_write and entry.source == "api" and entry.applied and entry.path != "/3.0/batches"
        for atom in _atoms(world, entry)
    )


def _atoms(world: SmallWorld, entry: JournalEntry) -> Iterator[str]:
    path = entry.path.removeprefix("/3.0/")
    body = entry.body if isinstance(entry.body, dict) else {}
    match path.split("/"):
        case ["lists", list_id] if entry.method == "POST":
            for member in body["members"]:
                yield f"{list_id} {member['email_address']} create {_text(member)}"
        case ["lists", list_id, "members", digest, *rest]:
            yield f"{list_id} {_address(world, digest)} {entry.method} {'/'.join(rest)} {_text(body)}"
        case ["lists", list_id, "segments", segment] if (
            "members_to_add" in body or "members_to_remove" in body
        ):
            name = _segment(world, list_id, segment)
            for change in ("members_to_add", "members_to_remove"):
                for email in body.get(change, ()):
                    yield f"{list_id} {email} {change} {name}"
        case ["lists", list_id, "segments" | "merge-fields" as kind, *_]:
            yield f"{list_id} {kind} {entry.method} {body.get('tag') or body.get('name')}"
        case ["ecommerce", "stores", store, "customers", *identity]:
            email = body.get("email_address") or _buyer(world, identity[0])
            yield f"store {store} customer {email} {entry.method}"
        case ["ecommerce", "stores", store, kind, *rest]:
            what = "/".join(rest) or body["id"]
            yield f"store {store} {kind} {what} {entry.method} {_text({**body, 'customer': None})}"
        case _:
            yield f"{entry.method} {_of_store(path, body)} {_text(body)}"


def _of_store(path: str, body: Mapping[str, Any]) -> str:
    """A store by the name that its other atoms have."""
    return (
        path.replace("ecommerce/stores/", "store ") if path != "ecommerce/stores" else f"store {body['id']}"
    )


def _text(body: Any) -> str:
    return json.dumps(_timeless(_without_moments(body)), sort_keys=True)


def _without_moments(body: Any) -> Any:
    return {key: value for key, value in body.items() if not key.startswith("timestamp")}


def _address(world: SmallWorld, digest: str) -> str:
    addresses = {
        str(row.get("email_normalized")) for row in world.odoo.model("res.partner").table.rows.values()
    }
    return next((email for email in addresses if subscriber_hash(email) == digest), digest)


def _segment(world: SmallWorld, list_id: str, number: str) -> str:
    return world.mailchimp.audience(list_id).segments[int(number)].name


def _buyer(world: SmallWorld, identity: str) -> str:
    """Who a customer of a store is, whose id the pipeline made up."""
    made = (
        entry.body["email_address"]
        for entry in world.mailchimp.journal.writes
        if entry.path.endswith("/customers") and entry.body["id"] == identity
    )
    return next(made, identity)


# --- what differs -----------------------------------------------------------------------------------


def elsewhere(differing: Mapping[str, Any], concerned: re.Pattern[str]) -> dict[str, Any]:
    """What differs though it does not hang on the broken place."""
    return {atom: how for atom, how in differing.items() if not concerned.search(atom)}


def differing_writes(wanted: Counter[str], found: Counter[str]) -> dict[str, tuple[int, int]]:
    """Writes that were made more or less often than they should be."""
    return {
        atom: (wanted[atom], found[atom]) for atom in sorted({*wanted, *found}) if wanted[atom] != found[atom]
    }
