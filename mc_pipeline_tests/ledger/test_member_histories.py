"""Any sequence of writes, crashes, people's own acts and reads leaves a record that tells the truth.

The machine plays Mailchimp (a status and tags per address) and remembers what a perfect witness would
know; the ledger learns only by outcomes and reads.
"""

import json
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mc_pipeline.ledger import Ledger, Outcome
from mc_pipeline_tests.ledger.conftest import Clock, an_intent, observed
from mc_pipeline_tests.new_ledger import put_new_ledger

PEOPLE = [f"{name}@example.com" for name in ("ann", "bob", "eve")]
people = st.sampled_from(PEOPLE)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.closing = ExitStack()
        folder = Path(self.closing.enter_context(tempfile.TemporaryDirectory()))
        put_new_ledger(folder / "ledger.db")
        self.clock = Clock()
        self.ledger = self.closing.enter_context(
            Ledger.open(f"sqlite:///{folder}/ledger.db", clock=self.clock)
        )
        self.status: dict[str, str] = {}
        self.changed_at: dict[str, Any] = {}
        self.tags: dict[str, set[str]] = {}
        self.open: dict[int, tuple[str, str, bool]] = {}
        self.sent: dict[str, dict[str, int]] = {}
        self.seen_subscribed: set[str] = set()
        self.seen_opted_out: set[str] = set()
        self.own_opt_outs: set[str] = set()
        self.events = 0
        self.number = 0

    @initialize()
    def begin(self) -> None:
        self.lease = self.closing.enter_context(
            self.ledger.leases.hold("acme", "run-1", timedelta(days=3650))
        )

    def teardown(self) -> None:
        self.closing.close()

    def _write(self, operation: str, email: str, body: dict[str, Any], arrives: bool, answered: bool) -> None:
        """Send one write: it arrives or not, and the answer comes back or not."""
        self.clock.pass_time(minutes=10)
        [number] = self.ledger.intents.record(
            "acme", self.lease.fence, "run-1", [an_intent(operation, email=email, body=body)]
        )
        if arrives:
            self._apply(operation, email, body)
        if answered:
            self._settle(number, operation, email, body, arrives)
        else:
            self.open[number] = (operation, email, arrives)

    def _apply(self, operation: str, email: str, body: dict[str, Any]) -> None:
        status = {"create": "transactional", "unsubscribe": "unsubscribed", "archive": "archived"}.get(
            operation
        )
        if status is not None:
            self.status[email] = status
            self.changed_at[email] = self.clock()

    def _settle(self, number: int, operation: str, email: str, body: dict[str, Any], arrived: bool) -> None:
        outcome = "applied" if arrived else "not_sent"
        self.ledger.intents.settle("acme", self.lease.fence, [(number, Outcome(outcome=outcome))])
        if not arrived:
            return
        if operation == "unsubscribe":
            self.seen_opted_out.add(email)
            self.own_opt_outs.add(email)
        if operation == "tag":
            self.tags.setdefault(email, set()).add(body["tag"])
        if operation in ("create", "update"):
            self.sent.setdefault(email, {}).update(body["merge_fields"])

    def _free(self, email: str) -> bool:
        """Nothing about the address is open: an outcome comes before the next write (RULES 7.4)."""
        return all(about != email for _operation, about, _arrived in self.open.values())

    @rule(email=people, arrives=st.booleans(), answered=st.booleans())
    def create(self, email: str, arrives: bool, answered: bool) -> None:
        self.number += 1
        if self.status.get(email) in (None, "archived") and self._free(email):
            body = {
                "email_address": email,
                "status": "transactional",
                "merge_fields": {"ORDERS": self.number},
            }
            self._write("create", email, body, arrives, answered)

    @rule(
        email=people,
        operation=st.sampled_from(["unsubscribe", "archive"]),
        arrives=st.booleans(),
        answered=st.booleans(),
    )
    def restrict(self, email: str, operation: str, arrives: bool, answered: bool) -> None:
        if self.status.get(email) in ("subscribed", "transactional") and self._free(email):
            self._write(operation, email, {}, arrives, answered)

    @rule(email=people, tag=st.sampled_from(["VIP", "B2B"]), arrives=st.booleans())
    def tag(self, email: str, tag: str, arrives: bool) -> None:
        if self.status.get(email) in ("subscribed", "transactional") and self._free(email):
            self._write("tag", email, {"tag": tag}, arrives, answered=True)

    @rule(
        email=people,
        field=st.sampled_from(["ORDERS", "SPENT"]),
        arrives=st.booleans(),
        answered=st.booleans(),
    )
    def update(self, email: str, field: str, arrives: bool, answered: bool) -> None:
        self.number += 1
        if email in self.status and self._free(email):
            self._write("update", email, {"merge_fields": {field: self.number}}, arrives, answered)

    @precondition(lambda self: self.open)
    @rule()
    def resolve_what_a_crash_left(self) -> None:
        self.clock.pass_time(minutes=10)
        for one in self.ledger.intents.open("acme"):
            operation, email, arrived = self.open.pop(one.id)
            self._settle(one.id, operation, email, one.body, arrived)

    @rule(email=people, status=st.sampled_from(["subscribed", "unsubscribed", "cleaned", "archived"]))
    def a_person_acts(self, email: str, status: str) -> None:
        if email in self.status and self._free(email) and self.status[email] != status:
            self.clock.pass_time(minutes=10)
            self.status[email] = status
            self.changed_at[email] = self.clock()

    @rule(email=people)
    def somebody_signs_up(self, email: str) -> None:
        if email not in self.status and self._free(email):
            self.status[email] = "subscribed"
            self.changed_at[email] = self.clock.pass_time(minutes=10)

    @rule(complete=st.booleans())
    def observe(self, complete: bool) -> None:
        at = self.clock.pass_time(minutes=10)
        rows = observed(
            *self.status.items(),
            last_changed=[self.changed_at[email] for email in self.status] if self.status else None,
        )
        self.ledger.members.observe("acme", rows, complete, at, list_ids=["list1"], fence=self.lease.fence)
        for email, status in self.status.items():
            if status == "subscribed":
                self.seen_subscribed.add(email)
            if status in ("unsubscribed", "cleaned"):
                self.seen_opted_out.add(email)
        assert self.ledger.consent.last_status("list1").items() >= self.status.items()
        assert self.ledger.members.absent("acme").empty

    @invariant()
    def the_records_tell_what_was_learned(self) -> None:
        records = self.ledger.members.load(["list1"]).set_index("email")
        assert set(records.index[records["ever_subscribed"]]) == self.seen_subscribed
        assert set(records.index[records["opted_out"]]) == self.seen_opted_out
        for email, record in records.iterrows():
            assert set(record["tags"]) == self.tags.get(str(email), set())
            sent = (
                json.loads(record["sent_json"])["merge_fields"]
                if isinstance(record["sent_json"], str)
                else {}
            )
            assert sent == self.sent.get(str(email), {})

    @invariant()
    def what_is_open_is_known(self) -> None:
        assert {one.id for one in self.ledger.intents.open("acme")} == set(self.open)

    @invariant()
    def the_history_only_grows_and_knows_every_opt_out(self) -> None:
        events = self.ledger.consent.events()
        assert len(events) >= self.events
        self.events = len(events)
        assert self.ledger.consent.ever_opted_out() == self.seen_opted_out
        for event in events:
            if event.event == "opt_out" and event.origin == "ours":
                sent = [
                    one
                    for one in self.ledger.intents.for_email(event.email)
                    if one.operation == "unsubscribe"
                ]
                assert sent, "an opt-out that no write of ours made is not ours"


def test_any_history_leaves_records_that_tell_the_truth() -> None:
    limits = settings(
        max_examples=12,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(Histories, settings=limits)
