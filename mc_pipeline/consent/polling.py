"""Reads an audience for opt-outs and records them as events; the cursor moves when all of them are in.

Members are recorded page by page, so that many opt-outs need no more memory than few. What a read that fails
half-way has recorded is recognised by the next one, which begins where the last whole one ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import pandas as pd

from mc_pipeline.consent.origins import Origins, by_address
from mc_pipeline.ledger import ConsentEvent, Lease, Ledger
from mc_pipeline.ledger.consent import COMPLAINT
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.opt_out_reading import AbuseReport, ConsentChanges, read_abuse_reports

_SAME_COMPLAINT = timedelta(minutes=10)


class ErasedLike(Protocol):
    """Who was erased, and is not read any more."""

    def without(self, rows: pd.DataFrame) -> pd.DataFrame: ...
    def includes(self, email: str) -> bool: ...


@dataclass(frozen=True)
class Poll:
    """What a read of one audience for opt-outs told.

    ``first``: nobody had read the audience for opt-outs before, so that old ones are among the events.
    ``doubts``: why somebody may be missing; the next read begins where this one began.
    """

    events: list[ConsentEvent]
    first: bool
    doubts: dict[str, str] = field(default_factory=dict)


class AudiencePolling:
    """Reads audiences of one company under its lease."""

    def __init__(
        self, client: MailchimpClient, ledger: Ledger, lease: Lease, origins: Origins, erased: ErasedLike
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._lease = lease
        self._origins = origins
        self._erased = erased

    def poll(self, audience: str, list_id: str) -> Poll:
        """Read one audience, ``audience`` in the settings.

        Raises:
            MailchimpError: something could not be read; the events so far are recorded, the cursor stays.
            LeaseLostError: another run has taken over.
        """
        # First, for it also tells Mailchimp's clock.
        reports = [
            report
            for report in read_abuse_reports(self._client, list_id)
            if not self._erased.includes(report.email)
        ]
        since = self._ledger.opt_out_reads.read_until([list_id]).get(list_id)
        changes = ConsentChanges(self._client, list_id, since, self._subscribed_since(list_id, since))
        complaints = by_address(reports)
        events: list[ConsentEvent] = []
        asked_at = self._ledger.now()
        for rows in changes:
            rows = self._erased.without(self._of_interest(rows)).assign(audience=audience)
            if len(rows):
                findings = self._origins.find(self._ledger.members.changes(rows, asked_at), complaints)
                events += self._ledger.members.observe_some(
                    self._lease.company, rows, asked_at, findings=findings, fence=self._lease.fence
                )
            asked_at = self._ledger.now()
        events += self._record_complaints(audience, list_id, reports)
        if not changes.doubts:
            self._ledger.opt_out_reads.advance(
                self._lease.company, list_id, changes.until, fence=self._lease.fence
            )
        return Poll(events, since is None, dict(changes.doubts))

    def _subscribed_since(self, list_id: str, since: datetime | None) -> datetime | None:
        """From when on people may have come back: without a cursor, since the last complete read."""
        return since or self._ledger.members.last_complete_read(list_id)

    def _of_interest(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Leave out subscribed members who never opted out: our own updates change many of them."""
        subscribed = rows["status"] == "subscribed"
        if not subscribed.any():
            return rows
        known = self._ledger.members.with_opt_outs(rows.loc[subscribed, "list_id"].iloc[0], rows["email"])
        return rows[~subscribed | rows["email"].isin(known)]

    def _record_complaints(
        self, audience: str, list_id: str, reports: Sequence[AbuseReport]
    ) -> list[ConsentEvent]:
        """Record complaints that no change of a status has told: a complaint counts however it ended."""
        now = self._ledger.now()
        known = self._ledger.consent.complaints(list_id)
        events = [
            ConsentEvent(
                company=self._lease.company,
                audience=audience,
                list_id=list_id,
                email=report.email,
                event=COMPLAINT,
                origin="person",
                occurred_at=report.at or now,
                seen_at=now,
                evidence={"abuse_report": report.id},
                source="poll",
            )
            for report in reports
            if not _is_told(report, known.get(report.email, ()))
        ]
        self._ledger.consent.record(events)
        return events


def _is_told(report: AbuseReport, told: Sequence[ConsentEvent]) -> bool:
    return any(
        (event.evidence or {}).get("abuse_report") == report.id
        or (report.at is not None and abs(event.occurred_at - report.at) <= _SAME_COMPLAINT)
        for event in told
    )
