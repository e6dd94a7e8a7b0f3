"""Asks about members who may have opted out again although their status is unchanged (rule 5.3).

Which they are, and what of the answer is new, is decided in ``domain.consent.repeated_opt_outs``. What was
asked follows what changed: a member is asked about once for each change, at most so many at a time, and the
rest stays recorded in the ledger for the next read.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.domain.consent.origin import Act, act_of_activity
from mc_pipeline.domain.consent.repeated_opt_outs import (
    Sighting,
    is_to_be_asked,
    new_acts,
    undated_opt_out,
    undecided_since,
)
from mc_pipeline.ledger import ConsentEvent, Lease, Ledger
from mc_pipeline.ledger.observing import moment
from mc_pipeline.ledger.opt_out_questions import OptOutQuestion
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError, MailchimpNotFoundError
from mc_pipeline.mailchimp.opt_out_reading import is_unsubscribed_since, read_activity
from mc_pipeline.mailchimp.parallel import run_concurrently
from mc_pipeline.masking import mask_text
from mc_pipeline.sync.opt_outs.erased import ErasedLike
from mc_pipeline.vocabulary import EVENT_OF_STATUS, EventSource, MemberStatus, Origin

if TYPE_CHECKING:
    import pandas as pd

ASKED_AT_MOST = 100
"""How many activity feeds are read for this each time an audience is read for opt-outs."""

_GIVE_UP_AFTER = 3
_WORKERS = 4


class Questions:
    """The questions about one audience, recorded and asked under the lease for reading it."""

    def __init__(
        self,
        client: MailchimpClient,
        ledger: Ledger,
        lease: Lease,
        erased: ErasedLike,
        *,
        asked_at_most: int = ASKED_AT_MOST,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._lease = lease
        self._erased = erased
        self._asked_at_most = asked_at_most

    def of(self, audience: str, list_id: str, rows: "pd.DataFrame", since: datetime) -> list[OptOutQuestion]:
        """The questions that members raise as they were read, before they are recorded.

        ``rows``: of the answers for what happened after ``since`` (Mailchimp's clock).
        """
        raised = questions_about(self._client, self._ledger, list_id, self._erased.without(rows), since)
        return [
            OptOutQuestion(
                list_id=list_id,
                email=email,
                company=self._lease.company,
                audience=audience,
                status=seen.status,
                changed_at=seen.changed_at,
                since=since,
            )
            for email, seen in raised.items()
        ]

    def note(self, questions: Sequence[OptOutQuestion]) -> None:
        """Keep questions until they are answered. Raises LeaseLostError."""
        self._ledger.opt_out_questions.note(questions, lease=self._lease.name, fence=self._lease.fence)

    def ask(self, list_id: str) -> tuple[list[ConsentEvent], str]:
        """Ask for the activity of the members in question, and record what is new of it.

        Returns the events, and why members are still in question, empty when none is. Raises LeaseLostError.
        """
        asked = self._ledger.opt_out_questions.open(list_id, self._asked_at_most)
        if not asked:
            return [], ""
        answers, failure = self._answers(asked)
        answered = [question for question in asked if question.email in answers]
        history = self._ledger.consent.events_of_members(list_id, [each.email for each in answered])
        states = self._ledger.members.known_states(list_id, [each.email for each in answered])
        ahead = _clock_ahead(self._client, self._ledger)
        events: list[ConsentEvent] = []
        for question in list(answered):
            if self._erased.includes(question.email):
                continue
            known, state = history.get(question.email, []), states.get(question.email)
            shown = answers[question.email]
            acts = new_acts(shown, known, since=question.since, status=question.status, clock_ahead=ahead)
            since = undecided_since(
                shown,
                known,
                since=question.since,
                status=question.status,
                changed_at=question.changed_at,
                written_at=state.written_at + ahead if state is not None and state.written_at else None,
                clock_ahead=ahead,
            )
            if not acts and since is not None:
                try:
                    if is_unsubscribed_since(
                        self._client, list_id, question.email, since, question.changed_at
                    ):
                        acts = [undated_opt_out(question.changed_at)]
                except MailchimpError as error:
                    failure = mask_text(str(error))
                    answered.remove(question)
                    self._ledger.opt_out_questions.failed([question])
                    continue
            events += self._events(question, acts)
        self._ledger.members.record_past(events, lease=self._lease.name, fence=self._lease.fence)
        self._ledger.opt_out_questions.answered(answered, lease=self._lease.name, fence=self._lease.fence)
        left = self._ledger.opt_out_questions.count([list_id])
        if not left:
            return events, ""
        doubt = (
            f"{left:,} members changed and have the same status: whether they opted out is asked next time"
        )
        return events, f"{doubt} ({failure})" if failure else doubt

    def _answers(self, asked: Sequence[OptOutQuestion]) -> tuple[dict[str, list[Act]], str]:
        """What the feeds show, by address, and why some could not be read."""
        answers: dict[str, list[Act]] = {}
        failures: dict[str, MailchimpError] = {}

        def ask(question: OptOutQuestion) -> None:
            if len(failures) >= _GIVE_UP_AFTER:
                return
            try:
                entries = read_activity(self._client, question.list_id, subscriber_hash(question.email))
            except MailchimpNotFoundError:
                answers[question.email] = []
            except MailchimpError as error:
                failures[question.email] = error
            else:
                answers[question.email] = [act for act in map(act_of_activity, entries) if act is not None]

        if len(asked) == 1:
            ask(asked[0])
        else:
            run_concurrently((partial(ask, question) for question in asked), _WORKERS, self._client.stop)
        self._ledger.opt_out_questions.failed([each for each in asked if each.email in failures])
        return answers, mask_text(str(next(iter(failures.values())))) if failures else ""

    def _events(self, question: OptOutQuestion, acts: Sequence[Act]) -> list[ConsentEvent]:
        now = self._ledger.now()
        before, events = question.status if question.status != MemberStatus.SUBSCRIBED else "", []
        for act in acts:
            because = act.known_from if act.by != Origin.UNKNOWN else f"{act.known_from}, which does not tell"
            evidence: dict[str, object] = {"origin_because": because, "same_status": question.status}
            if not act.is_dated:
                evidence["dated_at_the_latest"] = True
            events.append(
                ConsentEvent(
                    company=question.company,
                    audience=question.audience,
                    list_id=question.list_id,
                    email=question.email,
                    event=EVENT_OF_STATUS[act.status],
                    origin=act.by,
                    status_from=before if before != act.status else MemberStatus.SUBSCRIBED,
                    status_to=act.status,
                    occurred_at=act.at,
                    seen_at=now,
                    evidence=evidence,
                    source=EventSource.POLL,
                )
            )
            before = act.status
        return events


def questions_about(
    client: MailchimpClient, ledger: Ledger, list_id: str, rows: "pd.DataFrame", since: datetime
) -> dict[str, Sighting]:
    """Which of these members are to be asked about, by address; nothing is recorded."""
    known = ledger.members.known_states(list_id, list(rows["email"]))
    ahead = _clock_ahead(client, ledger)
    sightings: dict[str, Sighting] = {}
    row: Any
    for row in rows.itertuples(index=False):
        state, changed_at = known.get(row.email), moment(row.last_changed)
        if state is not None and state.status == row.status and changed_at is not None:
            sightings[row.email] = Sighting(
                status=row.status,
                changed_at=changed_at,
                known_status=state.status,
                known_change=state.last_changed,
                opted_in_at=moment(row.timestamp_opt),
                written_at=state.written_at + ahead if state.written_at else None,
            )
    # The history is asked for about few.
    moved = {email: seen for email, seen in sightings.items() if is_to_be_asked(seen, (), since)}
    events = ledger.consent.events_of_members(list_id, moved)
    return {
        email: seen for email, seen in moved.items() if is_to_be_asked(seen, events.get(email, ()), since)
    }


def _clock_ahead(client: MailchimpClient, ledger: Ledger) -> timedelta:
    """How far Mailchimp's clock is ahead of ours."""
    return client.server_now() - ledger.now()
