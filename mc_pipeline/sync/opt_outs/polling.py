"""Reads an audience for opt-outs and records them as events; the cursor moves when all of them are in.

Members are recorded page by page, so that many opt-outs need no more memory than few. What a read that fails
half-way has recorded is recognised by the next one, which begins where the last whole one ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mc_pipeline.domain.consent.origin import Act
from mc_pipeline.ledger import ConsentEvent, Finding, InboxDelivery, Lease, Ledger, StatusChange
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.member_reading import get_member, member_rows
from mc_pipeline.mailchimp.opt_out_reading import OVERLAP, AbuseReport, ConsentChanges, read_abuse_reports
from mc_pipeline.masking import mask_text
from mc_pipeline.sync.opt_outs.address_changes import (
    learn_contacts,
    read_address_changes,
    record_address_changes,
)
from mc_pipeline.sync.opt_outs.deliveries import READ_AT_MOST, Deliveries, events_of, read_back
from mc_pipeline.sync.opt_outs.erased import ErasedLike, forget_carried, take_members, take_opt_outs
from mc_pipeline.sync.opt_outs.origins import Key, Origins, by_address
from mc_pipeline.sync.opt_outs.questions import ASKED_AT_MOST, Questions
from mc_pipeline.vocabulary import OPTED_OUT_EVENTS, EventKind, EventSource, MemberStatus, Origin

if TYPE_CHECKING:
    import pandas as pd

_SAME_COMPLAINT = timedelta(minutes=10)


@dataclass(frozen=True)
class Poll:
    """What a read of one audience for opt-outs found.

    ``first``: nobody had read the audience for opt-outs before, so that old ones are among the events.
    ``doubts``: why somebody may be missing; the next read begins where this one began.
    """

    events: list[ConsentEvent]
    first: bool
    doubts: dict[str, str] = field(default_factory=dict)


COMPLAINTS = "complaints"
WEBHOOKS = "webhooks"
MOVED = "members who changed their address"
SAME_STATUS = "members of the same status"
"""What may fail separately while the audience is read, besides its statuses."""

HOLDING_NOBODY_ELSE = frozenset({COMPLAINTS, SAME_STATUS})
"""Doubts that are about people who are known: the audience is read all the same, and nobody else is held.

