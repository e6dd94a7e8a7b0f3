"""Opting out in bulk, without rights, and with the connection breaking at every call."""

from datetime import UTC, datetime

import pytest

from mc_pipeline.odoo.client import ConnectedClient
from mc_pipeline.odoo.errors import OdooAccessError, OdooError, OdooValidationError
from mc_pipeline.odoo.opting_out import BlacklistRow, blacklist, clear_field, lift, opt_out_of_list
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.conftest import logged_in

BREAKS = ("reset_before", "reset_after", "truncated", "html_502", "json_500")


def calls(sandbox: SandboxOdoo) -> int:
    return len([entry for entry in sandbox.journal.requests if "jsonrpc" in entry.path])


def test_five_thousand_addresses_need_a_bounded_number_of_calls(
    sandbox: SandboxOdoo, client: ConnectedClient
) -> None:
    addresses = [f"person{number}@example.com" for number in range(5000)]
    for address in addresses[:10]:
        sandbox.blacklist(address)
        sandbox.unblacklist(address)
    before = calls(sandbox)
    results = blacklist(client, addresses)
    assert {result.outcome for result in results} == {"applied"}
    assert len(results) == len(sandbox.database.blacklisted()) == 5000
    # for each thousand: what is there, create, read back; once more for the archived rows
    assert calls(sandbox) - before == 5 * 3 + 1
    before = calls(sandbox)
    assert {result.outcome for result in blacklist(client, addresses)} == {"unchanged"}
    assert calls(sandbox) - before == 5


def test_rights_that_are_missing_are_named(sandbox: SandboxOdoo) -> None:
    sandbox.add_user("clerk", "secret", groups=("internal",))
    with logged_in(sandbox, "clerk", "secret") as clerk:
        with pytest.raises(OdooAccessError, match="Email Marketing / User"):
            blacklist(clerk, ["ada@example.com"])
        with pytest.raises(OdooAccessError, match="Email Marketing / User"):
            opt_out_of_list(clerk, 1, ["ada@example.com"])
    assert sandbox.search("mail.blacklist") == []


@pytest.mark.parametrize("kind", BREAKS)
def test_a_connection_that_breaks_at_any_call_leaves_everybody_opted_out_or_says_so(
    sandbox: SandboxOdoo, client: ConnectedClient, kind: str
) -> None:
    for position in range(6):
        new, archived = f"new{position}@example.com", f"archived{position}@example.com"
        sandbox.blacklist(archived)
        sandbox.unblacklist(archived)
        fault = sandbox.faults.add(Fault(kind, match_body_regex="mail.blacklist", skip=position))  # type: ignore[arg-type]
        results = blacklist(client, [new, archived])
        assert {new, archived} <= sandbox.database.blacklisted()
        assert [result.outcome for result in results] == ["applied", "applied"]
        rows = sandbox.search("mail.blacklist", [("email", "in", [new, archived])])
        assert sorted(result.blacklist_id or 0 for result in results) == rows
        assert fault.fired == (1 if position < 4 else 0), "the calls are: read, unarchive, create, read"
        sandbox.faults.clear()


def test_an_odoo_that_stays_away_ends_with_an_error_or_with_not_knowing(
    sandbox: SandboxOdoo, client: ConnectedClient
) -> None:
    sandbox.faults.add(Fault("html_502", match_body_regex='"create"', times=None))
    (result,) = blacklist(client, ["ada@example.com"])
    assert (result.outcome, result.blacklist_id) == ("unknown", None)
    sandbox.faults.add(Fault("html_502", match_body_regex="search_read", times=None))
    with pytest.raises(OdooError):
        blacklist(client, ["ada@example.com"])


@pytest.mark.parametrize("kind", BREAKS)
def test_a_lift_that_breaks_is_finished_and_a_row_of_somebody_else_stays(
    sandbox: SandboxOdoo, client: ConnectedClient, kind: str
) -> None:
    (made,) = blacklist(client, ["ada@example.com"])
    assert made.blacklist_id is not None
    sandbox.faults.add(Fault(kind, match_body_regex='"write"'))  # type: ignore[arg-type]
    row = BlacklistRow(made.address, made.blacklist_id, made.write_date)
    assert [result.outcome for result in lift(client, [row])] == ["applied"]
    assert "ada@example.com" not in sandbox.database.blacklisted()
    with sandbox.at(datetime(2031, 1, 1, tzinfo=UTC)):
        sandbox.blacklist("ada@example.com")
    assert [result.outcome for result in lift(client, [row])] == ["held_back"]
    assert "ada@example.com" in sandbox.database.blacklisted()


def test_a_row_that_somebody_else_makes_in_the_same_moment_is_not_ours(
    sandbox: SandboxOdoo, client: ConnectedClient
) -> None:
    """Odoo answers the creation of a row that is there already with its id."""
    original = client.execute

    def execute(model: str, method: str, *args: object, **kwargs: object) -> object:
        if method == "create":
            sandbox.blacklist("ada@example.com")
        return original(model, method, *args, **kwargs)

    client.execute = execute  # type: ignore[method-assign]
    (result,) = blacklist(client, ["ada@example.com"])
    assert (result.outcome, result.by_us) == ("applied", False)


@pytest.mark.parametrize("kind", BREAKS)
def test_leaving_a_mailing_list_survives_a_break_without_a_second_contact(
    sandbox: SandboxOdoo, client: ConnectedClient, kind: str
) -> None:
    newsletter = sandbox.add_mailing_list("Newsletter")
    sandbox.subscribe(newsletter, "listed@example.com")
    for position in range(3):
        stranger = f"stranger{position}@example.com"
        sandbox.faults.add(Fault(kind, match_body_regex='"(create|write)"', skip=position))  # type: ignore[arg-type]
        results = opt_out_of_list(client, newsletter, ["listed@example.com", stranger])
        sandbox.faults.clear()
        assert {result.outcome for result in results} <= {"applied", "unchanged"}
        assert len(sandbox.search("mailing.contact", [("email", "=", stranger)])) == 1
        assert sandbox.search("mailing.subscription", [("opt_out", "=", False)]) == []


def test_one_partner_that_odoo_refuses_to_write_blocks_only_itself(
    sandbox: SandboxOdoo, client: ConnectedClient
) -> None:
    partners = {
        email: sandbox.add_partner(name="Ada", email=email, is_company=True)
        for email in ("a@example.com", "b@example.com", "c@example.com")
    }
    original = client.execute

    def execute(model: str, method: str, *args: object, **kwargs: object) -> object:
        if method == "write" and partners["b@example.com"] in args[0]:  # type: ignore[operator]
            raise OdooValidationError("Odoo refused res.partner.write: a rule of this database")
        return original(model, method, *args, **kwargs)

    client.execute = execute  # type: ignore[method-assign]
    results = clear_field(client, "is_company", partners)
    assert [result.outcome for result in results] == ["applied", "rejected", "applied"]
