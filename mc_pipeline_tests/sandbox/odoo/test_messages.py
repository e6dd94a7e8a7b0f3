"""Messages in the chatter, as RPC creates and reads them (what is expected was measured on a real Odoo)."""

from __future__ import annotations

import pytest
from odoorpc.error import RPCError

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.sandbox.odoo.conftest import log_in


def _message(model: str, id: int) -> dict[str, object]:
    return {"model": model, "res_id": id, "body": "<p>why</p>", "message_type": "notification"}


def test_who_may_write_a_record_may_create_messages_about_it(odoo: SandboxOdoo) -> None:
    partner = odoo.add_partner(name="Ada", email="ada@example.com")
    row = odoo.blacklist("ada@example.com")
    odoo.add_user("marketer", "marketer", groups=("email_marketing",))
    odoo.add_user("clerk", "clerk", groups=("partner_manager",))
    allowed = {("marketer", "mail.blacklist"): row, ("clerk", "res.partner"): partner}
    refused = {("marketer", "res.partner"): partner, ("clerk", "mail.blacklist"): row}
    for (login, model), id in allowed.items():
        log_in(odoo, login, login).execute_kw("mail.message", "create", [[_message(model, id)]], {})
        assert odoo.notes(model, id) == ["<p>why</p>"]
    for (login, model), id in refused.items():
        with pytest.raises(RPCError, match="Document type: Message, Operation: create"):
            log_in(odoo, login, login).execute_kw("mail.message", "create", [[_message(model, id)]], {})
        assert odoo.notes(model, id) == ["<p>why</p>"]


def test_one_record_that_is_gone_undoes_the_whole_call(odoo: SandboxOdoo) -> None:
    first, second = (odoo.add_partner(name=name, email=f"{name}@example.com") for name in ("a", "b"))
    client = log_in(odoo)
    odoo.unlink("res.partner", second)
    both = [_message("res.partner", first), _message("res.partner", second)]
    with pytest.raises(RPCError, match="Record does not exist or has been deleted"):
        client.execute_kw("mail.message", "create", [both], {})
    assert odoo.notes("res.partner", first) == []


def test_from_19_on_a_record_that_is_gone_is_missed_only_where_its_model_has_a_record_rule(
    odoo: SandboxOdoo,
) -> None:
    first, second = odoo.blacklist("a@example.com"), odoo.blacklist("b@example.com")
    client = log_in(odoo)
    odoo.unlink("mail.blacklist", second)
    both = [_message("mail.blacklist", first), _message("mail.blacklist", second)]
    if odoo.database.release.major >= 19:
        assert len(client.execute_kw("mail.message", "create", [both], {})) == 2
        assert odoo.notes("mail.blacklist", first) == ["<p>why</p>"]
    else:
        with pytest.raises(RPCError, match="Record does not exist or has been deleted"):
            client.execute_kw("mail.message", "create", [both], {})
        assert odoo.notes("mail.blacklist", first) == []


def test_a_message_has_its_author_and_leaves_the_record_alone(odoo: SandboxOdoo) -> None:
    row = odoo.blacklist("a@example.com")
    before = odoo.read("mail.blacklist", row, "write_date", "write_uid")
    client = log_in(odoo)
    created = client.execute_kw("mail.message", "create", [_message("mail.blacklist", row)], {})
    assert isinstance(created, int)
    assert odoo.read("mail.blacklist", row, "write_date", "write_uid") == before
    author = odoo.read("mail.message", created, "author_id")["author_id"]
    assert odoo.read("res.partner", author, "name")["name"] == "Administrator"


def test_a_message_is_seen_by_its_author_and_by_who_may_read_the_record(odoo: SandboxOdoo) -> None:
    row = odoo.blacklist("a@example.com")
    odoo.add_user("marketer", "marketer", groups=("email_marketing",))
    odoo.add_user("plain", "plain")
    marketer, plain = log_in(odoo, "marketer", "marketer"), log_in(odoo, "plain", "plain")
    marketer.execute_kw("mail.message", "create", [[_message("mail.blacklist", row)]], {})
    query = [[["model", "=", "mail.blacklist"]]]
    assert len(marketer.execute_kw("mail.message", "search", query, {})) == 1
    assert plain.execute_kw("mail.message", "search", query, {}) == []
    assert plain.execute_kw("mail.message.subtype", "search", [[["name", "=", "Note"]]], {}) == [2]
