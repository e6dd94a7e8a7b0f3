"""Reading what Mailchimp posts."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mc_pipeline.webhooks.delivery import UnreadableDeliveryError, nested_form, read_delivery
from mc_pipeline_tests.webhooks.signing import form


def test_an_unsubscribe_is_read_with_all_that_counts() -> None:
    delivery = read_delivery(form(email="Ada@Example.org", campaign_id="cb398d21d2"))
    assert delivery.type == "unsubscribe"
    assert (delivery.list_id, delivery.email, delivery.contact_id) == (
        "retail1",
        "ada@example.org",
        "8a25ff1d98",
    )
    assert (delivery.action, delivery.reason, delivery.campaign_id) == ("unsub", "manual", "cb398d21d2")
    assert delivery.fired_at == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    assert delivery.merges == {"EMAIL": "ada@example.org", "FNAME": "Ada"}
    assert "ada@" not in repr(delivery)


def test_a_changed_address_has_the_former_and_the_present_one() -> None:
    data = {
        "list_id": "retail1",
        "new_id": "51da8c3259",
        "new_email": "L@example.org",
        "old_email": "a@x.org",
    }
    body = urlencode({"type": "upemail", **{f"data[{name}]": value for name, value in data.items()}}).encode()
    delivery = read_delivery(body)
    assert (delivery.email, delivery.new_email, delivery.contact_id) == (
        "a@x.org",
        "l@example.org",
        "51da8c3259",
    )
    assert delivery.fired_at is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a=1&b=", {"a": "1", "b": ""}),
        (b"data[merges][FNAME]=A+B", {"data": {"merges": {"FNAME": "A B"}}}),
        (b"data%5Bmerges%5D%5BFNAME%5D=%C3%89", {"data": {"merges": {"FNAME": "É"}}}),
        (b"d[GROUPINGS][0][name]=x&d[GROUPINGS][0][id]=7&d[GROUPINGS][1][name]=y",
         {"d": {"GROUPINGS": {"0": {"name": "x", "id": "7"}, "1": {"name": "y"}}}}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a[x]=1&a=2", {"a": "2"}),
        (b"a=2&a[x]=1", {"a": {"x": "1"}}),
        (b"a[=1&]b=2&[c]=3&d[[e]]=4", {}),
        (b"a" + b"[b]" * 1000 + b"=1", {}),
        (b"a=%ff", {"a": "\ufffd"}),
    ],
)  # fmt: skip
def test_nested_names_become_mappings(body: bytes, expected: dict[str, Any]) -> None:
    assert nested_form(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"type=unsubscribe",
        b"data[list_id]=retail1",
        b"type=unsubscribe&data=retail1",
        b"type=unsubscribe&data[list_id][x]=retail1",
        b"type[x]=unsubscribe&data[list_id]=retail1",
        b"type=unsubscribe&data[list_id]=retail1&data[email]=a%00@b.org",
        b"type=unsubscribe&data[list_id]=retail1&data[email]=" + b"a" * 400,
        b"&".join(b"a=1" for _ in range(3000)),
        b'{"type": "unsubscribe", "data": {"list_id": "retail1"}}',
    ],
)
def test_what_is_no_delivery_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableDeliveryError):
        read_delivery(body)


def test_a_type_that_nobody_knows_yet_is_read() -> None:
    assert read_delivery(form("sms_unsubscribe")).type == "sms_unsubscribe"


@pytest.mark.parametrize("written", ["", "yesterday", "2026-13-45 99:99:99", "0000-00-00 00:00:00"])
def test_a_time_that_cannot_be_read_is_none(written: str) -> None:
    delivery = read_delivery(form(fired_at=written))
    assert (delivery.fired_at, delivery.fired_at_raw) == (None, written)


_PIECES = st.sampled_from(
    ["type", "data", "[", "]", "=", "&", "list_id", "email", "%", "%00", "%ff", "é", "0"]
)


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=200) | st.lists(_PIECES, max_size=30).map(lambda parts: "".join(parts).encode())
)
@example(body=b"data[]=1&data[][]=2&type=&data[list_id]=")
def test_any_bytes_are_a_delivery_or_unreadable(body: bytes) -> None:
    try:
        delivery = read_delivery(body)
    except UnreadableDeliveryError:
        return
    assert delivery.type
    assert delivery.list_id
