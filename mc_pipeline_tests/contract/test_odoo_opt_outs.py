"""Opting out in Odoo: every case in which Odoo does something else than one would think.

The same over both transports, on the stand-in and on real servers.
"""

from dataclasses import replace

import pytest

from mc_pipeline.odoo.errors import OdooValidationError
from mc_pipeline.odoo.opting_out import (
    BlacklistRow,
    OptOutResult,
    blacklist,
    clear_field,
    find_mailing_list,
    lift,
    opt_out_of_list,
    read_blacklist_rows,
)


def is_out(odoo, address: str) -> bool:
    rows = odoo.client.search_read("mail.blacklist", [("email", "=", address)], ["active"])
    return [row["active"] for row in rows] == [True]


def outcomes(results: list[OptOutResult]) -> dict[str, str]:
    return {result.address: result.outcome for result in results}


def row_of(result: OptOutResult) -> BlacklistRow:
    assert result.blacklist_id is not None
    return BlacklistRow(result.address, result.blacklist_id, result.write_date)


def test_whatever_row_there_is_the_address_is_opted_out_and_read_back(odoo, mark):
    new, active, archived = (f"{mark}-{state}@example.com" for state in ("new", "active", "archived"))
    row = odoo.create("mail.blacklist", email=active)
    old = odoo.create("mail.blacklist", email=archived)
    odoo.client.execute("mail.blacklist", "action_archive", [old])
    results = blacklist(odoo.client, [new, active, archived])
    assert outcomes(results) == {new: "applied", active: "unchanged", archived: "applied"}
    assert all(is_out(odoo, address) for address in (new, active, archived))
    assert {result.address: result.by_us for result in results} == {new: True, active: False, archived: True}
    assert [result.blacklist_id for result in results][1:] == [row, old]
    assert set(outcomes(blacklist(odoo.client, [new, active, archived])).values()) == {"unchanged"}


def test_odoo_itself_leaves_an_archived_row_archived_when_it_is_created_again(odoo, mark):
    """Why results are read back."""
    row = odoo.create("mail.blacklist", email=f"{mark}@example.com")
    odoo.client.execute("mail.blacklist", "action_archive", [row])
    again = odoo.client.execute(
        "mail.blacklist", "create", [{"email": f"{mark}@example.com", "active": True}] * 2
    )
    assert again == [row]
    assert not is_out(odoo, f"{mark}@example.com")


def test_all_partners_with_the_address_are_opted_out_however_it_is_typed(odoo, mark):
    partners = [
        odoo.create("res.partner", name=mark, email=email)
        for email in (f"{mark}@example.com", f" {mark.upper()}@Example.COM ", f'"Ada" <{mark}@example.com>')
    ]
    blacklist(odoo.client, [f"{mark}@example.com"])
    read = odoo.client.read("res.partner", partners, ["is_blacklisted", "email_normalized"])
    assert {(row["email_normalized"], row["is_blacklisted"]) for row in read} == {
        (f"{mark}@example.com", True)
    }


def test_addresses_named_twice_are_one(odoo, mark):
    results = blacklist(odoo.client, [f"{mark}@example.com", f" {mark}@example.com", f"{mark}@example.com"])
    assert outcomes(results) == {f"{mark}@example.com": "applied"}


def test_one_invalid_address_is_refused_alone(odoo, mark):
    valid = [f"{mark}-{number}@example.com" for number in range(5)]
    results = blacklist(odoo.client, [*valid[:2], f"{mark} no address", *valid[2:]])
    assert outcomes(results) == dict.fromkeys(valid, "applied") | {f"{mark} no address": "rejected"}
    assert all(is_out(odoo, address) for address in valid)
    assert [result.detail for result in results if result.outcome == "rejected"] != [""]


def test_an_address_in_mixed_case_is_opted_out_in_the_form_that_odoo_keeps(odoo, mark):
    (result,) = blacklist(odoo.client, [f"{mark.upper()}@Example.com"])
    assert (result.outcome, "another form" in result.detail) == ("applied", True)
    assert is_out(odoo, f"{mark}@example.com")


def test_letters_beyond_ascii_keep_their_case_and_are_a_row_of_their_own(odoo, mark):
    results = blacklist(odoo.client, [f"É{mark}@example.com", f"é{mark}@example.com"])
    assert [result.outcome for result in results] == ["applied", "applied"]
    assert len({result.blacklist_id for result in results}) == 2


