"""Checks of Mailchimp: the API key of each account, and each audience of the settings."""

from collections.abc import Iterator
from dataclasses import dataclass

from mc_pipeline.doctor.findings import Check, Result, ok, problem, warning
from mc_pipeline.doctor.systems import CheckupSystems
from mc_pipeline.domain.fields import MERGE_FIELD_SOURCES
from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpAuthenticationError, MailchimpNotFoundError
from mc_pipeline.mailchimp.merge_fields import ROOM, compare_merge_fields, list_merge_fields
from mc_pipeline.settings import AudienceSettings, CompanySettings


@dataclass(frozen=True)
class Account:
    """One Mailchimp user of the settings, asked through the client of a company that uses it."""

    systems: CheckupSystems
    key: str
    company: CompanySettings

    @property
    def client(self) -> MailchimpClient:
        return self.systems.mailchimp(self.company)


@dataclass(frozen=True)
class AudienceOfCompany:
    """One audience of the settings, in its account."""

    systems: CheckupSystems
    company: CompanySettings
    settings: AudienceSettings

    @property
    def client(self) -> MailchimpClient:
        return self.systems.mailchimp(self.company)

    def where(self, key: str) -> str:
        """Name a setting of the audience as companies.yaml has it."""
        return f"companies.{self.company.key}.audiences.{self.settings.key}.{key}"


def check_key(account: Account) -> Iterator[Result]:
    """Mailchimp answers and takes the key."""
    try:
        answer = account.client.root.get_root(fields=["account_name"])
    except MailchimpAuthenticationError as error:
        yield problem(
            "API key refused",
            f"Correct the variable that mailchimp.{account.key}.api_key names. {error.advice}",
        )
        return
    yield ok(f"key accepted, account {require(answer, 'account_name', str)}")


ACCOUNT_CHECKS: tuple[Check[Account], ...] = (Check("API key", check_key, gate=True),)


def check_audience(audience: AudienceOfCompany) -> Iterator[Result]:
    """The audience exists in the account of the key."""
    try:
        found = audience.systems.audience(audience.company, audience.settings.list_id)
    except MailchimpNotFoundError:
        there = (
            ", ".join(f"{each['id']} ({each['name']})" for each in _all_audiences(audience.client)) or "none"
        )
        yield problem(
            f"no audience {audience.settings.list_id}",
            f"Correct {audience.where('list_id')}: the account has {there}. Mailchimp shows the Audience "
            "ID under Audience, Settings.",
        )
        return
    contacts = "" if found.total_contacts is None else f"{found.total_contacts:,} contacts, "
    yield ok(f"{found.name}: {contacts}{found.member_count:,} subscribed")


def _all_audiences(client: MailchimpClient) -> list[dict[str, str]]:
    answer = client.lists.get_all_lists(fields=["lists.id", "lists.name"], count=50)
    return require(answer, "lists", list)


def check_double_opt_in(audience: AudienceOfCompany) -> Iterator[Result]:
    """What the audience's double opt-in means for people who are created."""
    consent = audience.settings.consent
    if not audience.systems.audience(audience.company, audience.settings.list_id).double_optin:
        if consent is None:
            yield ok("off; new people are created as transactional")
        elif consent.send_confirmation:
            yield warning(
                "off, and send_confirmation is set",
                f"No confirmation is sent: remove {audience.where('consent.send_confirmation')}, or switch "
                "double opt-in on in Mailchimp.",
            )
        else:
            yield ok("off; new people with evidence of consent are created as subscribed")
        return
    if consent is None:
        yield ok("on; new people are created as transactional")
    elif consent.send_confirmation:
        yield ok(
            f"on; new people with evidence are asked to confirm by mail, at most "
            f"{consent.max_confirmations} a day, nobody in the first load"
        )
    elif consent.upgrade:
        yield warning(
            "on, and upgrade is set",
            f"Nobody is upgraded where people confirm: remove {audience.where('consent.upgrade')}, or switch "
            "double opt-in off in Mailchimp.",
        )
    else:
        yield warning(
            "on; even new people with evidence of consent are created as transactional",
            f"To have them asked by mail, set send_confirmation: true in {audience.where('consent')}.",
        )


def check_merge_fields(audience: AudienceOfCompany) -> Iterator[Result]:
    """The merge fields of the settings are there with the right type, or can be created."""
    existing = list_merge_fields(audience.client, audience.settings.list_id)
    wanted = {tag: MERGE_FIELD_SOURCES[source] for tag, source in audience.settings.merge_fields.items()}
    compared = compare_merge_fields(existing, wanted)
    for tag, sentence in compared.problems.items():
        yield problem(f"merge field {tag}", f"{audience.where(f'merge_fields.{tag}')}: {sentence}.")
    unfilled = [tag for tag, field in existing.items() if field.required and tag not in wanted]
    if unfilled:
        yield warning(
            f"required and not filled: {', '.join(unfilled)}",
            "Mailchimp refuses new people without a value there: make the field optional in Mailchimp "
            "(Audience, Settings, Audience fields), or fill it by merge_fields in the settings.",
        )
    parts = [f"{len(compared.present)} of {len(wanted)} there"]
    if compared.missing:
        parts.append(f"the first push creates {', '.join(compared.missing)}")
    parts.append(f"room for {max(ROOM - len(existing) - len(compared.missing), 0)} more")
    if not compared.problems:
        yield ok("; ".join(parts))


AUDIENCE_CHECKS: tuple[Check[AudienceOfCompany], ...] = (
    Check("audience", check_audience, gate=True),
    Check("double opt-in", check_double_opt_in),
    Check("merge fields", check_merge_fields),
)
