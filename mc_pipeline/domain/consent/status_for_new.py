"""Which status a person who is not in the audience yet may be created with.

The weakest honest one: ``transactional`` unless dated evidence of consent allows more. The status of an
existing member is never decided here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mc_pipeline.domain.company import ConsentRule
from mc_pipeline.domain.consent.evidence import Evidence, counting_evidence
from mc_pipeline.vocabulary import MemberStatus

LEFT_OUT = ""
WITHOUT_EVIDENCE = "not created without evidence of consent"


@dataclass(frozen=True)
class StatusDecision:
    """The status of a new member (empty: not created), why, and the evidence relied on."""

    status: str
    because: str
    evidence: Evidence | None = None

    @property
    def lacks_evidence(self) -> bool:
        """Whether the person is left out for want of evidence alone."""
        return self.status == LEFT_OUT and self.because.startswith(WITHOUT_EVIDENCE)


def status_for_new(
    evidence: Iterable[Evidence],
    consent: ConsentRule | None,
    *,
    double_optin: bool,
    ever_opted_out: bool,
    blacklisted: bool,
) -> StatusDecision:
    """Decide the status of a person who is created.

    Args:
        evidence: what Odoo has about this address.
        consent: which of it the audience accepts; None: none.
        double_optin: the audience asks people to confirm. They may have forgotten us: ``transactional``,
            and ``pending`` (a confirmation mail) only where the settings ask for it.
        ever_opted_out: unsubscribed, cleaned or complained in any audience of any company; evidence is void.
        blacklisted: opted out in Odoo; the person is not created at all.

    Returns:
        ``transactional``, ``subscribed``, ``pending`` or empty. ``evidence`` is set when it counts, whatever
        the status.
    """
    if blacklisted:
        return StatusDecision(LEFT_OUT, "not created: the address is on Odoo's blacklist")
    if ever_opted_out:
        relied_on, because = None, "any consent is void: the address opted out of an audience or bounced"
    else:
        verdict = counting_evidence(evidence, consent)
        relied_on, because = verdict.evidence, verdict.because
    if relied_on is None:
        if consent is not None and consent.without_evidence == "leave_out":
            return StatusDecision(LEFT_OUT, f"{WITHOUT_EVIDENCE}: {because}")
        return StatusDecision(MemberStatus.TRANSACTIONAL, because)
    if not double_optin:
        return StatusDecision(MemberStatus.SUBSCRIBED, because, relied_on)
    if consent is not None and consent.send_confirmation:
        return StatusDecision(
            MemberStatus.PENDING, f"{because}; the audience asks people to confirm", relied_on
        )
    because = f"{because}; the audience asks people to confirm, and no confirmation is sent"
    return StatusDecision(MemberStatus.TRANSACTIONAL, because, relied_on)
