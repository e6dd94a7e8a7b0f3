"""One writer per company, and no write by one who lost the lease (RULES 7.5)."""

import re
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from mc_pipeline.ledger import LeaseHeldError, LeaseLostError, Ledger, LedgerError, Outcome
from mc_pipeline_tests.ledger.conftest import START, Clock, an_intent, observed

MINUTE = timedelta(minutes=1)


def test_a_company_has_one_writer_and_others_are_told_who_and_until_when(ledger: Ledger) -> None:
    with (
        ledger.leases.hold("acme", "run-1", MINUTE),
        pytest.raises(LeaseHeldError) as refusal,
        ledger.leases.hold("acme", "run-2", MINUTE),
    ):
        pass
    assert "company acme is being synced by run-1 since 2026-03-02 06:00:00 UTC" in str(refusal.value)
    assert "it becomes free at 2026-03-02 06:01:00 UTC" in str(refusal.value)


def test_companies_do_not_wait_for_each_other(ledger: Ledger) -> None:
    with ledger.leases.hold("acme", "run-1"), ledger.leases.hold("other", "run-2") as lease:
        lease.check()


def test_the_lease_is_free_after_its_end_also_when_that_was_an_error(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt), ledger.leases.hold("acme", "run-1"):
        raise KeyboardInterrupt
    assert ledger.leases.current("acme") is None
    with ledger.leases.hold("acme", "run-2") as lease:
        lease.check()


def test_the_fencing_number_goes_up_with_every_new_owner(ledger: Ledger) -> None:
    fences = []
    for run in ("run-1", "run-2", "run-2"):
        with ledger.leases.hold("acme", run) as lease:
            fences.append(lease.fence)
    assert fences == [1, 2, 3]


def test_the_same_owner_may_hold_it_again_and_the_last_one_frees_it(ledger: Ledger) -> None:
    with ledger.leases.hold("acme", "run-1") as outer:
        with ledger.leases.hold("acme", "run-1") as inner:
            assert inner.fence == outer.fence
        ledger.intents.record("acme", outer.fence, "run-1", [an_intent()])
        assert ledger.leases.current("acme") is not None
    assert ledger.leases.current("acme") is None


def test_what_a_crash_left_held_is_free_when_it_expires(ledger_url: str, clock: Clock) -> None:
    crash = (
        "import os, sys\n"
        "from datetime import datetime, timedelta\n"
        "from mc_pipeline.ledger import Ledger\n"
        "ledger = Ledger.open(sys.argv[1], clock=lambda: datetime.fromisoformat(sys.argv[2]))\n"
        "held = ledger.leases.hold('acme', 'run-1', timedelta(minutes=1))\n"
        "held.__enter__()\n"
        "os._exit(9)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", crash, ledger_url, START.isoformat()], check=False, timeout=60
    )
    assert ended.returncode == 9
    with Ledger.open(ledger_url, clock=clock) as ledger:
        with pytest.raises(LeaseHeldError), ledger.leases.hold("acme", "run-2"):
            pass
        clock.pass_time(seconds=60)
        with ledger.leases.hold("acme", "run-2") as lease:
            assert lease.fence == 2


def test_an_owner_who_slept_through_the_expiry_can_write_nothing_after_a_successor(
    ledger: Ledger, clock: Clock
) -> None:
    with ledger.leases.hold("acme", "run-1", MINUTE) as asleep:
        [intent] = ledger.intents.record("acme", asleep.fence, "run-1", [an_intent()])
        clock.pass_time(minutes=2)
        with ledger.leases.hold("acme", "run-2", MINUTE) as awake:
            with pytest.raises(LeaseLostError, match=r"run-2 holds it with number 2"):
                ledger.intents.record("acme", asleep.fence, "run-1", [an_intent(email="bob@example.com")])
            with pytest.raises(LeaseLostError):
                ledger.intents.mark_submitted("acme", asleep.fence, [intent], None)
            with pytest.raises(LeaseLostError):
                ledger.intents.settle("acme", asleep.fence, [(intent, Outcome(outcome="applied"))])
            with pytest.raises(LeaseLostError):
                ledger.members.observe("acme", observed(), True, clock(), fence=asleep.fence)
            with pytest.raises(LeaseLostError):
                asleep.renew()
            with pytest.raises(LeaseLostError):
                asleep.check()
            [still_open] = ledger.intents.open("acme")
            assert still_open.id == intent
            assert ledger.members.of_email("ann@example.com").empty
            ledger.intents.settle("acme", awake.fence, [(intent, Outcome(outcome="applied"))])
    assert ledger.intents.open("acme") == []


