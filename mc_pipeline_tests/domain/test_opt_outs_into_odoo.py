"""Rules 5.2 to 5.7: what Mailchimp's events do in Odoo, judged case by case and over any order of events."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipeline.domain.consent.opt_outs_into_mailchimp import members_to_unsubscribe
from mc_pipeline.domain.consent.opt_outs_into_odoo import (
    CONFLICTS,
    Decision,
    blacklist_after,
    company_opt_outs,
    decide_odoo_opt_outs,
    members_to_look_at,
    returned_by_themselves,
)

ADA = "ada@example.com"
RETAIL, WHOLESALE = "retail1", "wholesale1"
START = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


@dataclass(frozen=True)
class Event:
    event: str
    minute: int
    origin: str = "person"
    list_id: str = RETAIL
    company: str = "acme"
    email: str = ADA

    @property
    def audience(self) -> str:
        return self.list_id.removesuffix("1")

    @property
    def occurred_at(self) -> datetime:
        return at(self.minute)


@dataclass(frozen=True)
class Done:
    """Something that we did; ``written`` is the row's write date after it."""

    action: str
    minute: int
    written: int
    made_by_us: bool = True
    scope: str = "everywhere"
    company: str = "acme"
    email: str = ADA
    blacklist_id: int | None = 1

    @property
    def occurred_at(self) -> datetime:
        return at(self.minute)

    @property
    def blacklist_write_date(self) -> datetime:
        return at(self.written)


def blacklist(*rows: tuple[bool, int]) -> pd.DataFrame:
    """Rows of Ada's address: active, minute of the last write."""
    return pd.DataFrame(
        {
            "blacklist_id": pd.Series(range(1, len(rows) + 1), dtype="int64"),
            "email": pd.Series([ADA] * len(rows), dtype="object"),
            "active": pd.Series([active for active, _ in rows], dtype="bool"),
            "write_date": pd.Series([at(minute) for _, minute in rows], dtype="datetime64[us, UTC]"),
        }
    )


KNOWN = pd.DataFrame({"partner_id": [7, 8], "email_normalized": [ADA, None]})
UNKNOWN = KNOWN.assign(email_normalized=None)
NO_ROW = blacklist()


def decide(
    *events: Event,
    rows: pd.DataFrame = NO_ROW,
    done: tuple[Done, ...] = (),
    partners: pd.DataFrame = KNOWN,
    old_until: dict[str, datetime] | None = None,
    scope: str = "everywhere",
    now: int = 100,
    not_subscribed: frozenset[tuple[str, str]] = frozenset(),
    not_asked: frozenset[tuple[str, str]] = frozenset(),
) -> Decision | None:
    decisions = decide_odoo_opt_outs(
        events,
        rows,
        done,
        partners,
        company="acme",
        scope=scope,
        old_until=old_until or {},
        now=at(now),
        not_subscribed=not_subscribed,
        not_asked=not_asked,
    )
    assert len(decisions) <= 1
    return decisions[0] if decisions else None


def said(decision: Decision | None) -> tuple[str, str]:
    return ("", "") if decision is None else (decision.action, decision.conflict)


OURS = (Done("opt_out", 10, 11),)
ACTIVE_OURS, LIFTED = blacklist((True, 11)), blacklist((False, 30))
BY_ODOO_BEFORE, BY_ODOO_AFTER = blacklist((True, 5)), blacklist((True, 40))
OUT, BACK = Event("opt_out", 10), Event("subscribe", 20)
ADMIN_BACK, UNKNOWN_BACK = Event("subscribe", 20, "admin"), Event("subscribe", 20, "unknown")


