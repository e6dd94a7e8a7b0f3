"""Checks of Mailchimp: the API key of each account, and each audience of the settings."""

from collections.abc import Iterator, Mapping

from mc_pipeline.doctor.findings import Check, Result, not_known, ok, problem, warning
from mc_pipeline.doctor.subjects import Account, AudienceOfCompany
from mc_pipeline.domain.contacts.merge_fields import MERGE_FIELD_SOURCES
from mc_pipeline.ledger import LedgerError
from mc_pipeline.ledger.field_definitions import UsedField
from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpAuthenticationError, MailchimpNotFoundError
from mc_pipeline.mailchimp.lists import welcome_automations
from mc_pipeline.mailchimp.merge_fields import (
    PREMIUM_ROOM,
    US_PHONE,
    compare_merge_fields,
    list_merge_fields,
    room_of,
)


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
    audiences: list[dict[str, str]] = require(answer, "lists", list)
    return audiences


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


def check_welcome(audience: AudienceOfCompany) -> Iterator[Result]:
    """Which automation would write to people who are created as subscribed."""
    found = audience.systems.audience(audience.company, audience.settings.list_id)
    titles = welcome_automations(audience.client, audience.settings.list_id)
    if not titles and not found.has_welcome:
        yield not_known(
            "no classic welcome automation is connected; customer journeys cannot be listed: look under "
            "Automations in Mailchimp for one that starts when somebody joins"
        )
        return
    named = f"welcome automation connected: {', '.join(titles) if titles else 'with an unknown name'}"
    if audience.settings.consent is None:
        yield ok(f"{named}; it does not mail people who are created as transactional")
        return
    yield warning(
        named,
        "It mails everybody who is created as subscribed: pause it in Mailchimp during the first load, "
        "unless that is what you want.",
    )


def check_merge_fields(audience: AudienceOfCompany) -> Iterator[Result]:
    """The merge fields of the settings are there with the right type, or can be created."""
    existing = list_merge_fields(audience.client, audience.settings.list_id)
    wanted = {tag: MERGE_FIELD_SOURCES[source] for tag, source in audience.settings.merge_fields.items()}
    compared = compare_merge_fields(existing, wanted, _used_before(audience))
    full = [tag for tag, each in compared.problems.items() if each.code == "full"]
    if full:
        each = compared.problems[full[0]]
        yield problem(
            f"merge field {', '.join(full)}: no room",
            f"{audience.where('merge_fields')}: {each.said}: {each.what_to_do}.",
        )
    for tag, each in compared.problems.items():
        if each.code != "full":
            yield problem(f"merge field {tag}", f"{audience.where(f'merge_fields.{tag}')}: {each}.")
    american = [tag for tag in compared.present if existing[tag].phone_format == US_PHONE]
    if american:
        yield warning(
            f"takes phone numbers of the United States only: {', '.join(american)}",
            f"People with other numbers are written without them: set the phone format to International in "
            f"Mailchimp (Audience, Settings, Audience fields), or remove the field from "
            f"{audience.where('merge_fields')}.",
        )
    unfilled = [
        tag
        for tag, field in existing.items()
        if field.required and tag not in wanted and not field.default_value
    ]
    if unfilled:
        yield warning(
            f"required and not filled: {', '.join(unfilled)}",
            "Mailchimp refuses new people without a value there: make the field optional in Mailchimp "
            "(Audience, Settings, Audience fields), or fill it by merge_fields in the settings.",
        )
    parts = [f"{len(compared.present)} of {len(wanted)} there"]
    if compared.missing:
        parts.append(f"the first push creates {', '.join(compared.missing)}")
    taken, room = len(existing) + len(compared.missing), room_of(existing)
    parts.append(f"room for {max(room - taken, 0)} more")
    if room < PREMIUM_ROOM:
        parts[-1] += f" ({PREMIUM_ROOM - taken} with Mailchimp Premium)"
    if not compared.problems:
        yield ok("; ".join(parts))


def _used_before(audience: AudienceOfCompany) -> Mapping[str, UsedField]:
    """The fields that earlier runs used, by tag; a ledger that cannot be opened has a check of its own."""
    try:
        return audience.systems.ledger.field_definitions.used(audience.settings.list_id)
    except LedgerError:
        return {}


def check_store(audience: AudienceOfCompany) -> Iterator[Result]:
    """The store of the settings is this audience's, and the only one that reports revenue there."""
    stores = audience.systems.stores(audience.company)
    wanted, list_id = audience.settings.store, audience.settings.list_id
    others = [
        f"{store.id} ({store.name})"
        for store in stores
        if store.list_id == list_id and (wanted is None or store.id != wanted.id)
    ]
    if wanted is None:
        yield ok(f"none in the settings; the audience has {', '.join(others) or 'none'}")
        return
    there = next((store for store in stores if store.id == wanted.id), None)
    if there is None:
        yield ok(f"{wanted.id}: the first push creates it, in {wanted.currency}")
    elif there.list_id != list_id:
        yield problem(
            f"store {wanted.id} belongs to audience {there.list_id}",
            f"Choose another id in {audience.where('store.id')}: Mailchimp never changes a store's audience.",
        )
    elif there.currency != wanted.currency:
        yield problem(
            f"store {wanted.id} is in {there.currency}",
            f"Choose another id in {audience.where('store.id')}: its orders and those to come, in "
            f"{wanted.currency}, would be added up as one currency.",
        )
    else:
        yield ok(f"{wanted.id}: there, in {there.currency}")
    if others:
        yield warning(
            f"other stores of the audience: {', '.join(others)}",
            "If they hold the same orders, Mailchimp counts the revenue twice: disconnect them there "
            f"(Integrations), or remove {audience.where('store')}.",
        )


AUDIENCE_CHECKS: tuple[Check[AudienceOfCompany], ...] = (
    Check("audience", check_audience, gate=True),
    Check("double opt-in", check_double_opt_in),
    Check("welcome automations", check_welcome),
    Check("merge fields", check_merge_fields),
    Check("store", check_store),
)
