"""E-commerce writes: what they refuse, and what they do to the audience and to people's inboxes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST
from mc_pipeline_tests.sandbox.mailchimp.errors import refused, status_of

ADA = "ada@example.org"
STORE = "retail-store"


@pytest.fixture
def store(sandbox: SandboxMailchimp, client: Any) -> str:
    """A store with one product."""
    client.ecommerce.add_store({"id": STORE, "list_id": LIST, "name": "Shop", "currency_code": "GBP"})
    client.ecommerce.add_store_product(
        STORE, {"id": "p1", "title": "Lamp", "variants": [{"id": "v1", "title": "Lamp, red", "price": 12.5}]}
    )
    return STORE


def line(line_id: str = "1", **about: Any) -> dict[str, Any]:
    return {
        "id": line_id,
        "product_id": "p1",
        "product_variant_id": "v1",
        "quantity": 2,
        "price": 12.5,
        **about,
    }


def customer(customer_id: str = "c-1", email: str = ADA, opt_in: bool = False) -> dict[str, Any]:
    return {"id": customer_id, "email_address": email, "opt_in_status": opt_in}


def order(order_id: str = "SO1", **about: Any) -> dict[str, Any]:
    return {
        "id": order_id,
        "customer": customer(),
        "currency_code": "GBP",
        "order_total": 30,
        "lines": [line()],
        **about,
    }


@pytest.mark.parametrize(
    ("before", "opt_in", "after"),
    [
        (None, False, "transactional"),
        (None, True, "subscribed"),
        ("transactional", False, "transactional"),
        ("transactional", True, "subscribed"),
        ("subscribed", False, "subscribed"),
        ("unsubscribed", True, "unsubscribed"),
        ("cleaned", True, "cleaned"),
        ("archived", False, "transactional"),
        ("archived", True, "subscribed"),
    ],
)
@pytest.mark.parametrize("write", ["customer", "order"])
def test_an_ecommerce_write_changes_the_audience(
    sandbox: SandboxMailchimp,
    client: Any,
    store: str,
    before: str | None,
    opt_in: bool,
    after: str,
    write: str,
) -> None:
    if before:
        sandbox.add_member(LIST, ADA, before)
    if write == "customer":
        client.ecommerce.set_store_customer(STORE, "c-1", customer(opt_in=opt_in))
    else:
        client.ecommerce.add_store_order(STORE, order(customer=customer(opt_in=opt_in)))
    assert sandbox.status(LIST, ADA) == after


def test_an_order_for_a_known_customer_brings_an_archived_contact_back(
    sandbox: SandboxMailchimp, client: Any, store: str
) -> None:
    client.ecommerce.set_store_customer(STORE, "c-1", customer())
    sandbox.archive(LIST, ADA)
    client.ecommerce.add_store_order(STORE, order(customer={"id": "c-1"}))
    assert sandbox.status(LIST, ADA) == "transactional"


def test_an_order_for_an_erased_contact_is_refused(
    sandbox: SandboxMailchimp, client: Any, store: str
) -> None:
    sandbox.add_member(LIST, ADA)
    sandbox.delete_permanently(LIST, ADA)
    with refused(400, "Forgotten Email Not Subscribed"):
        client.ecommerce.add_store_order(STORE, order())
    assert sandbox.store(STORE).orders == {}


def test_a_customers_address_never_changes(sandbox: SandboxMailchimp, client: Any, store: str) -> None:
    client.ecommerce.set_store_customer(STORE, "c-1", customer())
    with refused(400, None, "not be changed"):
        client.ecommerce.set_store_customer(STORE, "c-1", customer(email="new@example.org"))
    client.ecommerce.update_store_customer(STORE, "c-1", {"first_name": "Ada"})
    shown = client.ecommerce.get_store_customer(STORE, "c-1")
    assert (shown["email_address"], shown["first_name"]) == (ADA, "Ada")


def test_ids_over_fifty_characters_are_simply_not_found(
    sandbox: SandboxMailchimp, client: Any, store: str
) -> None:
    long = "c" * 51
    with refused(404, "Resource Not Found"):
        client.ecommerce.set_store_customer(STORE, long, customer(long))
    client.ecommerce.set_store_customer(STORE, long[:50], customer(long[:50]))


def test_an_id_with_a_slash_is_another_path(sandbox: SandboxMailchimp, client: Any, store: str) -> None:
    client.ecommerce.add_store_order(STORE, order("S/1"))
    with refused(404, "Resource Not Found"):
        client.ecommerce.get_order(STORE, "S/1")


def test_an_order_exists_once_and_cannot_be_put(sandbox: SandboxMailchimp, client: Any, store: str) -> None:
    client.ecommerce.add_store_order(STORE, order())
    with refused(400, "Bad Request", "already exists"):
        client.ecommerce.add_store_order(STORE, order(order_total=1))
    put = requests.put(
        f"{sandbox.api_url}/ecommerce/stores/{STORE}/orders/SO1",
        json=order(),
        auth=("u", DEFAULT_KEY),
        timeout=10,
    )
    assert (put.status_code, put.headers["allow"]) == (405, "DELETE, GET, PATCH")
    assert client.ecommerce.get_order(STORE, "SO1")["order_total"] == 30


@pytest.mark.parametrize(
    ("wrong", "status", "detail"),
    [
        ({"lines": [line(product_id="none")]}, 400, "A product with the provided ID does not exist"),
        ({"lines": [line(product_variant_id="none")]}, 400, "A product variant with the provided ID"),
        ({"lines": []}, 400, "could not be validated"),
        ({"lines": [line(quantity=1.5)]}, 400, "could not be validated"),
        ({"order_total": "30"}, 400, "could not be validated"),
        ({"currency_code": "pounds"}, 400, "The currency code is not valid"),
        ({"processed_at_foreign": "yesterday"}, 400, "could not be validated"),
        ({"customer": {"id": "c-9"}}, 400, "A new customer needs an e-mail address"),
        ({"customer": {"id": "c-9", "email_address": "nobody@"}}, 400, "valid email address"),
    ],
)
def test_an_order_at_fault_is_refused_whole(
    sandbox: SandboxMailchimp, client: Any, store: str, wrong: dict[str, Any], status: int, detail: str
) -> None:
    with refused(status, None, detail):
        client.ecommerce.add_store_order(STORE, order(**wrong))
    kept = sandbox.store(STORE)
    assert (kept.orders, kept.customers, sandbox.statuses(LIST)) == ({}, {}, {})


def test_lines_are_added_changed_and_deleted_one_by_one(
    sandbox: SandboxMailchimp, client: Any, store: str
) -> None:
    client.ecommerce.add_store_order(STORE, order(lines=[line("1"), line("2")]))
    client.ecommerce.add_order_line_item(STORE, "SO1", line("3", quantity=1))
    client.ecommerce.update_order_line_item(STORE, "SO1", "1", {"price": 0, "quantity": 1})
    client.ecommerce.delete_order_line_item(STORE, "SO1", "2")
    lines = client.ecommerce.get_all_order_line_items(STORE, "SO1")["lines"]
    assert [(each["id"], each["quantity"], each["price"]) for each in lines] == [("1", 1, 0), ("3", 1, 12.5)]
    assert client.ecommerce.get_order_line_item(STORE, "SO1", "3")["product_title"] == "Lamp"
    client.ecommerce.delete_order_line_item(STORE, "SO1", "3")
    with refused(400, "Bad Request", "at least one line"):
        client.ecommerce.delete_order_line_item(STORE, "SO1", "1")


def test_patching_an_orders_lines_adds_to_them(sandbox: SandboxMailchimp, client: Any, store: str) -> None:
    client.ecommerce.add_store_order(STORE, order())
    unnamed = {name: value for name, value in line().items() if name != "id"}
    changed = client.ecommerce.update_order(STORE, "SO1", {"order_total": 55, "lines": [unnamed]})
    assert (changed["order_total"], len(changed["lines"])) == (55, 2)


@given(cents=st.lists(st.integers(-99_999, 9_999_999), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_customers_total_is_exactly_the_sum_of_their_orders(
    sandbox: SandboxMailchimp, client: Any, cents: list[int]
) -> None:
    sandbox.state.stores.clear()
    client.ecommerce.add_store({"id": STORE, "list_id": LIST, "name": "Shop", "currency_code": "GBP"})
    client.ecommerce.add_store_product(
        STORE, {"id": "p1", "title": "Lamp", "variants": [{"id": "v1", "title": "Lamp"}]}
    )
    for number, amount in enumerate(cents):
        client.ecommerce.add_store_order(STORE, order(f"SO{number}", order_total=amount / 100))
    exact = float(sum((Decimal(amount) for amount in cents), Decimal()) / 100)
    shown = client.ecommerce.get_store_customer(STORE, "c-1")
    assert (shown["orders_count"], shown["total_spent"]) == (len(cents), exact)
    sold = client.lists.get_list_member(LIST, ADA)["stats"]["ecommerce_data"]
    assert sold == {"total_revenue": exact, "number_of_orders": len(cents), "currency_code": "GBP"}


def test_deleting_takes_along_what_belongs_to_it(sandbox: SandboxMailchimp, client: Any, store: str) -> None:
    client.ecommerce.add_store_order(STORE, order("SO1"))
    client.ecommerce.add_store_order(STORE, order("SO2"))
    client.ecommerce.delete_order(STORE, "SO1")
    assert client.ecommerce.get_store_customer(STORE, "c-1")["total_spent"] == 30
    client.ecommerce.delete_store_customer(STORE, "c-1")
    with refused(404):
        client.ecommerce.get_order(STORE, "SO2")
    assert sandbox.status(LIST, ADA) == "transactional"
    client.ecommerce.delete_store(STORE)
    with refused(404):
        client.ecommerce.get_store(STORE)


def test_order_notifications_follow_the_status_unless_the_store_is_loading(
    sandbox: SandboxMailchimp, client: Any, store: str
) -> None:
    def kinds() -> list[str]:
        found = [mail.kind for mail in sandbox.mails]
        sandbox.mails.clear()
        return found

    client.ecommerce.add_store_order(STORE, order())
    assert kinds() == []
    client.ecommerce.update_order(STORE, "SO1", {"financial_status": "paid"})
    assert kinds() == ["order_invoice"]
    client.ecommerce.update_order(STORE, "SO1", {"financial_status": "paid", "order_total": 20})
    assert kinds() == []
    client.ecommerce.update_order(STORE, "SO1", {"financial_status": "refunded"})
    client.ecommerce.update_order(STORE, "SO1", {"fulfillment_status": "shipped"})
    assert kinds() == ["order_refund", "order_shipping"]
    client.ecommerce.update_store(STORE, {"is_syncing": True})
    client.ecommerce.add_store_order(STORE, order("SO2", financial_status="pending"))
    assert kinds() == []


def test_products_have_variants_and_stay_one(sandbox: SandboxMailchimp, client: Any, store: str) -> None:
    with refused(400, "Bad Request", "already exists"):
        client.ecommerce.add_store_product(
            STORE, {"id": "p1", "title": "x", "variants": [{"id": "v", "title": "x"}]}
        )
    with refused(400, "Invalid Resource"):
        client.ecommerce.add_store_product(STORE, {"id": "p2", "title": "x", "variants": []})
    client.ecommerce.update_store_product(STORE, "p1", {"title": "Lamp 2"})
    client.ecommerce.add_product_variant(STORE, "p1", "v2", {"id": "v2", "title": "Lamp, blue"})
    client.ecommerce.add_product_variants(STORE, "p1", {"id": "v3", "title": "Lamp, green"})
    client.ecommerce.update_product_variant(STORE, "p1", "v3", {"price": 9.99})
    assert client.ecommerce.get_product_variant(STORE, "p1", "v3")["price"] == 9.99
    shown = client.ecommerce.get_store_product(STORE, "p1")
    assert (shown["title"], [each["id"] for each in shown["variants"]]) == ("Lamp 2", ["v1", "v2", "v3"])
    client.ecommerce.delete_product_variant(STORE, "p1", "v3")
    assert client.ecommerce.get_product_variants(STORE, "p1")["total_items"] == 2
    client.ecommerce.add_store_order(STORE, order())
    assert status_of(lambda: client.ecommerce.delete_store_product(STORE, "p1")) == 204
    assert client.ecommerce.get_order(STORE, "SO1")["lines"][0]["product_title"] == ""


def test_a_store_keeps_its_audience_and_its_id(sandbox: SandboxMailchimp, client: Any, store: str) -> None:
    with refused(400, "Bad Request", "already exists"):
        client.ecommerce.add_store({"id": STORE, "list_id": LIST, "name": "x", "currency_code": "GBP"})
    with refused(400, "Invalid Resource", "list ID"):
        client.ecommerce.add_store({"id": "s2", "list_id": "nosuch", "name": "x", "currency_code": "GBP"})
    for wanted in ("a", "b"):
        client.ecommerce.add_store(
            {
                "id": wanted,
                "list_id": LIST,
                "name": wanted,
                "currency_code": "EUR",
                "domain": f"{wanted}.example",
            }
        )
    with refused(400, "Bad Request", "domain"):
        client.ecommerce.update_store("b", {"domain": "a.example"})
    assert [each["id"] for each in client.ecommerce.stores()["stores"]] == [STORE, "a", "b"]


def test_orders_are_listed_by_store_and_over_the_account(
    sandbox: SandboxMailchimp, client: Any, store: str
) -> None:
    for number in range(12):
        client.ecommerce.add_store_order(STORE, order(f"SO{number}"))
    client.ecommerce.add_store_order(STORE, order("X", customer=customer("c-2", "b@example.org")))
    page = client.ecommerce.get_store_orders(STORE, count=1000, fields=["orders.id", "total_items"])
    assert (len(page["orders"]), page["total_items"]) == (13, 13)
    assert len(client.ecommerce.get_store_orders(STORE)["orders"]) == 10
    assert client.ecommerce.get_store_orders(STORE, customer_id="c-2")["orders"][0]["id"] == "X"
    assert client.ecommerce.orders(count=1000)["total_items"] == 13
    found = client.ecommerce.get_all_store_customers(STORE, email_address="B@example.org")["customers"]
    assert [each["id"] for each in found] == ["c-2"]
    assert client.ecommerce.get_all_store_products(STORE)["total_items"] == 1
