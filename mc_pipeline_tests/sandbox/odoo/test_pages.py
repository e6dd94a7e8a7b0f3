"""The pages on which people look at the stand-in's data and act in it."""

from __future__ import annotations

import pytest
import requests

from mc_pipeline.sandbox.odoo import SandboxOdoo


def _get(odoo: SandboxOdoo, path: str) -> str:
    answer = requests.get(f"{odoo.url}{path}", timeout=10)
    assert answer.status_code == 200
    return answer.text


def _post(odoo: SandboxOdoo, path: str, **form: object) -> str:
    answer = requests.post(f"{odoo.url}{path}", data=form, timeout=10)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("path", ["/", "/sandbox/orders", "/sandbox/blacklist", "/sandbox/requests"])
def test_every_page_says_that_it_is_a_sandbox(odoo19: SandboxOdoo, path: str) -> None:
    text = _get(odoo19, path)
    assert "Sandbox: a stand-in for Odoo 19.0" in text
    assert '<html lang="en">' in text
    assert "http://" not in text
    assert "https://" not in text


def test_contacts_are_found_and_paged(odoo19: SandboxOdoo) -> None:
    for number in range(60):
        odoo19.add_partner(name=f"Person {number:02d}", email=f"p{number}@example.net")
    first = _get(odoo19, "/sandbox/partners?search=example.net")
    assert "1–50 of 60" in first
    assert "Person 00" in first
    assert "Person 59" not in first
    second = _get(odoo19, "/sandbox/partners?search=example.net&page=2")
    assert "51–60 of 60" in second
    assert "Person 59" in second
    assert "Nobody found" in _get(odoo19, "/sandbox/partners?search=nowhere")


def test_what_people_typed_is_shown_as_text(odoo19: SandboxOdoo) -> None:
    partner = odoo19.add_partner(name="<script>alert(1)</script>")
    for path in ("/sandbox/partners", f"/sandbox/partners/{partner}"):
        text = _get(odoo19, path)
        assert "<script>" not in text
        assert "&lt;script&gt;" in text


def test_a_person_edits_tags_archives_and_blacklists_a_contact(odoo: SandboxOdoo) -> None:
    tag = odoo.add_tag("VIP")
    partner = odoo.add_partner(name="Zoe", email="zoe@example.net")
    page = f"/sandbox/partners/{partner}"
    assert "Saved." in _post(odoo, f"{page}/edit", name="Zoë", email="Zoe@Example.org")
    _post(odoo, f"{page}/tag", tag=tag)
    _post(odoo, f"{page}/blacklist")
    _post(odoo, f"{page}/archive")
    read = odoo.read(
        "res.partner", partner, "name", "email_normalized", "category_id", "is_blacklisted", "active"
    )
    assert list(read.values())[1:] == ["Zoë", "zoe@example.org", [tag], True, False]
    _post(odoo, f"{page}/untag", tag=tag)
    _post(odoo, f"{page}/unblacklist")
    _post(odoo, f"{page}/unarchive")
    read = odoo.read("res.partner", partner, "category_id", "is_blacklisted", "active")
    assert list(read.values())[1:] == [[], False, True]
    assert [entry.source for entry in odoo.journal.acts if entry.path == "mail.blacklist"] == [
        "person",
        "person",
    ]


def test_a_person_confirms_invoices_credits_and_cancels_an_order(odoo: SandboxOdoo) -> None:
    partner = odoo.add_partner(name="A")
    order = odoo.add_order(
        partner, state="draft", lines=[{"name": "Thing", "price_unit": 10.0, "product_uom_qty": 3.0}]
    )
    page = f"/sandbox/orders/{order}"
    _post(odoo, f"{page}/confirm")
    text = _post(odoo, f"{page}/invoice")
    (invoice,) = odoo.read("sale.order", order, "invoice_ids")["invoice_ids"]
    assert "INV/" in text
    assert "RINV/" in _post(odoo, f"{page}/credit", move=invoice, quantity="1,5")
    assert odoo.read("account.move", invoice, "amount_residual")["amount_residual"] == 15.0
    _post(odoo, f"{page}/cancel")
    assert odoo.read("sale.order", order, "state")["state"] == "cancel"
    assert f"/sandbox/orders/{order}" in _get(odoo, "/sandbox/orders?search=S0")


def test_what_cannot_be_done_is_said_on_the_page(odoo19: SandboxOdoo) -> None:
    partner = odoo19.add_partner(name="A")
    order = odoo19.add_order(partner, 5.0)
    assert "Not done: Some orders are not in a state" in _post(odoo19, f"/sandbox/orders/{order}/confirm")
    assert "Not done: tag must be the number" in _post(odoo19, f"/sandbox/partners/{partner}/tag")
    assert "Not done: Invalid email address" in _post(odoo19, "/sandbox/blacklist/add", email="nope")
    for path in ("/sandbox/partners/999", "/sandbox/orders/999"):
        assert requests.get(f"{odoo19.url}{path}", timeout=10).status_code == 404
        assert requests.post(f"{odoo19.url}{path}/archive", timeout=10).status_code == 404


def test_forms_of_other_sites_are_refused(odoo19: SandboxOdoo) -> None:
    answer = requests.post(
        f"{odoo19.url}/sandbox/blacklist/add",
        data={"email": "a@e.com"},
        headers={"Origin": "http://evil.example"},
        timeout=10,
    )
    assert answer.status_code == 403
    assert odoo19.search("mail.blacklist") == []


def test_the_requests_page_tells_who_did_what(odoo19: SandboxOdoo) -> None:
    odoo19.blacklist("a@e.com")
    call = {"service": "common", "method": "login", "args": ["sandbox", "somebody", "hush"]}
    requests.post(f"{odoo19.url}/jsonrpc", json={"params": call}, timeout=10)
    text = _get(odoo19, "/sandbox/requests")
    assert "common.login" in text
    assert "somebody" in text
    assert "hush" not in text
    assert "person" in text
    assert "blacklist" in _get(odoo19, "/sandbox/requests?search=blacklist")


def test_the_notes_of_a_row_and_of_a_contact_are_shown_as_text(odoo19: SandboxOdoo) -> None:
    partner = odoo19.add_partner(name="Zoe", email="zoe@example.net")
    row = odoo19.blacklist("zoe@example.net")
    for model, id in (("mail.blacklist", row), ("res.partner", partner)):
        body = f"<p>Because of {model}, &lt;b&gt;</p><script>alert(1)</script>"
        odoo19.create("mail.message", {"model": model, "res_id": id, "body": body})
    for path, model in (
        ("/sandbox/blacklist", "mail.blacklist"),
        (f"/sandbox/partners/{partner}", "res.partner"),
    ):
        text = _get(odoo19, path)
        assert f"Because of {model}, &lt;b&gt;" in text
        assert "<script>alert" not in text
