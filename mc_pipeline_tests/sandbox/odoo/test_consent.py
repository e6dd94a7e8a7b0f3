"""The blacklist and the mailing lists, with the traps that a real Odoo has."""

from __future__ import annotations

import odoorpc
import pytest

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.odoo.addresses import normalized
from mc_pipeline_tests.sandbox.odoo.conftest import error_of, log_in


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("DUP@example.com ", "dup@example.com"),
        ('"Zed" <Zed@E.com>', "zed@e.com"),
        ("a@x.com, b@x.com", "a@x.com"),
        ("not-an-email", False),
        ("ünï@exämple.com", "ünï@exämple.com"),
        ("Zoë <Zoë@EXAMPLE.com>", "Zoë@example.com"),
        ("Ann ann@Example.com", "ann@example.com"),
        ("", False),
        (False, False),
    ],
)
def test_addresses_are_normalised_as_odoo_does(odoo: SandboxOdoo, text: object, address: object) -> None:
    partner = odoo.add_partner(name="A", email=text)
    assert odoo.read("res.partner", partner, "email_normalized")["email_normalized"] == address
    assert normalized(text) == address


def test_a_blacklisted_address_blacklists_all_its_partners_and_changes_none(
    odoo: SandboxOdoo, admin: odoorpc.ODOO
) -> None:
    partners = [odoo.add_partner(name="A", email="a@e.com"), odoo.add_partner(name="B", email=" A@E.com")]
    before = [odoo.model("res.partner").table.rows[id]["write_date"] for id in partners]
    (id,) = admin.execute_kw("mail.blacklist", "create", [[{"email": " A@E.com "}]])
    assert odoo.read("mail.blacklist", id, "email", "active") == {
        "id": id,
        "email": "a@e.com",
        "active": True,
    }
    blacklisted = admin.execute_kw(
        "res.partner", "search", [[["is_blacklisted", "=", True]]], {"order": "id"}
    )
    assert blacklisted == partners
    assert [odoo.model("res.partner").table.rows[id]["write_date"] for id in partners] == before


def test_creating_again_gives_the_same_row_and_a_list_loses_its_duplicates(admin: odoorpc.ODOO) -> None:
    first = admin.execute_kw("mail.blacklist", "create", [{"email": "a@e.com"}])
    assert admin.execute_kw("mail.blacklist", "create", [{"email": "A@e.com"}]) == first
    values = [{"email": "b@e.com"}, {"email": "B@e.com"}, {"email": "c@e.com"}]
    assert len(admin.execute_kw("mail.blacklist", "create", [values])) == 2


@pytest.mark.parametrize("values", [{}, {"active": True}])
def test_creating_over_an_archived_row_leaves_the_person_reachable_without_an_error(
    odoo: SandboxOdoo, admin: odoorpc.ODOO, values: dict[str, bool]
) -> None:
    id = odoo.blacklist("a@e.com")
    odoo.unblacklist("a@e.com", "asked for our mail")
    assert admin.execute_kw("mail.blacklist", "create", [{"email": "a@e.com", **values}]) == id
    assert odoo.read("mail.blacklist", id, "active")["active"] is False
    assert admin.execute_kw("mail.blacklist", "search", [[["email", "=", "a@e.com"]]]) == []
    found = admin.execute_kw(
        "mail.blacklist", "search", [[["email", "=", "A@E.com"]]], {"context": {"active_test": False}}
    )
    assert found == [id]
    admin.execute_kw("mail.blacklist", "action_unarchive", [[id]])
    assert odoo.read("mail.blacklist", id, "active")["active"] is True


def test_equality_normalises_the_address_and_membership_does_not(
    odoo: SandboxOdoo, admin: odoorpc.ODOO
) -> None:
    id = odoo.blacklist("a@e.com")
    assert admin.execute_kw("mail.blacklist", "search", [[["email", "=", "A@E.com"]]]) == [id]
    assert admin.execute_kw("mail.blacklist", "search", [[["email", "in", ["A@E.com"]]]]) == []
    assert admin.execute_kw("mail.blacklist", "search", [[["email", "in", ["a@e.com"]]]]) == [id]


