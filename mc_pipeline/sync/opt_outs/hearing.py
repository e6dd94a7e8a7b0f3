"""Reads audiences for opt-outs: records what changed in their consent, each audience separately (rule 5.1).

An audience is read at most once a minute, whichever run asks: another run within the minute finds its events
in the ledger. One that cannot be read is an error of that audience; the others are read.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from mc_pipeline.ledger import ConsentEvent, LeaseHeldError, LeaseLostError
from mc_pipeline.ledger.hearings import NOT_FOUND, HearingState
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpAuthenticationError, MailchimpNotFoundError
from mc_pipeline.masking import mask_text
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.opt_outs.lease import hearing_lease
from mc_pipeline.sync.opt_outs.origins import Origins
from mc_pipeline.sync.opt_outs.polling import HOLDING_NOBODY_ELSE, AudiencePolling, Poll
from mc_pipeline.sync.systems import Systems

AUTHENTICATION = "authentication"
_OTHER = "other"

_LONGEST_WAIT_SECONDS = 90.0
_PAUSE_AFTER_FAILURE_SECONDS = 20.0


@dataclass(frozen=True)
class Heard:
    """The result of reading one audience for opt-outs.

    events    that were news
    first     nobody had read it before, so that old opt-outs are among the events
    doubts    what of it could not be read, and why; the next read begins where this one began
    trouble   why it could not be read at all; ``kind`` is authentication, not_found or other
    gone      it was deleted in Mailchimp, as two reads found: it no longer has members
    """

    company: str
    audience: str
    list_id: str
    events: Sequence[ConsentEvent] = ()
    first: bool = False
    doubts: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    kind: str = ""
    gone: bool = False

    @property
    def reasons(self) -> list[str]:
        """What could not be read, each with its place, for people."""
        if self.trouble:
            return [f"{self.audience}: {self.trouble}"]
        return [f"{self.audience}, {what}: {why}" for what, why in self.doubts.items()]


class Hearing:
    """Reads audiences for opt-outs in one run, named by ``owner``."""

    def __init__(self, systems: Systems, owner: str) -> None:
        self._systems = systems
        self._owner = owner

    def hear_company(self, company: CompanySettings, *, pause: timedelta | None = None) -> list[Heard]:
        """Read every audience for opt-outs of a company, those without trouble first.

        ``pause``: the shortest time between two hearings of an audience, where it is not the setting.
        """
        states = self._systems.ledger.hearings.states(
            [audience.list_id for audience in company.audiences.values()]
        )
        in_order = sorted(company.audiences.items(), key=lambda item: states[item[1].list_id].failures)
        heard = {key: self.hear(company, key, audience.list_id, pause=pause) for key, audience in in_order}
        return [heard[key] for key in company.audiences]

    def hear_all(
        self, companies: Iterable[CompanySettings], *, pause: timedelta | None = None
    ) -> list[Heard]:
        """Read every audience for opt-outs of these companies."""
        return [each for company in companies for each in self.hear_company(company, pause=pause)]

    def hear(
        self, company: CompanySettings, audience: str, list_id: str, *, pause: timedelta | None = None
    ) -> Heard:
        """Read one audience for opt-outs, unless that was a moment ago; what webhooks delivered is always
        taken."""
        ledger = self._systems.ledger
        state = ledger.hearings.states([list_id])[list_id]
        waiting = ledger.inbox.count_waiting([list_id])
        if self._failed_just_now(company, state):
            return self._trouble(company, audience, state.failure, state)
        if self._is_recent(company, list_id, pause) and not waiting:
            return Heard(company.key, audience, list_id)
        try:
            with hearing_lease(
                self._systems, company.key, list_id, self._owner, longest_wait=_LONGEST_WAIT_SECONDS
            ) as lease:
                # Another run may have read it while this one waited.
                is_recent = self._is_recent(company, list_id, pause)
                client = self._systems.mailchimp(company, impatient=True)
                polling = AudiencePolling(
                    client, ledger, lease, Origins(client, ledger), self._systems.erased
                )
                return self._heard(company, audience, list_id, client, polling, only_deliveries=is_recent)
        except (LeaseHeldError, LeaseLostError) as held:
            return Heard(company.key, audience, list_id, trouble=str(held), kind=_OTHER)
        except Exception as error:
            # Whatever is wrong with one audience, the others are read.
            words = mask_text(str(error)) or type(error).__name__
            ledger.hearings.failed(list_id, _kind_of(error), words, by=self._owner)
            return self._trouble(company, audience, words, ledger.hearings.states([list_id])[list_id])

    def _trouble(self, company: CompanySettings, audience: str, words: str, state: HearingState) -> Heard:
        return Heard(
            company.key,
            audience,
            state.list_id,
            trouble=words,
            kind=state.failure_kind,
            gone=state.is_gone,
        )

    def _heard(
        self,
        company: CompanySettings,
        audience: str,
        list_id: str,
        client: MailchimpClient,
        polling: AudiencePolling,
        *,
        only_deliveries: bool,
    ) -> Heard:
        ledger = self._systems.ledger
        began = self._systems.now()
        read_until = ledger.opt_out_reads.read_until([list_id]).get(list_id)
        if read_until is None:
            # By Mailchimp's clock, which its answers show: it dates what happened.
            client.ping.get()
        # What happened before the first read is old, also when that one breaks half-way.
        ledger.old_opt_outs.begin(company.key, audience, list_id, read_until or client.server_now())
        if only_deliveries:
            return Heard(company.key, audience, list_id, polling.take_deliveries(audience, list_id))
        poll: Poll = polling.poll(audience, list_id)
        if not poll.doubts.keys() - HOLDING_NOBODY_ELSE:
            ledger.hearings.heard(list_id, began)
        return Heard(company.key, audience, list_id, poll.events, poll.first, poll.doubts)

    def _failed_just_now(self, company: CompanySettings, state: HearingState) -> bool:
        """Whether it would be asked again at once: a run must not wait for the same trouble many times."""
        every = self._systems.settings.mailchimp[company.mailchimp].hear_every_seconds
        pause = timedelta(seconds=min(every, _PAUSE_AFTER_FAILURE_SECONDS))
        return state.failed_at is not None and self._systems.now() - state.failed_at < pause

    def _is_recent(self, company: CompanySettings, list_id: str, shortest: timedelta | None) -> bool:
        every = timedelta(seconds=self._systems.settings.mailchimp[company.mailchimp].hear_every_seconds)
        pause = every if shortest is None else min(every, shortest)
        heard_at = self._systems.ledger.hearings.states([list_id])[list_id].heard_at
        return heard_at is not None and self._systems.now() - heard_at < pause


def _kind_of(error: Exception) -> str:
    if isinstance(error, MailchimpAuthenticationError):
        return AUTHENTICATION
    return NOT_FOUND if isinstance(error, MailchimpNotFoundError) else _OTHER


def hear_other_companies(
    systems: Systems, company: CompanySettings, run_id: str, log: logging.Logger
) -> None:
    """Consent is void for people who opted out of any audience of any company: those are read first (rule
    5.6)."""
    others = [each for each in systems.settings.companies.values() if each.key != company.key]
    for heard in Hearing(systems, run_id).hear_all(others):
        for reason in heard.reasons:
            # Said again by the push, of each person whom it holds back because of it.
            log.warning(f"Opt-outs of company {heard.company} cannot be read in {reason}")