@pytest.mark.parametrize(
    ("events", "rows", "done", "wanted"),
    [
        # what makes a row
        ((OUT,), NO_ROW, (), ("opt_out", "")),
        ((Event("opt_out", 10, "admin"),), NO_ROW, (), ("opt_out", "")),
        ((Event("opt_out", 10, "unknown"),), NO_ROW, (), ("opt_out", "")),
        ((Event("clean", 10, "unknown"),), NO_ROW, (), ("opt_out", "")),
        ((Event("complaint", 10),), NO_ROW, (), ("opt_out", "")),
        ((OUT,), blacklist((False, 5)), (), ("opt_out", "")),
        ((OUT, Event("archive", 20)), NO_ROW, (), ("opt_out", "")),
        # what makes none
        ((Event("opt_out", 10, "ours"),), NO_ROW, (), ("", "")),
        ((Event("opt_out", 10, "ours"),), LIFTED, OURS, ("", "")),
        ((Event("archive", 10),), NO_ROW, (), ("", "")),
        ((Event("pending", 10),), NO_ROW, (), ("", "")),
        ((Event("opt_out", 10, company="second"),), NO_ROW, (), ("", "")),
        ((OUT,), BY_ODOO_BEFORE, (), ("none", "")),
        ((OUT,), ACTIVE_OURS, OURS, ("none", "")),
        # lifting
        ((OUT, BACK), ACTIVE_OURS, OURS, ("lift", "")),
        ((OUT, BACK), NO_ROW, (), ("", "")),
        ((OUT, BACK), LIFTED, (*OURS, Done("lift", 20, 30, made_by_us=False)), ("", "")),
        ((OUT, UNKNOWN_BACK), ACTIVE_OURS, OURS, ("none", "resubscribed_unproven")),
        ((OUT, ADMIN_BACK), ACTIVE_OURS, OURS, ("none", "resubscribed_unproven")),
        ((UNKNOWN_BACK,), BY_ODOO_BEFORE, (), ("none", "resubscribed_unproven")),
        ((UNKNOWN_BACK,), BY_ODOO_AFTER, (), ("", "")),
        ((BACK,), BY_ODOO_BEFORE, (), ("none", "made_in_odoo")),
        ((BACK,), BY_ODOO_AFTER, (), ("none", "newer_in_odoo")),
        ((OUT, BACK), BY_ODOO_BEFORE, (Done("opt_out", 10, 5, made_by_us=False),), ("none", "made_in_odoo")),
        # ours once, and written by somebody since
        ((OUT, BACK), BY_ODOO_AFTER, OURS, ("none", "newer_in_odoo")),
        ((OUT, BACK), blacklist((True, 15)), OURS, ("none", "made_in_odoo")),
        # out again, in another audience or another company
        ((OUT, BACK, Event("opt_out", 30, list_id=WHOLESALE)), ACTIVE_OURS, OURS, ("none", "")),
        ((OUT, BACK, Event("opt_out", 30, company="second")), ACTIVE_OURS, OURS, ("none", "")),
        ((OUT, Event("subscribe", 10)), ACTIVE_OURS, OURS, ("none", "")),
        # back by their own act, and out of the same audience again before the row could be lifted
        ((OUT, BACK, Event("opt_out", 30)), ACTIVE_OURS, OURS, ("none", "not_subscribed_now")),
        ((OUT, BACK, Event("opt_out", 30, "unknown")), ACTIVE_OURS, OURS, ("none", "not_subscribed_now")),
        ((OUT, BACK, Event("opt_out", 30, "ours")), ACTIVE_OURS, OURS, ("lift", "")),
        ((OUT, BACK, Event("opt_out", 30)), BY_ODOO_BEFORE, (), ("none", "")),
        ((OUT, BACK, Event("opt_out", 30)), blacklist((True, 31)), (Done("opt_out", 30, 31),), ("none", "")),
        # lifted by somebody in Odoo
        ((OUT,), LIFTED, OURS, ("none", "lifted_in_odoo")),
        ((OUT,), NO_ROW, OURS, ("none", "lifted_in_odoo")),
        ((OUT, Event("opt_out", 8, list_id=WHOLESALE)), LIFTED, OURS, ("none", "lifted_in_odoo")),
        ((OUT, Event("complaint", 12)), LIFTED, OURS, ("opt_out", "")),
        # lifted by us for another company's event, later than this one's
        ((OUT,), LIFTED, (*OURS, Done("lift", 20, 30, made_by_us=False)), ("none", "")),
        ((Event("opt_out", 25),), LIFTED, (*OURS, Done("lift", 20, 30, made_by_us=False)), ("opt_out", "")),
    ],
)
def test_what_an_event_does_to_a_row(
    events: tuple[Event, ...], rows: pd.DataFrame, done: tuple[Done, ...], wanted: tuple[str, str]
):
    decision = decide(*events, rows=rows, done=done)
    assert said(decision) == wanted
    assert said(decide(*reversed(events), rows=rows, done=done)) == wanted, "late events change nothing"
    assert said(decide(*events, *events, rows=rows, done=done)) == wanted, "events reported twice neither"
    if decision is not None:
        assert decision.partner_id == 7
        assert ADA not in decision.because
        assert bool(decision.conflict) == (decision.because in CONFLICTS.values())


