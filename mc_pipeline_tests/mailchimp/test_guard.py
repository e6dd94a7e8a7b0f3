"""Requests that are never made, directly or inside a batch."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipeline.mailchimp.errors import ForbiddenRequestError
from mc_pipeline.mailchimp.guard import refuse_forbidden
from mc_pipeline_tests.mailchimp.exact_server import exact_server

SUBSCRIBED = {"email_address": "jane@example.com", "status": "subscribed"}
MEMBERS = {"members": [SUBSCRIBED]}
CUSTOMER = {"id": "c-1", "email_address": "jane@example.com"}
ORDERS = "/ecommerce/stores/s/orders"

SOURCES = ("user", "admin", "api")
FORBIDDEN = {
    "put member": ("PUT", "/lists/1/members/ab", {"status_if_new": "transactional"}),
    "single creation": ("POST", "/lists/1/members", SUBSCRIBED),
    "update existing": ("POST", "/lists/1", {**MEMBERS, "update_existing": True}),
    "update existing unsaid": ("POST", "/lists/1", MEMBERS),
    "update existing as text": ("POST", "/lists/1", {**MEMBERS, "update_existing": "false"}),
    "update existing as zero": ("POST", "/lists/1", {**MEMBERS, "update_existing": 0}),
    "update existing with slash": ("POST", "/lists/1/", {**MEMBERS, "update_existing": True}),
    "no body": ("POST", "/lists/1", None),
    "delete audience": ("DELETE", "/lists/1", None),
    "missing hash": ("DELETE", "/lists/1//members", None),
    "relative path": ("PUT", "/lists/1/segments/../members/ab", {"status": "subscribed"}),
    "encoded relative path": ("PUT", "/lists/1/%2e%2e/members/ab", {}),
    "pending": ("PATCH", "/lists/1/members/ab", {"status": "pending"}),
    "cleaned": ("PATCH", "/lists/1/members/ab", {"status": "cleaned"}),
    "status if new": ("PATCH", "/lists/1/members/ab", {"status_if_new": "subscribed"}),
    "tags without key": ("POST", "/lists/1/members/ab/tags", {"name": "VIP", "status": "active"}),
    "webhook for API calls": ("POST", "/lists/1/webhooks", {"sources": dict.fromkeys(SOURCES, True)}),
    "webhook for API calls later": ("PATCH", "/lists/1/webhooks/7", {"sources": dict.fromkeys(SOURCES, 0)}),
    "webhook with a source unsaid": ("POST", "/lists/1/webhooks", {"sources": {"api": False}}),
    "webhook with all unsaid": ("POST", "/lists/1/webhooks", {"url": "https://example.com"}),
    "customer opted in": ("POST", "/ecommerce/stores/s/customers", {**CUSTOMER, "opt_in_status": True}),
    "customer unsaid": ("PUT", "/ecommerce/stores/s/customers/c-1", CUSTOMER),
    "customer opted in later": ("PATCH", "/ecommerce/stores/s/customers/c-1", {"opt_in_status": True}),
    "customer opt-in unclear": ("PATCH", "/ecommerce/stores/s/customers/c-1", {"opt_in_status": None}),
    "order customer opted in": ("POST", ORDERS, {"customer": {**CUSTOMER, "opt_in_status": True}}),
    "order customer unsaid": ("POST", ORDERS, {"customer": CUSTOMER}),
    "order patch": ("PATCH", ORDERS + "/1", {"customer": {"id": "c-1", "opt_in_status": "false"}}),
    "order correction with customer": ("PATCH", ORDERS + "/1", {"customer": {"id": "c-2"}}),
    "order shipped": ("POST", ORDERS, {"customer": {"id": "c-1"}, "fulfillment_status": "shipped"}),
    "order paid": ("POST", ORDERS, {"customer": {"id": "c-1"}, "financial_status": "paid"}),
    "order cancelled and announced": (
        "POST",
        ORDERS,
        {"financial_status": "pending", "cancelled_at_foreign": "2026-01-01T00:00:00+00:00"},
    ),
    "order attributed": ("POST", ORDERS, {"customer": {"id": "c-1"}, "campaign_id": "x"}),
    "order with outreach": ("POST", ORDERS, {"customer": {"id": "c-1"}, "outreach": {"id": "x"}}),
    "order correction announced": ("PATCH", ORDERS + "/1", {"financial_status": "refunded"}),
    "order correction attributed": ("PATCH", ORDERS + "/1", {"campaign_id": "x"}),
    "line with outreach": ("PATCH", ORDERS + "/1/lines/2", {"outreach": {"id": "x"}}),
    "cart": ("POST", "/ecommerce/stores/s/carts", {"customer": {**CUSTOMER, "opt_in_status": 1}}),
}
ALLOWED = {
    "creation": ("POST", "/lists/1", {**MEMBERS, "update_existing": False}),
    "update": ("PATCH", "/lists/1/members/ab", {"merge_fields": {"FNAME": "Jane"}}),
    "unsubscribe": ("PATCH", "/lists/1/members/ab", {"status": "unsubscribed"}),
    "upgrade": ("PATCH", "/lists/1/members/ab", {"status": "subscribed"}),
    "marketing permission": ("PATCH", "/lists/1/members/ab", {"marketing_permissions": [{"enabled": True}]}),
    "archive": ("DELETE", "/lists/1/members/ab", None),
    "tags": ("POST", "/lists/1/members/ab/tags", {"tags": [{"name": "VIP", "status": "inactive"}]}),
    "segment": ("POST", "/lists/1/segments/7", {"members_to_add": []}),
    "customer": ("PUT", "/ecommerce/stores/s/customers/c-1", {**CUSTOMER, "opt_in_status": False}),
    "customer names": ("PATCH", "/ecommerce/stores/s/customers/c-1", {"first_name": "Jane"}),
    "order": ("POST", ORDERS, {"id": "1", "customer": {"id": "c-1"}}),
    "order with customer": ("POST", ORDERS, {"customer": {**CUSTOMER, "opt_in_status": False}}),
    "order announced": ("POST", ORDERS, {"customer": {"id": "c-1"}, "financial_status": "pending"}),
    "order correction": ("PATCH", ORDERS + "/1", {"order_total": 0.0}),
    "put variant": ("PUT", "/ecommerce/stores/s/products/p/variants/v", {"title": "x"}),
    "webhook": ("POST", "/lists/1/webhooks", {"sources": {"user": True, "admin": False, "api": False}}),
    "read": ("GET", "/lists/1/members/ab", None),
}


REACHES_SOMEBODY = {"creation", "upgrade", "marketing permission"}
"""Nobody knows who has opted out by the time a batch is carried out: these are sent by themselves alone."""


def operation(method, path, body):
    document = {"method": method, "path": path, "operation_id": "1"}
    if body is not None:
        document["body"] = json.dumps(body)
    return document


@pytest.mark.parametrize(("method", "path", "body"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_forbidden_request_is_refused_before_anything_is_sent(connect, method, path, body):
    with exact_server() as server:
        client = connect(server.url)
        with pytest.raises(ForbiddenRequestError, match="Nothing was sent"):
            client.api_client.request(method, client.api_client.host + path, body=body)
        with pytest.raises(ForbiddenRequestError, match="Nothing was sent"):
            client.batches.start(
                {"operations": [operation("GET", "/ping", None), operation(method, path, body)]}
            )
        assert server.asked == []


@pytest.mark.parametrize("name", ALLOWED)
def test_a_permitted_request_goes_out(connect, name):
    method, path, body = ALLOWED[name]
    with exact_server() as server:
        client = connect(server.url)
        client.api_client.request(method, client.api_client.host + path, body=body)
        if name in REACHES_SOMEBODY:
            with pytest.raises(ForbiddenRequestError, match="never in a batch"):
                client.batches.start({"operations": [operation(method, path, body)]})
            assert server.requests == [(method, path)]
            return
        client.batches.start({"operations": [operation(method, path, body)]})
        assert server.requests == [(method, path), ("POST", "/batches")]


@pytest.mark.parametrize(
    "bad",
    [
        {"path": "/ping"},
        {"method": "POST", "path": "/batches", "body": "{}"},
        {"method": "POST", "path": "https://elsewhere.example/lists/1", "body": "{}"},
        {"method": "POST", "path": "/lists/1?skip_merge_validation=true", "body": "{}"},
        {"method": "POST", "path": "/3.0/lists/1", "body": '{"update_existing": true}'},
        {"method": "PATCH", "path": "/lists/1/members/ab", "body": {"status": "subscribed"}},
        {"method": "PATCH", "path": "/lists/1/members/ab", "body": "{not json"},
        "no mapping",
    ],
)
def test_an_operation_that_cannot_be_judged_is_refused(bad):
    with pytest.raises(ForbiddenRequestError):
        refuse_forbidden("POST", "/batches", {"operations": [bad]})


@pytest.mark.parametrize("operations", [None, [], [operation("GET", "/ping", None)] * 501])
def test_a_batch_holds_one_to_500_operations(operations):
    with pytest.raises(ForbiddenRequestError):
        refuse_forbidden("POST", "/batches", {"operations": operations})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    path=st.sampled_from([ORDERS, ORDERS + "/1", "/ecommerce/stores/s/carts", "/ecommerce/stores"]),
    method=st.sampled_from(["POST", "PUT", "PATCH", "post"]),
    around=st.lists(st.sampled_from(["customer", "lines", "list"]), max_size=4),
    opt_in=json_values.filter(lambda value: value is not False),
)
def test_no_ecommerce_body_opts_anybody_in_however_deep(path, method, around, opt_in):
    body = {"opt_in_status": opt_in}
    for name in around:
        body = [body] if name == "list" else {name: body}
    with pytest.raises(ForbiddenRequestError):
        refuse_forbidden(method, path, body)


@settings(deadline=None)
@given(body=st.dictionaries(st.sampled_from(["members", "update_existing", "sync_tags"]), json_values))
def test_members_are_created_with_update_existing_false_or_not_at_all(body):
    try:
        refuse_forbidden("POST", "/lists/1", body)
    except ForbiddenRequestError:
        assert body.get("update_existing") is not False or not isinstance(body.get("members"), list)
    else:
        assert body["update_existing"] is False