def test_an_owner_who_slept_through_the_expiry_stops_even_when_nobody_came(
    ledger: Ledger, clock: Clock
) -> None:
    with ledger.leases.hold("acme", "run-1", MINUTE) as lease:
        clock.pass_time(seconds=60)
        with pytest.raises(LeaseLostError, match="ran out"):
            lease.check()
        with pytest.raises(LeaseLostError, match="ran out"):
            ledger.intents.record("acme", lease.fence, "run-1", [an_intent()])


def test_waking_up_late_does_not_free_the_lease_of_the_successor(ledger: Ledger, clock: Clock) -> None:
    asleep = ledger.leases.hold("acme", "run-1", MINUTE)
    asleep.__enter__()
    clock.pass_time(minutes=2)
    with ledger.leases.hold("acme", "run-2", MINUTE) as awake:
        asleep.__exit__(None, None, None)
        ledger.intents.record("acme", awake.fence, "run-2", [an_intent()])


def test_a_lease_that_was_released_allows_no_more_writes(ledger: Ledger) -> None:
    with ledger.leases.hold("acme", "run-1") as lease:
        pass
    with pytest.raises(LeaseLostError, match="released"):
        ledger.intents.record("acme", lease.fence, "run-1", [an_intent()])


def test_renewing_moves_the_expiry_away(ledger: Ledger, clock: Clock) -> None:
    with ledger.leases.hold("acme", "run-1", MINUTE) as lease:
        clock.pass_time(seconds=50)
        lease.renew()
        clock.pass_time(seconds=50)
        lease.check()
        ledger.intents.record("acme", lease.fence, "run-1", [an_intent()])


def test_the_heartbeat_renews_by_itself(ledger_url: str) -> None:
    renewed = threading.Event()
    with (
        Ledger.open(ledger_url) as ledger,
        ledger.leases.hold("acme", "run-1", timedelta(seconds=3)) as lease,
    ):
        first = ledger.leases.current("acme")
        assert first is not None
        for _ in range(200):
            state = ledger.leases.current("acme")
            if state is not None and state.expires_at > first.expires_at:
                break
            renewed.wait(0.05)
        else:
            pytest.fail("the lease was not renewed within ten seconds")
        lease.check()


def test_a_fencing_number_of_another_company_does_not_count(ledger: Ledger) -> None:
    with ledger.leases.hold("acme", "run-1"), ledger.leases.hold("other", "run-2"):
        pass
    with ledger.leases.hold("acme", "run-3") as second, ledger.leases.hold("fresh", "run-4"):
        assert second.fence == 2
        with pytest.raises(LeaseLostError):
            ledger.intents.record("fresh", second.fence, "run-3", [an_intent()])


def test_a_lease_needs_a_positive_time_to_live(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="positive"), ledger.leases.hold("acme", "run-1", timedelta(0)):
        pass


def test_the_message_of_a_lost_lease_says_what_to_do(ledger: Ledger, clock: Clock) -> None:
    with ledger.leases.hold("acme", "run-1", MINUTE) as lease:
        clock.pass_time(minutes=1)
        with pytest.raises(LeaseLostError) as lost:
            lease.check()
    assert re.search(r"company acme .* this run must stop; the next one settles", str(lost.value))