def test_a_row_of_ours_is_removed_as_long_as_nobody_touched_it(odoo, mark):
    address = f"{mark}@example.com"
    (made,) = blacklist(odoo.client, [address])
    other = replace(row_of(made), write_date=None)  # as if somebody had written it since
    assert outcomes(lift(odoo.client, [other])) == {address: "held_back"}
    assert is_out(odoo, address)
    assert outcomes(lift(odoo.client, [row_of(made)])) == {address: "applied"}
    assert not is_out(odoo, address)
    assert outcomes(lift(odoo.client, [row_of(made)])) == {address: "unchanged"}
    (again,) = blacklist(odoo.client, [address])
    assert (again.outcome, again.blacklist_id) == ("applied", made.blacklist_id)


def test_a_row_that_somebody_deleted_needs_no_removal(odoo, mark):
    (made,) = blacklist(odoo.client, [f"{mark}@example.com"])
    odoo.client.execute("mail.blacklist", "unlink", [made.blacklist_id])
    assert outcomes(lift(odoo.client, [row_of(made)])) == {f"{mark}@example.com": "unchanged"}


def test_how_addresses_stand_can_be_read_after_an_answer_was_lost(odoo, mark):
    made, lifted = blacklist(odoo.client, [f"{mark}-1@example.com", f"{mark}-2@example.com"])
    lift(odoo.client, [row_of(lifted)])
    found = read_blacklist_rows(odoo.client, [made.address, lifted.address, f"{mark}-3@example.com"])
    assert {address: (row.outcome, row.by_us) for address, row in found.items()} == {
        made.address: ("applied", True),
        lifted.address: ("unchanged", False),
    }


def test_a_mailing_list_is_left_by_all_contacts_and_by_a_new_one_where_there_is_none(odoo, mark):
    newsletter = odoo.create("mailing.list", name=mark)
    other = odoo.create("mailing.list", name=f"{mark} other")
    listed, twin, stranger, out = (f"{mark}-{name}@example.com" for name in ("a", "b", "c", "d"))
    for email in (listed, twin, twin.upper(), out):
        contact = odoo.create("mailing.contact", name=mark, email=email)
        odoo.create("mailing.subscription", contact_id=contact, list_id=newsletter, opt_out=email == out)
        odoo.create("mailing.subscription", contact_id=contact, list_id=other)
    unlisted = odoo.create("mailing.contact", name=mark, email=f"{mark}-e@example.com")
    addresses = [listed, twin, stranger, out, f"{mark}-e@example.com"]
    results = opt_out_of_list(odoo.client, newsletter, addresses)
    assert outcomes(results) == dict.fromkeys(addresses, "applied") | {out: "unchanged"}
    rows = odoo.client.search_read(
        "mailing.subscription", [("list_id", "in", [newsletter, other])], ["contact_id", "list_id", "opt_out"]
    )
    of_newsletter = [row for row in rows if row["list_id"] == newsletter]
    assert len(of_newsletter) == 6
    assert all(row["opt_out"] for row in of_newsletter)
    assert unlisted in {row["contact_id"] for row in of_newsletter}
    assert {row["opt_out"] for row in rows if row["list_id"] == other} == {False}
    assert set(outcomes(opt_out_of_list(odoo.client, newsletter, addresses)).values()) == {"unchanged"}


def test_what_is_no_address_makes_no_second_contact(odoo, mark):
    newsletter = odoo.create("mailing.list", name=mark)
    (result,) = opt_out_of_list(odoo.client, newsletter, [f"{mark} no address"])
    assert result.outcome == "rejected"
    assert odoo.client.search_count("mailing.contact", [("name", "like", mark)]) == 1


def test_a_mailing_list_is_found_by_name_or_id_and_never_guessed(odoo, mark):
    newsletter = odoo.create("mailing.list", name=f"{mark} News_letter")
    assert find_mailing_list(odoo.client, f" {mark} news_letter ") == newsletter
    assert find_mailing_list(odoo.client, newsletter) == newsletter
    odoo.create("mailing.list", name=f"{mark} News_letter")
    for name in (f"{mark} News_letter", f"{mark} nothing"):
        with pytest.raises(OdooValidationError, match=f"{mark}.*name one by its id"):
            find_mailing_list(odoo.client, name)


def test_a_field_is_unticked_on_every_partner_with_the_address(odoo, mark):
    """``employee`` is a boolean that every server has and lets be written."""
    addresses = [f"{mark}-1@example.com", f"{mark}-2@example.com"]
    ticked = [
        odoo.create("res.partner", name=mark, email=email, employee=True)
        for email in (addresses[0], addresses[0].upper())
    ]
    other = odoo.create("res.partner", name=mark, email=f"{mark}-3@example.com", employee=True)
    results = clear_field(odoo.client, "employee", addresses)
    assert outcomes(results) == {addresses[0]: "applied", addresses[1]: "unchanged"}
    read = odoo.client.read("res.partner", [*ticked, other], ["employee"])
    assert [row["employee"] for row in read] == [False, False, True]
