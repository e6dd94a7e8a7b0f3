"""Records changes of address that webhooks reported: the member stays the same person (rule 6.6).

Who has which address now is not taken from a delivery but read, so that late, repeated and missing deliveries
end in the same state as none at all. What a delivery adds is who had the former address, where no read of the
audience has shown the contact there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.ledger import InboxDelivery, Ledger
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.member_reading import get_member
from mc_pipeline.sync.opt_outs.deliveries import READ_AT_MOST

CHANGE_OF_ADDRESS = "upemail"


@dataclass(frozen=True)
class AddressChange:
    """A change as it was delivered, and where it ended after later ones: ``record`` is the member there now.

    ``is_left``: nobody has the former address now, so that what is known of it is known of this contact.
    """

    list_id: str
    old: str
    new: str
    at: datetime
    record: dict[str, object] | None = None
    is_left: bool = False

    @property
    def contact_id(self) -> str:
        """Mailchimp's id of the contact; empty where the member is not there any more."""
        return str((self.record or {}).get("contact_id") or "")


def read_address_changes(
    client: MailchimpClient, list_id: str, deliveries: Iterable[InboxDelivery]
) -> tuple[list[AddressChange], list[InboxDelivery]]:
    """Read the members behind these deliveries, the oldest first; ``READ_AT_MOST`` members.

    Returned are also the deliveries that are left for the next read. Once one is left, all later ones are:
    the end of a chain of changes never goes before its beginning. Raises MailchimpError.
    """
    reported = sorted(_reported(deliveries), key=lambda each: each[1].at)
    found: list[AddressChange] = []
    records: dict[str, dict[str, object] | None] = {}

    def read(email: str) -> dict[str, object] | None:
        if email not in records:
            records[email] = get_member(client, list_id, subscriber_hash(email))
        return records[email]

    for place, (_, change) in enumerate(reported):
        present = change.new
        for _, later in reported[place + 1 :]:
            if later.old == present:
                present = later.new
        if present == change.old:
            found.append(change)
            continue
        if len(records.keys() | {present, change.old}) > READ_AT_MOST:
            return found, [delivery for delivery, _ in reported[place:]]
        record = read(present)
        is_left = record is not None and read(change.old) is None
        found.append(replace(change, record=record, is_left=is_left))
    return found, []


def learn_contacts(ledger: Ledger, changes: Iterable[AddressChange]) -> None:
    """Remember who had the former addresses, before the members are taken over as they are now."""
    for change in changes:
        if change.contact_id and change.is_left:
            ledger.changed_addresses.learn_contact(change.list_id, change.old, change.contact_id)


def record_address_changes(
    ledger: Ledger, company: str, audience: str, changes: Iterable[AddressChange]
) -> None:
    """Record the changes that the members themselves did not show; opt-outs are known of both addresses then.

    An opt-out is inherited with the time at which it was made, so that reported twice it is one. It is of
    unknown origin, or ours: it restricts, and the history of the former address shows who made it.
    """
    for change in changes:
        ledger.members.record_change_of_address(
            company,
            change.list_id,
            change.old,
            change.new,
            change.at,
            audience=audience,
            contact_id=change.contact_id or None,
        )


def _reported(deliveries: Iterable[InboxDelivery]) -> Iterator[tuple[InboxDelivery, AddressChange]]:
    for delivery in deliveries:
        if delivery.type == CHANGE_OF_ADDRESS and delivery.email and delivery.new_email:
            at = delivery.fired_at or delivery.received_at
            yield delivery, AddressChange(delivery.list_id, delivery.email, delivery.new_email, at)
