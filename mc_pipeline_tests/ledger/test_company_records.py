"""The memory of who was a company: per partner, never older than what is there, and erasable."""

from datetime import timedelta

from mc_pipeline.ledger.company_records import RememberedPartner
from mc_pipeline_tests.ledger.conftest import START

ACME = RememberedPartner(True, 1, None, "a1")
ANN = RememberedPartner(False, 1, 1, "", "Her own Ltd")


def test_what_was_read_is_remembered_and_only_changes_are_written(ledger):
    records = ledger.company_records
    assert records.remember("odoo", {1: ACME, 2: ANN}, START) == 2
    assert records.of("odoo") == {1: ACME, 2: ANN}
    assert records.remember("odoo", {1: ACME, 2: ANN}, START + timedelta(days=1)) == 0
    moved = RememberedPartner(False, 2, None, "")
    assert records.remember("odoo", {2: moved}, START + timedelta(days=2)) == 1
    assert records.of("odoo") == {1: ACME, 2: moved}
    assert records.count("odoo") == 2


def test_the_read_that_began_later_stays_whichever_is_written_last(ledger):
    records = ledger.company_records
    later = RememberedPartner(False, 1, None, "")
    records.remember("odoo", {1: later}, START + timedelta(minutes=5))
    records.remember("odoo", {1: ACME}, START)
    assert records.of("odoo") == {1: later}


def test_another_database_of_odoo_has_a_memory_of_its_own(ledger):
    records = ledger.company_records
    records.remember("odoo", {1: ACME}, START)
    records.remember("test copy", {1: ANN}, START)
    assert records.of("odoo") == {1: ACME}
    assert records.of("test copy") == {1: ANN}
    assert records.of("new") == {}


def test_it_does_not_show_names_in_a_log():
    assert "Her own" not in repr(ANN)


def remembered(ledger) -> set[int]:
    return set(ledger.company_records.of("odoo"))


def test_an_erasure_forgets_the_partners_of_the_tombstone_and_those_gone_from_odoo(ledger):
    ledger.company_records.remember("odoo", dict.fromkeys(range(1, 6), ANN), START)
    addresses = {2: "ann@example.com", 3: "ann@example.com", 4: "bob@example.com", 5: "ann@example.com"}
    ledger.partner_addresses.observe(addresses, START)
    ledger.partner_addresses.remember_gone({3: None}, START)
    # Partner 5 passed the address on long ago: it is somebody else.
    ledger.partner_addresses.observe({5: "eve@example.com"}, START + timedelta(hours=1))
    ledger.erasures.request("erased:1", "key", [1], reason="asked", by="Eve")
    assert ledger.erasures.traces("ann@example.com")["ledger_company_record"] == 2
    assert ledger.erasures.forget("ann@example.com", "erased:1")["ledger_company_record"] == 3
    assert remembered(ledger) == {4, 5}


def test_what_a_run_remembers_after_the_erasure_is_forgotten_at_its_end(ledger):
    ledger.erasures.request("erased:1", "key", [1], reason="asked", by="Eve")
    ledger.erasures.forget("ann@example.com", "erased:1")
    ledger.erasures.complete("erased:1", {"done": []})
    ledger.company_records.remember("odoo", {1: ANN, 2: ACME}, START)
    assert ledger.erasures.forget_again(lambda email: None) == 1
    assert remembered(ledger) == {2}
    assert ledger.erasures.forget_again(lambda email: None) == 0