def test_the_wizard_takes_an_address_off_and_keeps_its_row(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    id = odoo.blacklist("a@e.com")
    wizard = admin.execute_kw("mail.blacklist.remove", "create", [{"email": "a@e.com", "reason": "phone"}])
    admin.execute_kw("mail.blacklist.remove", "action_unblacklist_apply", [[wizard]])
    assert odoo.read("mail.blacklist", id, "active")["active"] is False
    assert "phone" in str(odoo.read("mail.message", odoo.search("mail.message")[0], "body")["body"])


def test_the_button_on_a_partner_only_opens_a_window(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    partner = odoo.add_partner(name="A", email="a@e.com")
    odoo.blacklist("a@e.com")
    action = admin.execute_kw("res.partner", "mail_action_blacklist_remove", [[partner]])
    assert action["res_model"] == "mail.blacklist.remove"
    assert odoo.read("res.partner", partner, "is_blacklisted")["is_blacklisted"] is True


def test_the_blacklist_needs_the_right_of_email_marketing(odoo: SandboxOdoo) -> None:
    odoo.add_partner(name="A", email="a@e.com", ref="t")
    odoo.blacklist("a@e.com")
    odoo.add_user("clerk", "secret", groups=("internal",))
    odoo.add_user("marketer", "secret", groups=("email_marketing",))
    clerk = log_in(odoo, "clerk", "secret")
    name, message = error_of(lambda: clerk.execute_kw("mail.blacklist", "search", [[]]))
    assert name == "odoo.exceptions.AccessError"
    assert "Email Marketing/User" in message
    found = clerk.execute_kw("res.partner", "search_read", [[["ref", "=", "t"]], ["is_blacklisted"]])
    assert found[0]["is_blacklisted"] is True
    assert len(log_in(odoo, "marketer", "secret").execute_kw("mail.blacklist", "search", [[]])) == 1


def test_a_subscription_through_list_ids_has_no_dates_until_its_first_edit(
    odoo: SandboxOdoo, admin: odoorpc.ODOO
) -> None:
    newsletter = odoo.add_mailing_list("Newsletter")
    contact = admin.execute_kw(
        "mailing.contact", "create", [{"name": "A", "email": "A@e.com", "list_ids": [[6, 0, [newsletter]]]}]
    )
    fields = ["contact_id", "list_id", "opt_out", "opt_out_datetime", "create_date", "write_date"]
    (row,) = admin.execute_kw("mailing.subscription", "search_read", [[], fields])
    id = row.pop("id")
    assert row == {
        "contact_id": [contact, "A"],
        "list_id": [newsletter, "Newsletter (1)"],
        "opt_out": False,
        "opt_out_datetime": False,
        "create_date": False,
        "write_date": False,
    }
    since = [["write_date", ">=", "2000-01-01 00:00:00"]]
    assert admin.execute_kw("mailing.subscription", "search", [since]) == []
    odoo.opt_out(id)
    assert admin.execute_kw("mailing.subscription", "search", [since]) == [id]
    assert odoo.read("mailing.subscription", id, "opt_out_datetime")["opt_out_datetime"]


def test_a_contact_is_once_on_a_list_and_opted_out_there_only(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    news, offers = odoo.add_mailing_list("News"), odoo.add_mailing_list("Offers")
    odoo.subscribe(news, "a@e.com", opt_out=True)
    odoo.subscribe(offers, "A@e.com", dated=False)
    (contact,) = odoo.search("mailing.contact")
    assert odoo.read("mailing.contact", contact, "list_ids", "opt_out") == {
        "id": contact,
        "list_ids": [news, offers],
        "opt_out": False,
    }
    seen = {
        list_id: admin.execute_kw(
            "mailing.contact", "read", [[contact], ["opt_out"]], {"context": {"default_list_ids": [list_id]}}
        )[0]["opt_out"]
        for list_id in (news, offers)
    }
    assert seen == {news: True, offers: False}
    again = {"contact_id": contact, "list_id": news}
    name, _ = error_of(lambda: admin.execute_kw("mailing.subscription", "create", [again]))
    assert name == "odoo.exceptions.ValidationError"