Who complained is unsubscribed as well; who is still to be asked about is held in the ledger by name.
"""


class AudiencePolling:
    """Reads an audience for opt-outs under its lease."""

    def __init__(
        self,
        client: MailchimpClient,
        ledger: Ledger,
        lease: Lease,
        origins: Origins,
        erased: ErasedLike,
        *,
        asked_again_at_most: int = ASKED_AT_MOST,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._lease = lease
        self._origins = origins
        self._erased = erased
        # Why the present address of a member could not be asked for, if so.
        self._not_asked = ""
        self._questions = Questions(client, ledger, lease, erased, asked_at_most=asked_again_at_most)

    def poll(self, audience: str, list_id: str) -> Poll:
        """Read one audience, ``audience`` in the settings.

        Complaints, what webhooks delivered, and whether members of the same status opted out in between, are
        each read by themselves: when one of them cannot be read, that is a doubt, and the rest is read.

        Raises:
            MailchimpError: the members could not be read; the events so far are recorded, the cursor stays.
            LeaseLostError: another run has taken over.
        """
        doubts: dict[str, str] = {}
        self._not_asked = ""
        # First, because it also shows Mailchimp's clock.
        reports = self._complaints(list_id, doubts)
        since = self._ledger.opt_out_reads.read_until([list_id]).get(list_id)
        deliveries = Deliveries.waiting(self._ledger, list_id)
        reported = deliveries.acts()
        changes = ConsentChanges(self._client, list_id, since, self._subscribed_since(list_id, since))
        complaints = by_address(reports)
        events: list[ConsentEvent] = []
        asked_at = self._ledger.now()
        try:
            for read in changes:
                rows, theirs = self._erased.split(read)
                self._take_erased(audience, list_id, theirs)
                if since is not None:
                    # Before they are recorded: it is compared with what was known.
                    self._questions.note(self._questions.of(audience, list_id, rows, since - OVERLAP))
                of_interest = self._of_interest(list_id, rows)
                events += self._take_over(audience, of_interest, asked_at, reported, complaints)
                asked_at = self._ledger.now()
        except MailchimpError:
            # What is known already waits for no answer about the members.
            self._record_complaints(audience, list_id, reports)
            self.take_deliveries(audience, list_id)
            raise
        events += self._record_complaints(audience, list_id, reports)
        try:
            events += self._record_deliveries(audience, list_id, deliveries)
        except MailchimpError as error:
            doubts[WEBHOOKS] = mask_text(str(error))
            events += self._record_unread(audience, deliveries)
        # Last: the answers above need no further request.
        asked, still_in_question = self._questions.ask(list_id)
        events += asked
        if still_in_question:
            doubts[SAME_STATUS] = still_in_question
        if self._not_asked:
            doubts[MOVED] = self._not_asked
        if not changes.doubts and not self._not_asked:
            self._ledger.opt_out_reads.advance(
                self._lease.company, list_id, changes.until, lease=self._lease.name, fence=self._lease.fence
            )
        return Poll(events, since is None, doubts | changes.doubts)

    def take_deliveries(self, audience: str, list_id: str) -> list[ConsentEvent]:
        """Take only what waits in the inbox, at once; return the events recorded.

        Where the members cannot be read back, opt-outs are taken as they were delivered, and looked at again
        by the next read. Raises LeaseLostError.
        """
        deliveries = Deliveries.waiting(self._ledger, list_id)
        try:
            return self._record_deliveries(audience, list_id, deliveries)
        except MailchimpError:
            return self._record_unread(audience, deliveries)

    def _complaints(self, list_id: str, doubts: dict[str, str]) -> list[AbuseReport]:
        try:
            reports = read_abuse_reports(self._client, list_id)
        except MailchimpError as error:
            doubts[COMPLAINTS] = mask_text(str(error))
            return []
        return reports

    def _record_unread(self, audience: str, deliveries: Deliveries) -> list[ConsentEvent]:
        """Record the opt-outs that webhooks reported, without their members' state; they stay in the
        inbox."""
        unrecorded = self._unrecorded(audience, deliveries)
        opt_outs = [
            event
            for event in events_of(self._lease.company, audience, unrecorded, {})
            if event.event in OPTED_OUT_EVENTS
        ]
        self._ledger.members.record_past(opt_outs, lease=self._lease.name, fence=self._lease.fence)
        return opt_outs

    def _take_over(
        self,
        audience: str,
        rows: "pd.DataFrame",
        asked_at: datetime,
        reported: Mapping[Key, Sequence[Act]],
        complaints: Mapping[str, Sequence[AbuseReport]],
        source: EventSource = EventSource.POLL,
    ) -> list[ConsentEvent]:
        """Record members as they are now, with the origin of each change."""
        rows = self._with_displaced(self._erased.without(rows).assign(audience=audience))
        if rows.empty:
            return []

        # The activity of people who came back may have to be asked for: not while the ledger waits.
        back = rows[rows["status"] == MemberStatus.SUBSCRIBED]
        asked = (
            self._origins.find(self._ledger.members.changes(back, asked_at), reported, complaints)
            if len(back)
            else {}
        )

        def find(changes: Sequence[StatusChange]) -> Mapping[Key, Finding]:
            others = [change for change in changes if change.status_to != MemberStatus.SUBSCRIBED]
            return {**asked, **self._origins.find(others, reported, complaints)}

        return self._ledger.members.observe_some(
            self._lease.company,
            rows,
            asked_at,
            find=find,
            lease=self._lease.name,
            fence=self._lease.fence,
            source=source,
        )

    def _with_displaced(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Add the members whose addresses others have in these rows, as they are now: they left them.

        Where one of them cannot be asked for, the row at that address is left out, and read again.
        """
        import pandas as pd

        asked: set[str] = set()
        while missing := {
            contact_id: email
            for contact_id, email in self._ledger.members.displaced(rows).items()
            if contact_id not in asked
        }:
            contacts = list(missing)[: READ_AT_MOST - len(asked)]
            if not contacts:
                break
            asked.update(contacts)
            list_id, audience = rows["list_id"].iloc[0], rows["audience"].iloc[0]
            records: list[dict[str, Any] | None] = []
            for contact_id in contacts:
                try:
                    # Mailchimp API: a member may be asked for by contact_id too.
                    records.append(get_member(self._client, list_id, contact_id))
                except MailchimpError as error:
                    self._not_asked = mask_text(str(error))
                    rows = rows[rows["email"] != missing[contact_id]]
            if rows.empty:
                return rows
            found = member_rows(list_id, [record for record in records if record is not None])
            found = self._erased.without(found).assign(audience=audience)
            if len(found):
                rows = pd.concat([rows, found], ignore_index=True)
        return rows

    def _record_deliveries(self, audience: str, list_id: str, deliveries: Deliveries) -> list[ConsentEvent]:
        """Record what the inbox reports and the history does not know; then the inbox may forget it."""
        unrecorded = self._unrecorded(audience, deliveries)
        now_due, later = unrecorded[:READ_AT_MOST], unrecorded[READ_AT_MOST:]
        events: list[ConsentEvent] = []
        # First, so that the present address is known to belong to the same person.
        changed, changes_later = self._record_address_changes(audience, list_id, deliveries)
        events += changed
        if now_due:
            asked_at = self._ledger.now()
            rows = read_back(self._client, list_id, now_due)
            events += self._take_over(audience, rows, asked_at, deliveries.acts(), {}, EventSource.WEBHOOK)
            due = {delivery.id for delivery in now_due}
            without_trace = [
                delivery for delivery in deliveries.unrecorded(self._ledger) if delivery.id in due
            ]
            status = dict(zip(rows["email"], rows["status"], strict=True))
            past = events_of(self._lease.company, audience, without_trace, status)
            self._ledger.members.record_past(past, lease=self._lease.name, fence=self._lease.fence)
            events += past
        deliveries.learn_origins(self._ledger)
        deliveries.take(self._ledger, [*later, *changes_later])
        forget_carried(self._ledger, self._erased, deliveries.addresses())
        return events

    def _record_address_changes(
        self, audience: str, list_id: str, deliveries: Deliveries
    ) -> tuple[list[ConsentEvent], list[InboxDelivery]]:
        """The events of changes of address, and the deliveries that are left for the next time."""
        changes, later = read_address_changes(self._client, list_id, deliveries.without(self._erased))
        if not changes:
            return [], later
        before = self._ledger.consent.last_event_id()
        learn_contacts(self._ledger, changes)
        asked_at = self._ledger.now()
        rows = member_rows(list_id, [change.record for change in changes if change.record is not None])
        events = self._take_over(
            audience, rows.drop_duplicates("email"), asked_at, deliveries.acts(), {}, EventSource.WEBHOOK
        )
        record_address_changes(self._ledger, self._lease.company, audience, changes)
        return events + self._ledger.consent.inherited_since(before, list_id), later

    def _unrecorded(self, audience: str, deliveries: Deliveries) -> list[InboxDelivery]:
        """What the history does not know yet; opt-outs of erased people are recorded here, by themselves."""
        unrecorded = deliveries.unrecorded(self._ledger)
        theirs = [delivery for delivery in unrecorded if self._erased.includes(delivery.email)]
        take_opt_outs(self._ledger, self._erased, events_of(self._lease.company, audience, theirs, {}))
        return [delivery for delivery in unrecorded if not self._erased.includes(delivery.email)]

    def _take_erased(self, audience: str, list_id: str, theirs: "pd.DataFrame") -> None:
        if len(theirs):
            take_members(
                self._ledger, self._erased, self._lease.company, audience, list_id, theirs, EventSource.POLL
            )

    def _subscribed_since(self, list_id: str, since: datetime | None) -> datetime | None:
        """From when on people may have come back: without a cursor, since the last complete read."""
        return since or self._ledger.members.last_complete_read(list_id)

    def _of_interest(self, list_id: str, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Leave out subscribed members who never opted out: our own updates change many of them.

        Members who changed their address are kept: an opt-out of either address is theirs.
        """
        subscribed = rows["status"] == MemberStatus.SUBSCRIBED
        if not subscribed.any():
            return rows
        known = self._ledger.members.with_opt_outs(list_id, list(rows.loc[subscribed, "email"]))
        known |= self._ledger.members.at_another_address(rows[subscribed].assign(audience=""))
        return rows[~subscribed | rows["email"].isin(known)]

    def _record_complaints(
        self, audience: str, list_id: str, reports: Sequence[AbuseReport]
    ) -> list[ConsentEvent]:
        """Record complaints that no change of a status has shown: a complaint counts however it ended."""
        now = self._ledger.now()
        known = self._ledger.consent.complaints(list_id)
        events = [
            ConsentEvent(
                company=self._lease.company,
                audience=audience,
                list_id=list_id,
                email=report.email,
                event=EventKind.COMPLAINT,
                origin=Origin.PERSON,
                occurred_at=report.at or now,
                seen_at=now,
                evidence={"abuse_report": report.id},
                source=EventSource.POLL,
            )
            for report in reports
            if not _is_recorded(report, known.get(report.email, ()))
        ]
        # A complaint that Mailchimp does not date would be recorded again each time.
        dated = {report.email for report in reports if report.at is not None}
        theirs = [event for event in events if self._erased.includes(event.email)]
        take_opt_outs(self._ledger, self._erased, [event for event in theirs if event.email in dated])
        others = [event for event in events if not self._erased.includes(event.email)]
        self._ledger.consent.record(others)
        return others


def _is_recorded(report: AbuseReport, complaints: Sequence[ConsentEvent]) -> bool:
    return any(
        (event.evidence or {}).get("abuse_report") == report.id
        or (report.at is not None and abs(event.occurred_at - report.at) <= _SAME_COMPLAINT)
        for event in complaints
    )
