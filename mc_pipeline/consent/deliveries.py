"""Takes what webhooks delivered into the consent history.

A delivery says whose act a change was, and sometimes that one happened of which no trace is left: who opts
out and comes back between two reads of the audience looks untouched. The state is not taken from a delivery
but read, so that late, repeated and missing deliveries end in the same state as none at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from mc_pipeline.domain.origin import Act, act_of_webhook, tells_the_same
from mc_pipeline.ledger import ConsentEvent, InboxDelivery, Ledger
from mc_pipeline.ledger.consent import COMPLAINT, EVENT_OF_STATUS, OPTED_OUT_EVENTS
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.member_reading import get_member, member_rows
from mc_pipeline.mailchimp.members import subscriber_hash

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
        """What happened to members, as the deliveries tell it."""
        acts: dict[Key, list[Act]] = {}
        for delivery, act in self._told():
            acts.setdefault((delivery.list_id, delivery.email), []).append(act)
        return acts

    def untold(self, ledger: Ledger) -> list[InboxDelivery]:
        """The deliveries of which the history has no event yet."""
        told = list(self._told())
        by_list: dict[str, set[str]] = {}
        for delivery, _ in told:
            by_list.setdefault(delivery.list_id, set()).add(delivery.email)
        known = {
            list_id: ledger.consent.events_of_members(list_id, emails) for list_id, emails in by_list.items()
        }
        return [
            delivery
            for delivery, act in told
            if not any(
                tells_the_same(act, event.status_to, event.occurred_at)
                for event in known[delivery.list_id].get(delivery.email, ())
            )
        ]

    def take(self, ledger: Ledger, later: Sequence[InboxDelivery] = ()) -> None:
        """Tell the inbox that these are in the history, all but those for ``later``."""
        kept = {delivery.id for delivery in later}
        ledger.inbox.take([delivery for delivery in self._waiting if delivery.id not in kept])

    def _told(self) -> list[tuple[InboxDelivery, Act]]:
        return [(delivery, act) for delivery in self._waiting if (act := act_of(delivery)) is not None]


def act_of(delivery: InboxDelivery) -> Act | None:
    """The act that a delivery tells of; None for one that is not about consent."""
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


def read_back(client: MailchimpClient, list_id: str, deliveries: Sequence[InboxDelivery]) -> pd.DataFrame:
    """Read the members of these deliveries as they are now; who is gone is left out."""
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
        told = ConsentEvent(
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
            source="webhook",
        )
        is_complaint = act.is_complaint and event in OPTED_OUT_EVENTS
        events.append(replace(told, event=COMPLAINT) if is_complaint else told)
    return events