def test_anyone_whom_odoo_does_not_know_waits_for_their_address():
    decision = decide(OUT, partners=UNKNOWN)
    assert said(decision) == ("none", "")
    assert decision is not None
    assert decision.partner_id is None
    assert "as soon as it appears" in decision.because


def test_old_opt_outs_wait_and_newer_ones_speak_for_themselves():
    waiting = decide(OUT, old_until={RETAIL: at(10)})
    assert waiting is not None
    assert (waiting.action, waiting.waits) == ("opt_out", True)
    for more in (Event("opt_out", 11), Event("opt_out", 5, list_id=WHOLESALE)):
        fresh = decide(OUT, more, old_until={RETAIL: at(10)})
        assert fresh is not None
        assert (fresh.waits, fresh.event) == (False, more)


def test_a_subscription_that_was_taken_back_is_listed_for_a_month():
    month = 31 * 24 * 60
    assert said(decide(OUT, UNKNOWN_BACK, rows=ACTIVE_OURS, done=OURS, now=month)) == ("none", "")


HERE, ELSEWHERE = frozenset({(RETAIL, ADA)}), frozenset({(WHOLESALE, ADA)})


def test_a_removal_rests_on_a_member_who_is_looked_at():
    decision = decide(OUT, BACK, rows=ACTIVE_OURS, done=OURS)
    assert decision is not None
    assert members_to_look_at([decision]) == [(RETAIL, ADA)]
    assert said(decide(OUT, BACK, rows=ACTIVE_OURS, done=OURS, not_subscribed=ELSEWHERE)) == ("lift", "")


def test_somebody_who_is_not_subscribed_now_keeps_the_row_and_is_listed():
    decision = decide(OUT, BACK, rows=ACTIVE_OURS, done=OURS, not_subscribed=HERE)
    assert said(decision) == ("none", "not_subscribed_now")
    assert decision is not None
    assert members_to_look_at([decision]) == []
    assert not decision.postponed
    assert said(decide(OUT, BACK, rows=BY_ODOO_BEFORE, not_subscribed=HERE)) == ("none", "made_in_odoo")


def test_who_cannot_be_looked_at_is_decided_about_by_the_next_run():
    decision = decide(OUT, BACK, rows=ACTIVE_OURS, done=OURS, not_asked=HERE)
    assert said(decision) == ("none", "")
    assert decision is not None
    assert decision.postponed


def test_a_company_of_its_own_takes_nobody_for_returned_who_is_not_subscribed():
    decision = decide(OUT, BACK, scope="company")
    assert said(decision) == ("none", "")
    assert decision is not None
    assert members_to_look_at([decision]) == [(RETAIL, ADA)]
    assert said(decide(OUT, BACK, scope="company", not_subscribed=HERE)) == ("opt_out", "")
    unasked = decide(OUT, BACK, scope="company", not_asked=HERE)
    assert unasked is not None
    assert unasked.postponed
    assert said(decide(OUT, BACK, scope="company", partners=UNKNOWN)) == ("", "")


