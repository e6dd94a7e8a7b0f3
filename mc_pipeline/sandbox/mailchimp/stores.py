"""E-commerce: stores, customers, products and orders, and what writing them does to the audience.

Writing a customer or an order makes a contact of the audience, brings back an archived one, and with
``opt_in_status: true`` subscribes it: the harsher of two documented readings is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from mc_pipeline.sandbox.mailchimp import members
from mc_pipeline.sandbox.mailchimp.problems import bad_request, invalid, not_found, not_validated
from mc_pipeline.sandbox.mailchimp.state import Audience, Customer, MailchimpState, Store, subscriber_hash
from mc_pipeline.sandbox.mailchimp.times import parsed, written

ID_LENGTH = 50

STORE_DETAILS = (
    "name",
    "platform",
    "domain",
    "email_address",
    "money_format",
    "primary_locale",
    "timezone",
    "phone",
    "address",
)
ORDER_DETAILS = (
    "campaign_id",
    "landing_site",
    "financial_status",
    "fulfillment_status",
    "currency_code",
    "order_total",
    "order_url",
    "discount_total",
    "tax_total",
    "shipping_total",
    "tracking_code",
    "processed_at_foreign",
    "cancelled_at_foreign",
    "updated_at_foreign",
    "shipping_address",
    "billing_address",
    "promos",
    "outreach",
    "tracking_number",
    "tracking_carrier",
    "tracking_url",
)
VARIANT_DETAILS = (
    "title",
    "url",
    "sku",
    "price",
    "inventory_quantity",
    "image_url",
    "backorders",
    "visibility",
)
PRODUCT_DETAILS = (
    "title",
    "handle",
    "url",
    "description",
    "type",
    "vendor",
    "image_url",
    "images",
    "published_at_foreign",
)

_NOTIFICATIONS = {
    ("financial_status", "pending"): "order_confirmation",
    ("financial_status", "paid"): "order_invoice",
    ("financial_status", "refunded"): "order_refund",
    ("financial_status", "cancelled"): "order_cancellation",
    ("fulfillment_status", "shipped"): "order_shipping",
}


# --- stores -----------------------------------------------------------------------------------------


def store_of(state: MailchimpState, account: str, store_id: str) -> Store:
    """A store of this account, or 404."""
    store = state.stores.get(store_id)
    if store is None or store.account != account:
        raise not_found()
    return store


def audience_of(state: MailchimpState, store: Store) -> Audience:
    """The audience that a store writes into."""
    return state.audiences[store.list_id]


def add_store(state: MailchimpState, account: str, body: Mapping[str, Any]) -> Store:
    """POST a store; its audience is fixed for good."""
    _check_id(body["id"])
    if state.audience_of_account(account, body["list_id"]) is None:
        raise invalid("The list ID provided is not valid.", ("list_id", "Please enter a valid list ID"))
    if body["id"] in state.stores:
        raise bad_request("A store with the provided ID already exists in the account.")
    _check_currency(body["currency_code"])
    _check_domain(state, account, body.get("domain"))
    now = state.now()
    store = Store(
        id=body["id"],
        list_id=body["list_id"],
        account=account,
        details={name: body[name] for name in STORE_DETAILS if name in body},
        currency_code=body["currency_code"],
        is_syncing=bool(body.get("is_syncing", False)),
        created_at=now,
        updated_at=now,
    )
    state.stores[store.id] = store
    return store


def change_store(state: MailchimpState, store: Store, body: Mapping[str, Any]) -> None:
    """PATCH a store; another audience is ignored without a word."""
    if "currency_code" in body:
        _check_currency(body["currency_code"])
        store.currency_code = body["currency_code"]
    if body.get("domain") != store.details.get("domain"):
        _check_domain(state, store.account, body.get("domain"))
    store.details |= {name: body[name] for name in STORE_DETAILS if name in body}
    store.is_syncing = bool(body.get("is_syncing", store.is_syncing))
    store.updated_at = state.now()


def delete_store(state: MailchimpState, store: Store) -> None:
    """DELETE a store with all that it holds; the contacts stay."""
    del state.stores[store.id]


# --- customers --------------------------------------------------------------------------------------


def customer_of(store: Store, customer_id: str) -> Customer:
    """A customer, or 404; an id that is too long is simply not found."""
    customer = store.customers.get(customer_id)
    if customer is None:
        raise not_found()
    return customer


def write_customer(
    state: MailchimpState,
    store: Store,
    customer_id: str,
    body: Mapping[str, Any],
    *,
    must_be_new: bool = False,
) -> Customer:
    """PUT or POST a customer, or the customer inside an order."""
    if len(customer_id) > ID_LENGTH:
        raise not_found()
    _check_id(customer_id)
    customer = store.customers.get(customer_id)
    if customer is not None and must_be_new:
        raise bad_request("A customer with the provided ID already exists in the store.")
    email = (body.get("email_address") or "").strip()
    now = state.now()
    if customer is None:
        if not email:
            raise invalid(
                "A new customer needs an e-mail address.", ("email_address", "Please enter a value")
            )
        _make_contact(state, store, email, bool(body.get("opt_in_status", False)))
        customer = Customer(
            id=customer_id,
            email_address=email,
            opt_in_status=bool(body.get("opt_in_status", False)),
            created_at=now,
            updated_at=now,
        )
        store.customers[customer_id] = customer
        store.customers_by_email.setdefault(email.lower(), set()).add(customer_id)
    else:
        if email and email.lower() != customer.email_address.lower():
            raise invalid(
                "The email_address of a customer may not be changed.",
                ("email_address", "The email address can not be changed"),
            )
        opt_in = bool(body.get("opt_in_status", customer.opt_in_status))
        _make_contact(state, store, customer.email_address, opt_in)
        customer.opt_in_status = opt_in
    for name in ("company", "first_name", "last_name"):
        if body.get(name) is not None:
            setattr(customer, name, body[name])
    if body.get("address") is not None:
        customer.address = dict(body["address"])
    customer.updated_at = now
    return customer


def delete_customer(store: Store, customer: Customer) -> None:
    """DELETE a customer and, with them, their orders."""
    for order_id in list(customer.orders):
        delete_order(store, store.orders[order_id])
    del store.customers[customer.id]
    same_email = store.customers_by_email[customer.email_address.lower()]
    same_email.discard(customer.id)
    if not same_email:
        del store.customers_by_email[customer.email_address.lower()]


def _make_contact(state: MailchimpState, store: Store, email: str, opt_in: bool) -> None:
    """The side effect on the audience of every customer and order write."""
    audience = audience_of(state, store)
    member = audience.members.get(subscriber_hash(email))
    if member is None:
        members.check_address(state, audience, email)
        made = members.add_member(state, audience, email, "transactional", source="E-commerce")
        if opt_in:
            members.move(state, audience, made, "subscribed", by="api")
    elif member.status == "archived" or (opt_in and member.status == "transactional"):
        members.move(state, audience, member, "subscribed" if opt_in else "transactional", by="api")


# --- products ---------------------------------------------------------------------------------------


def product_of(store: Store, product_id: str) -> dict[str, Any]:
    """A product, or 404."""
    product = store.products.get(product_id)
    if product is None:
        raise not_found()
    return product


def add_product(state: MailchimpState, store: Store, body: Mapping[str, Any]) -> dict[str, Any]:
    """POST a product with at least one variant."""
    _check_id(body["id"])
    if body["id"] in store.products:
        raise bad_request("A product with the provided ID already exists in the account for this list.")
    if not body["variants"]:
        raise not_validated(("variants", "This collection should contain 1 element or more."))
    product: dict[str, Any] = {
        "id": body["id"],
        **{name: body[name] for name in PRODUCT_DETAILS if name in body},
        "variants": {},
    }
    for variant in body["variants"]:
        write_variant(state, product, variant["id"], variant, must_be_new=True)
    store.products[body["id"]] = product
    return product


def change_product(state: MailchimpState, product: dict[str, Any], body: Mapping[str, Any]) -> None:
    """PATCH a product; variants sent replace those there."""
    if body.get("variants") is not None:
        if not body["variants"]:
            raise not_validated(("variants", "This collection should contain 1 element or more."))
        replaced: dict[str, Any] = {"variants": {}}
        for variant in body["variants"]:
            write_variant(state, replaced, variant["id"], variant, must_be_new=True)
        product["variants"] = replaced["variants"]
    product |= {name: body[name] for name in PRODUCT_DETAILS if name in body}


def write_variant(
    state: MailchimpState,
    product: dict[str, Any],
    variant_id: str,
    body: Mapping[str, Any],
    *,
    must_be_new: bool = False,
) -> dict[str, Any]:
    """PUT or POST a variant."""
    _check_id(variant_id)
    variants = product["variants"]
    if must_be_new and variant_id in variants:
        raise bad_request("A product variant with the provided ID already exists for this product.")
    now = written(state.now())
    variant: dict[str, Any] = variants.setdefault(variant_id, {"id": variant_id, "created_at": now})
    variant |= {name: body[name] for name in VARIANT_DETAILS if name in body} | {"updated_at": now}
    return variant


# --- orders -----------------------------------------------------------------------------------------


def order_of(store: Store, order_id: str) -> dict[str, Any]:
    """An order, or 404."""
    order = store.orders.get(order_id)
    if order is None:
        raise not_found()
    return order


def add_order(state: MailchimpState, store: Store, body: Mapping[str, Any]) -> dict[str, Any]:
    """POST an order; its products must be there, and the customer is written along with it."""
    _check_id(body["id"])
    if body["id"] in store.orders:
        raise bad_request("An order with the provided ID already exists in the account for this list.")
    _check_order(body)
    lines = {}
    for line in body["lines"]:
        _check_line(store, line)
        if line["id"] in lines:
            raise bad_request("A line with the provided ID already exists in this order.")
        lines[line["id"]] = dict(line)
    customer = write_customer(state, store, body["customer"]["id"], body["customer"])
    order: dict[str, Any] = {
        "id": body["id"],
        "customer_id": customer.id,
        **{name: body[name] for name in ORDER_DETAILS if name in body},
        "lines": lines,
    }
    store.orders[body["id"]] = order
    customer.orders.add(body["id"])
    _notify(state, store, order, {})
    return order


def change_order(state: MailchimpState, store: Store, order: dict[str, Any], body: Mapping[str, Any]) -> None:
    """PATCH an order. Lines sent never remove others: a line without a known id is one more line."""
    _check_order(body)
    for line in body.get("lines") or ():
        _check_line(store, line, partly=line.get("id") in order["lines"])
    if body.get("customer"):
        sent = {name: value for name, value in body["customer"].items() if name != "id"}
        write_customer(state, store, order["customer_id"], sent)
    before = dict(order)
    order |= {name: body[name] for name in ORDER_DETAILS if name in body}
    for line in body.get("lines") or ():
        line_id = line.get("id") or f"line-{state.next_number()}"
        order["lines"].setdefault(line_id, {"id": line_id}).update(line)
    _notify(state, store, order, before)


def delete_order(store: Store, order: dict[str, Any]) -> None:
    """DELETE an order: the customer's totals fall."""
    del store.orders[order["id"]]
    store.customers[order["customer_id"]].orders.discard(order["id"])


