"""What the stores hold by our own writes: intents before, outcomes after, records, customers, rates."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from mc_pipeline.ledger import IntentError, Lease, LeaseLostError, Ledger, Outcome, StoreIntent, StoreRecord
from mc_pipeline_tests.ledger.conftest import START

STORE = "acme-retail"


@pytest.fixture
def lease(ledger: Ledger) -> Iterator[Lease]:
    with ledger.leases.hold("acme", "run 1") as held:
        yield held


def order(
    number: int, after: str | None = '{"order_total":10}', operation: str = "create", **more
) -> StoreIntent:
    return StoreIntent(
        store_id=STORE,
        kind="order",
        object_id=f"o{number}",
        operation=operation,
        after=after,
        wanted='{"order_total":10}',
        **{"order_id": number, "month": "2026-01", "customer_id": "c-1", **more},
    )


def write(ledger: Ledger, lease: Lease, intent: StoreIntent, outcome: str, detail: str = "") -> None:
    (number,) = ledger.store_intents.record("acme", lease.fence, "run 1", [intent])
    ledger.store_intents.settle("acme", lease.fence, [(number, Outcome(outcome=outcome, detail=detail))])


def record(ledger: Ledger, number: int) -> StoreRecord:
    (found,) = ledger.stores.orders("acme", [number])
    return found


def test_an_accepted_order_is_held_as_it_was_sent(ledger: Ledger, lease: Lease):
    write(ledger, lease, order(1, rate=1.25), "applied")
    held = record(ledger, 1)
    assert (held.present, held.sent_json, held.month, held.customer_id) == (
        True, '{"order_total":10}', "2026-01", "c-1",
    )  # fmt: skip
    assert ledger.stores.held_orders("acme") == {1}
    assert ledger.stores.fixed_rates("acme") == {1: 1.25}


def test_the_rate_of_the_first_push_stays_for_ever(ledger: Ledger, lease: Lease):
    write(ledger, lease, order(1, rate=1.25), "applied")
    write(ledger, lease, order(1, None, "delete"), "applied")
    write(ledger, lease, order(1, rate=1.5), "applied")
    assert ledger.stores.fixed_rates("acme") == {1: 1.25}


def test_an_order_that_is_taken_out_keeps_what_it_was_attributed_to(ledger: Ledger, lease: Lease):
    write(ledger, lease, order(1), "applied")
    write(ledger, lease, order(1, None, "delete", attribution='{"campaign_id":"x"}'), "applied")
    held = record(ledger, 1)
    assert (held.present, held.sent_json, held.attribution_json) == (False, None, '{"campaign_id":"x"}')
    assert ledger.stores.held_orders("acme") == frozenset()
    write(ledger, lease, order(1), "applied")
    write(ledger, lease, order(1, None, "delete", attribution="{}"), "applied")
    assert record(ledger, 1).attribution_json == '{"campaign_id":"x"}', "of before it came back"


def test_what_mailchimp_refused_is_refused_until_it_changes_or_a_day_later(ledger: Ledger, lease: Lease):
    write(ledger, lease, order(1), "rejected", "no such currency")
    held, now = record(ledger, 1), START
    assert held.is_refused('{"order_total":10}', now + timedelta(hours=23))
    assert not held.is_refused('{"order_total":10}', now + timedelta(hours=25))
    assert held.was_refused('{"order_total":10}')
    assert not held.is_refused('{"order_total":11}', now)
    assert (held.present, held.refused_detail) == (False, "no such currency")
    write(ledger, lease, order(1), "applied")
    assert record(ledger, 1).refused_digest is None


def test_what_is_refused_for_now_is_due_again_later_and_in_the_end_daily(ledger: Ledger, lease: Lease):
    write(ledger, lease, order(1), "deferred")
    held, now = record(ledger, 1), START
    assert held.is_refused('{"order_total":10}', now)
    assert not held.is_refused('{"order_total":10}', now + timedelta(minutes=6))
    for _ in range(4):
        write(ledger, lease, order(1), "deferred")
    assert record(ledger, 1).is_refused('{"order_total":10}', now + timedelta(hours=23))
    assert not record(ledger, 1).is_refused('{"order_total":10}', now + timedelta(hours=25))


def test_a_write_without_outcome_is_open_until_it_is_read_back(ledger: Ledger, lease: Lease):
    ledger.store_intents.record("acme", lease.fence, "run 1", [order(1), order(2)])
    assert [each.object_id for each in ledger.store_intents.open("acme")] == ["o1", "o2"]
    assert ledger.stores.orders("acme", [1, 2]) == []
    ledger.store_intents.settle_as_read(
        "acme",
        lease.fence,
        {("order", STORE, "o1"): ('{"order_total":10}', "c-1"), ("order", STORE, "o2"): (None, None)},
    )
    assert ledger.store_intents.open("acme") == []
    assert [(each.order_id, each.present) for each in ledger.stores.orders("acme", [1, 2])] == [
        (1, True), (2, False),
    ]  # fmt: skip
    progress = ledger.store_intents.progress("acme", "run 1")
    assert set(progress["outcome"]) == {"applied", "not_sent"}


def test_an_order_is_what_was_read_back_and_not_what_was_sent(ledger: Ledger, lease: Lease):
    write(ledger, lease, order(1), "applied")
    ledger.store_intents.record("acme", lease.fence, "run 1", [order(1, '{"order_total":8}', "update")])
    ledger.store_intents.settle_as_read(
        "acme", lease.fence, {("order", STORE, "o1"): ('{"order_total":9}', "c-2")}
    )
    held = record(ledger, 1)
    assert (held.sent_json, held.customer_id) == ('{"order_total":9}', "c-2")


def test_an_unknown_outcome_leaves_the_write_open(ledger: Ledger, lease: Lease):
    write(ledger, lease, order(1), "unknown")
    (still_open,) = ledger.store_intents.open("acme")
    ledger.store_intents.settle("acme", lease.fence, [(still_open.id, Outcome(outcome="applied"))])
    with pytest.raises(IntentError, match="is settled as applied"):
        ledger.store_intents.settle("acme", lease.fence, [(still_open.id, Outcome(outcome="rejected"))])


def test_a_process_that_lost_its_lease_records_nothing(ledger: Ledger, lease: Lease):
    with pytest.raises(LeaseLostError):
        ledger.store_intents.record("acme", lease.fence - 1, "run 0", [order(1)])
    assert ledger.store_intents.open("acme") == []


def test_a_customer_id_names_nobody_and_stays(ledger: Ledger, lease: Lease):
    named = ledger.stores.name_customers("acme", lease.fence, STORE, {"ada@example.com": None})
    identity = named["ada@example.com"].object_id
    assert identity.startswith("c-")
    assert identity.endswith("-1")
    assert len(identity) < 50
    assert not any(text in identity for text in ("ada", "server", "/"))
    again = ledger.stores.name_customers(
        "acme", lease.fence, STORE, {"ada@example.com": None, "bob@example.com": None}
    )
    assert again["ada@example.com"].object_id == identity != again["bob@example.com"].object_id
    other_store = ledger.stores.name_customers("acme", lease.fence, "acme-b2b", {"ada@example.com": None})
    assert other_store["ada@example.com"].object_id == identity


def test_a_new_address_of_a_person_is_their_next_generation(ledger: Ledger, lease: Lease):
    first = ledger.stores.name_customers("acme", lease.fence, STORE, {"ada@example.com": None})
    before = first["ada@example.com"].object_id
    named = ledger.stores.name_customers(
        "acme", lease.fence, STORE, {"ada@new.example": before, "ada@other.example": before}
    )
    assert sorted(record.object_id for record in named.values()) == [f"{before[:-1]}2", f"{before[:-1]}3"]


def test_customers_without_orders_are_found_once_they_are_due_no_more(ledger: Ledger, lease: Lease):
    emails = ["ada@example.com", "bob@example.com", "eve@example.com"]
    named = ledger.stores.name_customers("acme", lease.fence, STORE, dict.fromkeys(emails))
    for record_ in named.values():
        write(
            ledger,
            lease,
            StoreIntent(
                store_id=STORE, kind="customer", object_id=record_.object_id, operation="create", after="{}"
            ),
            "applied",
        )
    write(ledger, lease, order(1, customer_id=named["ada@example.com"].object_id), "applied")
    ledger.stores.add("acme", lease.fence, STORE, list_id="l1", currency="EUR")
    left = ledger.stores.customers_without_orders("acme", STORE, {"bob@example.com"})
    assert [each.email for each in left] == ["eve@example.com"]
    assert ledger.stores.orders_present("acme").to_dict("records") == [
        {
            "store_id": STORE,
            "order_id": 1,
            "month": "2026-01",
            "customer_id": named["ada@example.com"].object_id,
            "email": "ada@example.com",
            "list_id": "l1",
        }
    ]


def test_a_store_is_syncing_until_its_first_load_is_over_and_after_it_was_deleted(
    ledger: Ledger, lease: Lease
):
    ledger.stores.add("acme", lease.fence, STORE, list_id="l1", currency="EUR")
    assert [store.loaded_at for store in ledger.stores.of_company("acme")] == [None]
    ledger.stores.mark_loaded("acme", lease.fence, STORE)
    write(ledger, lease, order(1), "applied")
    found = ledger.stores.get(STORE)
    assert found is not None
    assert found.loaded_at is not None
    ledger.stores.mark_gone("acme", lease.fence, STORE)
    assert ledger.stores.held_orders("acme") == frozenset()
    assert [store.loaded_at for store in ledger.stores.of_company("acme")] == [None]
