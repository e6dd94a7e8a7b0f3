"""The pages, as a browser without scripts sees them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
import requests

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.state import subscriber_hash
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST

ADA = "ada@example.org"
ADA_PAGE = f"/audiences/{LIST}/members/{subscriber_hash(ADA)}"


def see(sandbox: SandboxMailchimp, path: str, expect: int = 200) -> str:
    answer = requests.get(sandbox.url + path, timeout=10)
    assert answer.status_code == expect
    return answer.text


def words(page: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.split("<main>")[1])))


def act(sandbox: SandboxMailchimp, action: str, **form: str) -> requests.Response:
    return requests.post(f"{sandbox.url}{ADA_PAGE}/{action}", data=form, timeout=10)


def test_every_page_says_that_this_is_a_sandbox_and_loads_nothing_from_elsewhere(
    sandbox: SandboxMailchimp, client: Any
) -> None:
    sandbox.add_member(LIST, ADA)
    client.ecommerce.add_store({"id": "s", "list_id": LIST, "name": "Shop", "currency_code": "GBP"})
    for path in ("/", f"/audiences/{LIST}", ADA_PAGE, "/stores", "/stores/s", "/mails", "/journal"):
        page = see(sandbox, path)
        assert "This is not Mailchimp" in page
        assert '<html lang="en">' in page
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", page)


def test_audiences_are_listed_with_their_numbers(sandbox: SandboxMailchimp) -> None:
    sandbox.add_audience("second0001", "Wholesale", double_optin=True)
    for number in range(3):
        sandbox.add_member(LIST, f"p{number}@example.org", "transactional")
    page = words(see(sandbox, "/"))
    assert re.search(rf"Retail {LIST} main 0 0 0 0 3 0 none", page)
    assert "Wholesale second0001 main 0 0 0 0 0 0 double opt-in" in page


def test_members_are_filtered_and_paged(sandbox: SandboxMailchimp) -> None:
    for number in range(120):
        sandbox.add_member(LIST, f"p{number:03}@example.org", "subscribed" if number % 2 else "archived")
    sandbox.add_member(LIST, ADA, "cleaned", merge_fields={"FNAME": "Augusta"})
    assert "1–50 of 121" in words(see(sandbox, f"/audiences/{LIST}"))
    second = see(sandbox, f"/audiences/{LIST}?status=archived&page=2")
    assert "51–60 of 60" in words(second)
    assert "p100@example.org" in second
    assert "p101@example.org" not in second
    assert "1–1 of 1" in words(see(sandbox, f"/audiences/{LIST}?search=AUGUSTA"))


@pytest.mark.parametrize(
    ("action", "status", "source"),
    [
        ("unsubscribe", "unsubscribed", "person"),
        ("complain", "unsubscribed", "person"),
        ("bounce-hard", "cleaned", "person"),
        ("unsubscribe-by-admin", "unsubscribed", "admin"),
        ("archive", "archived", "admin"),
        ("delete-permanently", None, "admin"),
    ],
)
def test_the_buttons_act(sandbox: SandboxMailchimp, action: str, status: str | None, source: str) -> None:
    sandbox.add_member(LIST, ADA)
    assert f'action="{ADA_PAGE}/{action}"' in see(sandbox, ADA_PAGE)
    assert act(sandbox, action).status_code == 200
    assert sandbox.status(LIST, ADA) == status
    assert [entry.source for entry in sandbox.journal.acts] == [source]


def test_somebody_unsubscribes_comes_back_and_changes_their_name(sandbox: SandboxMailchimp) -> None:
    sandbox.add_member(LIST, ADA)
    assert "Unsubscribed by the person" in words(act(sandbox, "unsubscribe").text)
    act(sandbox, "sign-up")
    assert sandbox.status(LIST, ADA) == "subscribed"
    act(sandbox, "edit-field", tag="FNAME", value="Ada & Co <b>")
    page = act(sandbox, "add-tag", tag="Friends").text
    assert "Ada &amp; Co &lt;b&gt;" in page
    assert sandbox.tags(LIST, ADA) == ["Friends"]


def test_what_cannot_be_done_is_said_on_the_page(sandbox: SandboxMailchimp) -> None:
    sandbox.add_member(LIST, ADA)
    refused = act(sandbox, "confirm")
    assert (
        refused.status_code,
        "this member is subscribed: only a pending one can confirm" in refused.text,
    ) == (
        400,
        True,
    )
    assert act(sandbox, "edit-field", tag="BIRTHDAY", value="soon").status_code == 400
    form = requests.post(f"{sandbox.url}/audiences/{LIST}/sign-up", data={"email": "nobody"}, timeout=10)
    assert (form.status_code, "Please provide a valid email address." in form.text) == (400, True)


def test_the_form_signs_people_up(sandbox: SandboxMailchimp) -> None:
    requests.post(f"{sandbox.url}/audiences/{LIST}/sign-up", data={"email": ADA}, timeout=10)
    assert sandbox.status(LIST, ADA) == "subscribed"


def test_orders_mails_and_requests_are_shown(sandbox: SandboxMailchimp, client: Any) -> None:
    client.ecommerce.add_store({"id": "s", "list_id": LIST, "name": "Shop", "currency_code": "GBP"})
    client.ecommerce.add_store_product(
        "s", {"id": "p", "title": "Lamp", "variants": [{"id": "v", "title": "L"}]}
    )
    client.ecommerce.add_store_order(
        "s",
        {
            "id": "SO7",
            "customer": {"id": "c", "email_address": ADA, "opt_in_status": False},
            "currency_code": "GBP",
            "order_total": 1234.5,
            "financial_status": "paid",
            "lines": [{"id": "1", "product_id": "p", "product_variant_id": "v", "quantity": 2, "price": 600}],
        },
    )
    assert "SO7 Shop 1,234.50 GBP" in words(see(sandbox, ADA_PAGE))
    assert "order invoice" in words(see(sandbox, ADA_PAGE))
    assert "2 × Lamp: 600.00" in words(see(sandbox, "/stores/s"))
    assert "1,234.50 GBP" in words(see(sandbox, "/stores"))
    assert ADA in words(see(sandbox, "/mails"))
    sandbox.unsubscribe(LIST, ADA)
    writes = words(see(sandbox, "/journal?only=writes"))
    assert "POST /3.0/ecommerce/stores/s/orders 200" in writes
    assert "unsubscribe" not in writes.split("Sent")[1]
    assert f"unsubscribe /lists/{LIST}" in words(see(sandbox, "/journal?only=people"))


@pytest.mark.parametrize("path", ["/audiences/none", f"/audiences/{LIST}/members/none", "/stores/none"])
def test_what_is_not_there_is_not_found(sandbox: SandboxMailchimp, path: str) -> None:
    assert "There is no such" in see(sandbox, path, 404)
