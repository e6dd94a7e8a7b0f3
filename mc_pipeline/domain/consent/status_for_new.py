"""Which status a person who is not in the audience yet is created with: decided here alone, in two steps.

:func:`status_for_new` says what the evidence in Odoo allows: the weakest honest status, ``transactional``
unless dated evidence of consent allows more. The table ``contacts`` shows it. :func:`status_in_run` says
with which status a plan creates the person: never more than is allowed, and less or not at all by what the
run knows of the person besides. The status of an existing member is never decided here.
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
    """Decide the strongest status that a new person may be created with, by the evidence.

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


def status_in_run(
    allowed: str,
    *,
    left_out: str,
    inherits_opt_out: bool,
    ever_opted_out: bool,
    returns: bool,
    consented_elsewhere: bool,
    double_optin: bool,
    first_load: bool,
    asked_before: bool,
) -> str:
    """Decide the status that a plan creates a person with.

    Args:
        allowed: what the evidence allows (:func:`status_for_new`); empty: the person is not created.
        left_out: why the run does not create the person, such as Odoo's blacklist; empty: it does.
        inherits_opt_out: the person opted out under a former address, or took the consent back that this
            audience relied on. They enter as ``unsubscribed``, so that nobody subscribes them later.
        ever_opted_out: the address opted out, bounced or was archived in any audience: consent is void.
        returns: the person was archived by this pipeline and qualifies again.
        consented_elsewhere: the person has another address now than the one that the consent was given for.
        double_optin: the audience asks people to confirm; nobody is subscribed without that.
        first_load: the first load of the audience is not over, or tried to create this person: it asks
            nobody to confirm.
        asked_before: somebody at this address was asked to confirm before: once per address.

    Returns:
        ``transactional``, ``subscribed``, ``pending``, ``unsubscribed``, or empty: not created.
    """
    if left_out or allowed == LEFT_OUT:
        return LEFT_OUT
    if inherits_opt_out:
        return MemberStatus.UNSUBSCRIBED
    if allowed == MemberStatus.TRANSACTIONAL or ever_opted_out or returns or consented_elsewhere:
        return MemberStatus.TRANSACTIONAL
    if allowed == MemberStatus.SUBSCRIBED:
        return MemberStatus.TRANSACTIONAL if double_optin else MemberStatus.SUBSCRIBED
    return MemberStatus.TRANSACTIONAL if first_load or asked_before else MemberStatus.PENDING
