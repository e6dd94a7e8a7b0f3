"""Asks both systems for opt-outs shortly before somebody is made reachable (rule 4.1).

Asked by change: every audience of companies.yaml, the company's Odoo, and who was erased. What is read goes
into the ledger, whose transaction then decides (``ledger.refusals``).
"""

import threading
import time
from collections.abc import Callable, Collection
from datetime import timedelta

from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.opt_outs.asking_odoo import ask_odoo
from mc_pipeline.sync.opt_outs.hearing import Hearing
from mc_pipeline.sync.opt_outs.polling import HOLDING_NOBODY_ELSE
from mc_pipeline.sync.systems import Systems
from mc_pipeline.vocabulary import MemberStatus

# Together less than a minute: an audience may have been read by another run before we ask.
_HEARD_AT_MOST_BEFORE = timedelta(seconds=30)
_ASKED_EVERY_SECONDS = 20.0
_RECENT_SECONDS = 28.0
ERASED = "the person was erased"


class AskedSince:
    """``push.last_look.OptOutsSince`` for one company's run; safe to use from several threads."""

    def __init__(
        self,
        systems: Systems,
        company: CompanySettings,
        run_id: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._systems = systems
        self._company = company
        self._hearing = Hearing(systems, run_id)
        self._clock = clock
        self._asking = threading.Lock()
        self._asked_at: float | None = None
        self._unknown = ""

    def ask(self) -> str:
        """Ask, unless that was a moment ago; return what could not be asked, and why."""
        with self._asking:
            if self._asked_at is None or self._clock() - self._asked_at > _ASKED_EVERY_SECONDS:
                began = self._clock()
                self._unknown = self._ask()
                # What could not be asked is not asked at once again, however long it took to find that out.
                self._asked_at = self._clock() if self._unknown else began
            return self._unknown

    def is_recent(self) -> bool:
        """Whether what is known is less than a minute old."""
        asked_at = self._asked_at
        return asked_at is not None and self._clock() - asked_at <= _RECENT_SECONDS

    def is_erased(self, email: str) -> bool:
        """Whether the person was erased by now."""
        return self._systems.erased_by_now().includes(email)

    def _ask(self) -> str:
        own = self._company
        others = [each for each in self._systems.settings.companies.values() if each.key != own.key]
        reasons = []
        for heard in self._hearing.hear_all([own, *others], pause=_HEARD_AT_MOST_BEFORE):
            unheard = heard.trouble and not heard.gone
            if unheard:
                of_company = "" if heard.company == own.key else f" of {heard.company}"
                reasons.append(f"audience {heard.audience}{of_company} ({heard.trouble})")
            reasons += [
                f"audience {heard.audience}, {what} ({why})"
                for what, why in heard.doubts.items()
                if what not in HOLDING_NOBODY_ELSE
            ]
        reasons += [f"Odoo's {what} ({why})" for what, why in ask_odoo(self._systems, own).troubles.items()]
        return f"opt-outs since are not known: {'; '.join(reasons)}" if reasons else ""


class AskedAudiences:
    """Asks an audience who left it, shortly before orders of its members are sent (rule 9.1)."""

    def __init__(
        self,
        systems: Systems,
        company: CompanySettings,
        run_id: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._systems = systems
        self._company = company
        self._hearing = Hearing(systems, run_id)
        self._clock = clock
        self._asked: dict[str, tuple[float, str]] = {}

    def not_there(self, list_id: str, emails: Collection[str]) -> dict[str, str]:
        """Who of these addresses has no member any more to whom an order may be written, and why.

        When the audience cannot be asked, that holds for all of them; for erased people it always does.
        """
        unknown = self._ask(list_id)
        # After the audience was asked, which takes time.
        erased = self._systems.erased_by_now()
        gone = {email: ERASED for email in emails if erased.includes(email)}
        if unknown:
            return dict.fromkeys(emails, unknown) | gone
        statuses = self._systems.ledger.members.last_statuses(list_id, emails)
        left = self._systems.ledger.changed_addresses.left_behind(list_id, emails)
        changed = dict.fromkeys(left, "changed their e-mail in Mailchimp since the audience was read")
        archived = {
            email: "archived in Mailchimp since the audience was read"
            for email in emails
            if statuses.get(email) == MemberStatus.ARCHIVED
        }
        return changed | archived | gone

    def _ask(self, list_id: str) -> str:
        asked_at, unknown = self._asked.get(list_id, (float("-inf"), ""))
        if self._clock() - asked_at <= _ASKED_EVERY_SECONDS:
            return unknown
        key = next((key for key, each in self._company.audiences.items() if each.list_id == list_id), "")
        began = self._clock()
        heard = self._hearing.hear(self._company, key, list_id, pause=_HEARD_AT_MOST_BEFORE)
        doubts = "; ".join(why for what, why in heard.doubts.items() if what == MemberStatus.ARCHIVED)
        unknown = heard.trouble or doubts
        if unknown:
            unknown = f"who left audience {key} by now is not known: {unknown}"
        self._asked[list_id] = (began, unknown)
        return unknown
