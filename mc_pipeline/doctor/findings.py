"""What a check is, what it finds, and how an error of ours becomes a finding."""

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

from mc_pipeline.domain.errors import RuleError
from mc_pipeline.ledger import LedgerError
from mc_pipeline.mailchimp import errors as mailchimp
from mc_pipeline.masking import mask_text
from mc_pipeline.odoo import errors as odoo
from mc_pipeline.sync.errors import SyncError

Subject = TypeVar("Subject")


class Status(StrEnum):
    """How a check came out; ``NOT_CHECKED`` because of another problem, or because no system says it."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Result:
    """One result of a check: what was found, and what to do about it (empty when nothing is)."""

    status: Status
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Finding:
    """A result with its place: the part of the set-up and the name of the check. Addresses are masked."""

    where: str
    check: str
    status: Status
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One check of a subject.

    When a ``gate`` finds a problem, the checks after it cannot be made; this one cannot be made when one that
    it ``needs`` found a problem.
    """

    name: str
    look: Callable[[Subject], Iterable[Result]]
    gate: bool = False
    needs: tuple[str, ...] = ()


def ok(found: str) -> Result:
    """Say that something is as it should be."""
    return Result(Status.OK, found)


def warning(found: str, fix: str) -> Result:
    """Say that syncs will run, and something in them may be other than wanted."""
    return Result(Status.WARNING, found, fix)


def not_known(found: str) -> Result:
    """Say what cannot be known, and why."""
    return Result(Status.NOT_CHECKED, f"not known: {found}")


def problem(found: str, fix: str) -> Result:
    """Say that syncs will fail, or leave something out."""
    return Result(Status.PROBLEM, found, fix)


def look_at(where: str, subject: Subject, checks: Iterable[Check[Subject]]) -> Iterator[Finding]:
    """Make the checks of one subject; a check that fails never hides the others.

    A problem with the fix of an earlier one is shown as a consequence of that one.
    """
    closed_by: str | None = None
    fixes: dict[str, str] = {}
    for check in checks:
        cause = closed_by or next((name for name in fixes.values() if name in check.needs), None)
        if cause is not None:
            yield Finding(where, check.name, Status.NOT_CHECKED, f"because of {cause}")
            continue
        for result in _results(check, subject):
            if result.status is Status.PROBLEM and fixes.setdefault(result.fix, check.name) != check.name:
                yield Finding(where, check.name, Status.NOT_CHECKED, f"because of {fixes[result.fix]}")
                continue
            yield Finding(where, check.name, result.status, mask_text(result.found), mask_text(result.fix))
            if check.gate and result.status is Status.PROBLEM:
                closed_by = check.name


def _results(check: Check[Subject], subject: Subject) -> Iterator[Result]:
    try:
        yield from check.look(subject)
    except Exception as error:
        yield problem_of(error)


_DIAGNOSES: tuple[tuple[type[Exception], str], ...] = (
    (odoo.OdooConnectionError, "cannot be reached"),
    (odoo.OdooDatabaseError, "no such database"),
    (odoo.OdooAuthenticationError, "login refused"),
    (odoo.OdooCompanyArchivedError, "archived in Odoo"),
    (odoo.OdooAccessError, "right missing"),
    (odoo.OdooModelMissingError, "module missing"),
    (odoo.OdooFieldMissingError, "field missing"),
    (odoo.OdooVersionError, "version not supported"),
    (odoo.OdooError, "no usable answer"),
    (mailchimp.MailchimpAuthenticationError, "API key refused"),
    (mailchimp.MailchimpBlockedError, "this machine is blocked"),
    (mailchimp.MailchimpPermissionError, "right missing"),
    (mailchimp.MailchimpNotFoundError, "does not exist"),
    (mailchimp.MailchimpRateLimitError, "too many connections"),
    (mailchimp.MailchimpNotSentError, "cannot be reached"),
    (mailchimp.MailchimpError, "no usable answer"),
    (LedgerError, "the ledger cannot be used"),
    (RuleError, "not clear"),
    (SyncError, "not usable"),
)
"""What is wrong in a word or two, by error; the first that fits. Its message says more, and what to do."""


def problem_of(error: Exception) -> Result:
    """Turn an error into a problem; for a bug, only its kind and place are shown."""
    for kind, diagnosis in _DIAGNOSES:
        if isinstance(error, kind):
            return problem(diagnosis, _sentence(str(error)))
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return problem(
            "cannot be used", f"{error.strerror or type(error).__name__}{place}: correct its rights."
        )
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return problem(
        f"the check failed with {type(error).__name__}",
        f"This is a bug in mc_pipeline ({Path(frame.filename).name}, line {frame.lineno}): report it.",
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ")", "!")) else ".")