def add_line(store: Store, order: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """POST a line of an order."""
    _check_id(body["id"])
    _check_line(store, body)
    if body["id"] in order["lines"]:
        raise bad_request("A line with the provided ID already exists in this order.")
    line = order["lines"][body["id"]] = dict(body)
    return line


def line_of(order: dict[str, Any], line_id: str) -> dict[str, Any]:
    """A line of an order, or 404."""
    line: dict[str, Any] | None = order["lines"].get(line_id)
    if line is None:
        raise not_found()
    return line


def change_line(store: Store, line: dict[str, Any], body: Mapping[str, Any]) -> None:
    """PATCH a line."""
    changed = {name: body[name] for name in body if name != "id"}
    _check_line(store, {**line, **changed})
    line |= changed


def delete_line(order: dict[str, Any], line_id: str) -> None:
    """DELETE a line; the last one stays, an order has at least one."""
    line_of(order, line_id)
    if len(order["lines"]) == 1:
        raise bad_request("An order must have at least one line item.")
    del order["lines"][line_id]


def totals(store: Store, customer: Customer) -> tuple[int, float]:
    """How many orders a customer has and what they sum up to, exactly added."""
    amounts = [Decimal(str(store.orders[order_id]["order_total"])) for order_id in customer.orders]
    return len(amounts), float(sum(amounts, Decimal()))


def ecommerce_data(state: MailchimpState, audience: Audience, email: str) -> dict[str, Any] | None:
    """What the stores of an audience sold to an address; None when nothing ever was."""
    count, total, currency, known = 0, Decimal(), "", False
    for store in state.stores_of(audience):
        for customer_id in store.customers_by_email.get(email.lower(), ()):
            known, currency = True, store.currency_code
            orders, spent = totals(store, store.customers[customer_id])
            count, total = count + orders, total + Decimal(str(spent))
    if not known:
        return None
    return {"total_revenue": float(total), "number_of_orders": count, "currency_code": currency}


def _notify(state: MailchimpState, store: Store, order: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Order notifications go out when a status changes, unless the store is loading."""
    if not store.order_notifications or store.is_syncing:
        return
    for (name, value), kind in _NOTIFICATIONS.items():
        if order.get(name) == value and before.get(name) != value:
            email = store.customers[order["customer_id"]].email_address
            state.send_mail(
                kind, email, store.list_id, f"{name} {value}", store_id=store.id, order_id=order["id"]
            )


def _check_id(value: str) -> None:
    if not value or len(value) > ID_LENGTH:
        raise not_found()


def _check_domain(state: MailchimpState, account: str, domain: object) -> None:
    used = {each.details.get("domain") for each in state.stores.values() if each.account == account}
    if domain and domain in used:
        raise bad_request("A store with the provided domain already exists in the account.")


def _check_currency(code: str) -> None:
    if not re.fullmatch(r"[A-Z]{3}", code):
        raise invalid("The currency code is not valid.", ("currency_code", "Please enter an ISO 4217 code"))


def _check_order(body: Mapping[str, Any]) -> None:
    if "currency_code" in body:
        _check_currency(body["currency_code"])
    for name in ("processed_at_foreign", "updated_at_foreign", "cancelled_at_foreign"):
        if body.get(name):
            parsed(body[name], name)
    if "lines" in body and not body["lines"]:
        raise not_validated(("lines", "This collection should contain 1 element or more."))


def _check_line(store: Store, line: Mapping[str, Any], *, partly: bool = False) -> None:
    if partly and "product_id" not in line:
        return
    product = store.products.get(line.get("product_id", ""))
    if product is None:
        raise bad_request("A product with the provided ID does not exist in the account for this list.")
    if line.get("product_variant_id") not in product["variants"]:
        raise bad_request("A product variant with the provided ID does not exist for this product.")