@pytest.mark.parametrize("status", ["transactional", "pending"])
def test_a_member_who_is_not_subscribed_has_not_returned(status: str):
    here = members({RETAIL: status}, {})
    out, returned = {ADA: at(10)}, {(RETAIL, ADA): at(20)}
    due = members_to_unsubscribe(here, NO_ROW, opted_out_of_company=out, returned=returned)
    assert due["cause"].tolist() == ["opted_out_of_company"]


def test_a_company_of_its_own_opts_out_once_and_removes_nothing():
    done = (Done("opt_out", 10, 11, scope="company", blacklist_id=None),)
    assert said(decide(OUT, scope="company")) == ("opt_out", "")
    assert said(decide(OUT, scope="company", rows=BY_ODOO_BEFORE)) == ("opt_out", "")
    assert said(decide(OUT, scope="company", done=done)) == ("none", "")
    assert said(decide(OUT, BACK, scope="company", done=done)) == ("", "")
    assert said(decide(OUT, Event("clean", 30), scope="company", done=done)) == ("opt_out", "")
    assert said(decide(OUT, done=done)) == ("opt_out", ""), "what another scope did counts for nothing"


def outcomes(action: str, outcome: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"email": [ADA], "action": [action], "outcome": [outcome], "occurred_at": [pd.Timestamp(at(10))]}
    )


@pytest.mark.parametrize(
    ("rows", "opt_outs", "active"),
    [
        (NO_ROW, outcomes("opt_out", "applied"), True),
        (LIFTED, outcomes("opt_out", "applied"), True),
        (NO_ROW, outcomes("opt_out", "deferred"), True),
        (NO_ROW, outcomes("opt_out", "held_back"), False),
        (ACTIVE_OURS, outcomes("lift", "applied"), False),
        (ACTIVE_OURS, outcomes("lift", "unknown"), False),
        (ACTIVE_OURS, outcomes("lift", "held_back"), True),
        (BY_ODOO_AFTER, outcomes("lift", "applied"), True),  # an old table: the row was made since
        (ACTIVE_OURS, outcomes("none", "unchanged"), True),
    ],
)
def test_the_blacklist_counts_with_what_was_just_done(
    rows: pd.DataFrame, opt_outs: pd.DataFrame, active: bool
):
    after = blacklist_after(rows, opt_outs, at(35))
    assert after.loc[after["active"].astype(bool), "email"].tolist() == ([ADA] if active else [])
    assert len(after) <= 1


def members(statuses: dict[str, str], opted_in: dict[str, int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "audience": [list_id.removesuffix("1") for list_id in statuses],
            "list_id": list(statuses),
            "email": ADA,
            "subscriber_hash": "hash",
            "status": list(statuses.values()),
            "timestamp_opt": [pd.Timestamp(at(opted_in.get(list_id, 0))) for list_id in statuses],
        }
    )


def test_an_opt_out_of_a_company_of_its_own_holds_in_its_other_audiences_but_those_returned_to():
    both = members({RETAIL: "subscribed", WHOLESALE: "subscribed"}, {RETAIL: 20})
    out = company_opt_outs(outcomes("none", "unchanged"), [Done("opt_out", 10, 11, scope="company")], "acme")
    assert out == {ADA: at(10)}
    returned = returned_by_themselves([OUT, BACK], "acme")
    assert returned == {(RETAIL, ADA): at(20)}
    due = members_to_unsubscribe(both, NO_ROW, opted_out_of_company=out, returned=returned)
    assert dict(zip(due["list_id"], due["cause"], strict=True)) == {WHOLESALE: "opted_out_of_company"}
    due = members_to_unsubscribe(both, NO_ROW, opted_out_of_company=out)
    assert dict(zip(due["list_id"], due["cause"], strict=True)) == {
        RETAIL: "resubscribed_unproven",
        WHOLESALE: "opted_out_of_company",
    }


