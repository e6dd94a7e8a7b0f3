"""The orders of a store, read back."""

import pandas as pd
import pytest

from mc_pipeline.mailchimp.errors import MailchimpNotFoundError
from mc_pipeline.mailchimp.store_reading import get_order, read_store_orders
from mc_pipeline_tests.mailchimp.conftest import LIST

STORE = {"id": "s1", "list_id": LIST, "name": "Store", "currency_code": "EUR"}
PRODUCT = {"id": "p1", "title": "Chair", "variants": [{"id": "v1", "title": "Chair"}]}


def order(number: int, **more: object) -> dict[str, object]:
    return {
        "id": f"o{number}",
        "customer": {"id": "c-1", "email_address": "ada@example.com", "opt_in_status": False},
        "currency_code": "EUR",
        "order_total": 12.5,
        "tax_total": 2.5,
        "processed_at_foreign": "2026-03-01T12:00:00+00:00",
        "lines": [{"id": "l1", "product_id": "p1", "product_variant_id": "v1", "quantity": 1, "price": 10.0}],
        **more,
    }


@pytest.fixture
def store(client):
    client.ecommerce.add_store(STORE)
    client.ecommerce.add_store_product("s1", PRODUCT)
    return client


def test_all_orders_of_a_store_are_read_page_by_page(store, monkeypatch):
    monkeypatch.setattr("mc_pipeline.mailchimp.store_reading._PAGE_SIZE", 2)
    for number in range(5):
        store.ecommerce.add_store_order("s1", order(number))
    rows = read_store_orders(store, "s1")
    assert rows["foreign_order_id"].tolist() == ["o0", "o1", "o2", "o3", "o4"]
    assert rows["order_total"].sum() == 62.5
    assert set(rows["customer_id"]) == {"c-1"}
    assert rows["processed_at"].unique().tolist() == [pd.Timestamp("2026-03-01 12:00", tz="UTC")]
    assert rows[["cancelled_at", "updated_at", "campaign_id"]].isna().all().all()


def test_an_empty_store_has_typed_columns(store):
    rows = read_store_orders(store, "s1")
    assert rows.empty
    assert str(rows["cancelled_at"].dtype) == "datetime64[us, UTC]"


def test_a_store_that_is_not_there_is_no_empty_store(client):
    with pytest.raises(MailchimpNotFoundError):
        read_store_orders(client, "nowhere")


def test_one_order_is_read_with_its_lines(store):
    store.ecommerce.add_store_order("s1", order(1, cancelled_at_foreign="2026-03-02T00:00:00+00:00"))
    found = get_order(store, "s1", "o1")
    assert found is not None
    assert [line["id"] for line in found["lines"]] == ["l1"]
    assert get_order(store, "s1", "o2") is None
    assert read_store_orders(store, "s1")["cancelled_at"].notna().all()
