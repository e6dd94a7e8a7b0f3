"""Takes what webhooks delivered into the consent history.

A delivery says who made a change, and sometimes that one happened of which no trace is left: somebody who
opts out and comes back between two reads of the audience looks untouched. The state is not taken from a
delivery but read, so that late, repeated and missing deliveries end in the same state as none at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.domain.consent.origin import Act, act_of_webhook, origin_of, reports_the_same
from mc_pipeline.ledger import ConsentEvent, InboxDelivery, Ledger
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.member_reading import get_member, member_rows
from mc_pipeline.sync.opt_outs.erased import ErasedLike
from mc_pipeline.vocabulary import EVENT_OF_STATUS, OPTED_OUT_EVENTS, EventKind, EventSource, Origin

if TYPE_CHECKING:
    import pandas as pd

READ_AT_MOST = 100
"""Members read one by one in a run, whose delivery no reading of the audience explains."""

Key = tuple[str, str]  # (list_id, email)


class Deliveries:
    """What waits in the inbox about one audience."""

    def __init__(self, waiting: Sequence[InboxDelivery]) -> None:
        self._waiting = list(waiting)

    @classmethod
    def waiting(cls, ledger: Ledger, list_id: str) -> "Deliveries":
        """Look into the inbox."""
        return cls(ledger.inbox.waiting([list_id]))

    def acts(self) -> dict[Key, list[Act]]:
        """What happened to members, as the deliveries report it."""
        acts: dict[Key, list[Act]] = {}
        for delivery, act in self._reported():
            acts.setdefault((delivery.list_id, delivery.email), []).append(act)
        return acts

    def unrecorded(self, ledger: Ledger) -> list[InboxDelivery]:
        """The deliveries of which the history has no event yet."""
        reported = list(self._reported())
        by_list: dict[str, set[str]] = {}
        for delivery, _ in reported:
            by_list.setdefault(delivery.list_id, set()).add(delivery.email)
        known = {
            list_id: ledger.consent.events_of_members(list_id, emails) for list_id, emails in by_list.items()
        }
        return [
            delivery
            for delivery, act in reported
            if not any(
                reports_the_same(act, event.status_to, event.occurred_at)
                for event in known[delivery.list_id].get(delivery.email, ())
            )
        ]

    def without(self, erased: ErasedLike) -> list[InboxDelivery]:
        """The deliveries about people who were not erased."""
        return [
            delivery
            for delivery in self._waiting
            if not any(erased.includes(email) for email in (delivery.email, delivery.new_email) if email)
        ]

    def addresses(self) -> set[str]:
        """The addresses that the deliveries are about."""
        return {email for each in self._waiting for email in (each.email, each.new_email) if email}

    def learn_origins(self, ledger: Ledger) -> None:
        """Learn who made events of unknown origin, when their delivery came after them."""
        acts = self.acts()
        for list_id in {list_id for list_id, _ in acts}:
            emails = [email for of_list, email in acts if of_list == list_id]
            for email, events in ledger.consent.events_of_members(list_id, emails).items():
                for event in events:
                    if event.origin == Origin.UNKNOWN:
                        _learn_origin(ledger, event, acts[list_id, email])

    def take(self, ledger: Ledger, later: Sequence[InboxDelivery] = ()) -> None:
        """Mark these in the inbox as recorded in the history, all but those for ``later``."""
        kept = {delivery.id for delivery in later}
        ledger.inbox.take([delivery for delivery in self._waiting if delivery.id not in kept])

    def _reported(self) -> list[tuple[InboxDelivery, Act]]:
        return [(delivery, act) for delivery in self._waiting if (act := act_of(delivery)) is not None]


@dataclass(frozen=True)
class _RecordedChange:
    """A recorded event as the change of a status that it was."""

    event: ConsentEvent
    reason: str = ""
    ours: bool = False

    @property
    def status_to(self) -> str:
        return self.event.status_to

    @property
    def changed_at(self) -> datetime:
        return self.event.occurred_at


def _learn_origin(ledger: Ledger, event: ConsentEvent, reported: Sequence[Act]) -> None:
    same = [act for act in reported if reports_the_same(act, event.status_to, event.occurred_at)]
    if not same:
        return
    opted_out_before = [
        each.occurred_at
        for each in ledger.consent.events(email=event.email)
        if each.event in OPTED_OUT_EVENTS and each.occurred_at < event.occurred_at
    ]
    found = origin_of(_RecordedChange(event), reported, not_before=max(opted_out_before, default=None))
    if found.act in same and found.origin != Origin.UNKNOWN:
        ledger.consent.learn_origin(event, found.origin, source=EventSource.WEBHOOK, seen_at=ledger.now())


def act_of(delivery: InboxDelivery) -> Act | None:
    """The action that a delivery reports; None for one that is not about consent."""
    if not delivery.email:
        return None
    return act_of_webhook(
        delivery.type,
        delivery.action,
        delivery.source,
        fired_at=delivery.fired_at,
        received_at=delivery.received_at,
        is_complaint=delivery.reason == "abuse",
    )


def read_back(client: MailchimpClient, list_id: str, deliveries: Sequence[InboxDelivery]) -> "pd.DataFrame":
    """Read the members of these deliveries as they are now; those who are gone are left out."""
    emails = dict.fromkeys(delivery.email for delivery in deliveries)
    records = [get_member(client, list_id, subscriber_hash(email)) for email in emails]
    return member_rows(list_id, [record for record in records if record is not None])


def events_of(
    company: str, audience: str, deliveries: Sequence[InboxDelivery], last_status: Mapping[str, str]
) -> list[ConsentEvent]:
    """Make the events of deliveries that left no trace in the state of their members."""
    events = []
    for delivery in deliveries:
        act = act_of(delivery)
        if act is None:
            continue
        event = EVENT_OF_STATUS.get(act.status, act.status)
        reported = ConsentEvent(
            company=company,
            audience=audience,
            list_id=delivery.list_id,
            email=delivery.email,
            event=event,
            origin=act.by,
            status_to=act.status,
            occurred_at=act.at,
            seen_at=delivery.received_at,
            evidence={"webhook": delivery.source, "status_when_read": last_status.get(delivery.email, "")},
            source=EventSource.WEBHOOK,
        )
        is_complaint = act.is_complaint and event in OPTED_OUT_EVENTS
        events.append(replace(reported, event=EventKind.COMPLAINT) if is_complaint else reported)
    return events