@dataclass
class Both:
    """Both systems, one person, and a run that applies both rules, without any server."""

    minute: int = 0
    status: dict[str, str] = field(default_factory=lambda: {RETAIL: "subscribed", WHOLESALE: "transactional"})
    opted_in: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    row: tuple[bool, int] | None = None
    done: list[Done] = field(default_factory=list)
    lifted_by_odoo: bool = False

    def act(self, act: str, list_id: str) -> None:
        self.minute += 1
        kind, _, origin = act.partition(" by ")
        match kind:
            case "unsubscribe" | "bounce" if self.status[list_id] != "cleaned":
                event, status = ("opt_out", "unsubscribed") if kind == "unsubscribe" else ("clean", "cleaned")
                self._changed(list_id, event, status, origin)
            case "subscribe" if self.status[list_id] != "cleaned":
                self.opted_in[list_id] = self.minute
                self._changed(list_id, "subscribe", "subscribed", origin)
            case "blacklist":
                self.row = (True, self.minute)
            case "unblacklist" if self.row:
                self.row = (False, self.minute)
                self.lifted_by_odoo = True
            case "run":
                self.run()

    def _changed(self, list_id: str, event: str, status: str, origin: str) -> None:
        if self.status[list_id] != status:
            self.status[list_id] = status
            self.events.append(Event(event, self.minute, origin, list_id))

    def run(self) -> list[Any]:
        """One run; return what it changed."""
        self.minute += 1
        rows = blacklist(*([self.row] if self.row else []))
        decision = decide(*self.events, rows=rows, done=tuple(self.done), now=self.minute)
        changed: list[Any] = []
        action = decision.action if decision else "none"
        if decision is not None and decision.event is not None and action != "none":
            self.row = (action == "opt_out", self.minute)
            minute = int((decision.event.occurred_at - START).total_seconds() // 60)
            self.done.append(Done(action, minute, self.minute, made_by_us=action == "opt_out"))
            changed.append(action)
            if action == "lift":
                opt_outs = [event.minute for event in self.events if event.event != "subscribe"]
                assert minute > max(opt_outs, default=-1)
        due = members_to_unsubscribe(
            members(self.status, self.opted_in),
            blacklist_after(rows, outcomes(action, "applied"), at(self.minute)),
        )
        for list_id in due["list_id"]:
            self.status[list_id] = "unsubscribed"
            changed.append(list_id)
        return changed


ACTS = [
    *(f"unsubscribe by {origin}" for origin in ("person", "admin", "unknown")),
    *(f"subscribe by {origin}" for origin in ("person", "admin", "unknown")),
    "bounce by unknown",
    "blacklist",
    "unblacklist",
    "run",
]


@given(st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from([RETAIL, WHOLESALE])), max_size=12))
@settings(max_examples=40, deadline=None)
def test_in_any_order_both_systems_agree_after_one_run_and_nothing_loops(acts: list[tuple[str, str]]):
    both = Both()
    for act, list_id in acts:
        both.act(act, list_id)
    both.run()
    assert both.run() == []
    assert both.run() == []
    mailable = {"subscribed", "pending", "transactional"} & set(both.status.values())
    if both.row and both.row[0]:
        assert not mailable
    opt_outs = [event.minute for event in both.events if event.event != "subscribe"]
    returns = [
        event.minute for event in both.events if event.event == "subscribe" and event.origin == "person"
    ]
    stands = opt_outs and max(opt_outs) > max(returns, default=-1)
    if stands and not both.lifted_by_odoo:
        assert both.row is not None
        assert both.row[0], "an opt-out stands, and no person has lifted it"
