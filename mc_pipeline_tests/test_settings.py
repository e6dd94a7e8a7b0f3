"""What companies.yaml may say, and what is said when it is wrong."""

import itertools
import pickle
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mc_pipeline.settings import AmountCondition, Guard, RuleSettings, Settings, SettingsError, load_settings
from mc_pipeline.settings.models import GuardSettings
from mc_pipeline.settings.reachability import covering_audiences, is_contradictory

ENVIRONMENT = {
    "ODOO_SECRET": "odoo-p4ssword",
    "MAILCHIMP_API_KEY": "0123456789abcdef-us21",
    "SECOND_API_KEY": "fedcba9876543210-us7",
    "NO_DATA_CENTRE": "0123456789abcdefWITHOUT",
    "TWO_DASHES": "01234567-89abcdef-us21",
    "EMPTY": "  ",
    "WAREHOUSE": "warehouse_eu",
    "STAND_IN": "http://127.0.0.1:8081",
}

GOOD = """\
odoo:
  url: https://odoo.example.com/
  database: production
  user: integration@example.com
  secret: ${ODOO_SECRET}
mailchimp:
  main: {api_key: "${MAILCHIMP_API_KEY}"}
companies:
  acme_uk:
    odoo_company_id: 1
    mailchimp: main
    timezone: Europe/London
    audiences:
      wholesale:
        list_id: 1a2b3c4d5e
        when: {company_type: company, any_tag: [Wholesale, Reseller]}
        consent: {mailing_list: Newsletter}
        merge_fields: {FNAME: first_name, SPENT: total_spent}
        tags: {B2B: always, VIP: {field: total_spent, at_least: 5000}}
        store: {id: acme-uk-wholesale, name: ACME UK Wholesale, currency: GBP}
      retail:
        list_id: 2b3c4d5e6f
"""


def _load(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "companies.yaml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, ENVIRONMENT)


def _changed(*changes: tuple[str, str]) -> str:
    text = GOOD
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} must be in the good file once"
        text = text.replace(old, new)
    return text


def _refusal(tmp_path: Path, text: str) -> SettingsError:
    with pytest.raises(SettingsError) as refusal:
        _load(tmp_path, text)
    return refusal.value


def test_the_file_becomes_typed_settings(tmp_path: Path) -> None:
    settings = _load(tmp_path, GOOD)
    company = settings.companies["acme_uk"]
    wholesale, retail = company.audiences.values()
    assert settings.path == tmp_path / "companies.yaml"
    assert settings.odoo.url == "https://odoo.example.com"
    assert settings.odoo.secret.get_secret_value() == "odoo-p4ssword"
    assert settings.odoo.api == "auto"
    assert settings.mailchimp["main"].api_key.get_secret_value() == "0123456789abcdef-us21"
    assert (settings.mailchimp["main"].key, settings.mailchimp["main"].max_connections) == ("main", 8)
    assert (company.key, company.odoo_company_id, company.timezone) == ("acme_uk", 1, "Europe/London")
    assert (wholesale.key, wholesale.company, wholesale.list_id) == ("wholesale", "acme_uk", "1a2b3c4d5e")
    assert wholesale.when == RuleSettings(company_type="company", any_tag=("Wholesale", "Reseller"))
    assert wholesale.tags == {"B2B": "always", "VIP": AmountCondition(field="total_spent", at_least=5000)}
    assert wholesale.consent is not None
    assert wholesale.consent.mailing_list == "Newsletter"
    assert wholesale.store is not None
    assert wholesale.store.currency == "GBP"
    assert (retail.when, retail.consent, retail.store) == (RuleSettings(), None, None)


def test_what_is_not_said_is_the_cautious_choice(tmp_path: Path) -> None:
    company = _load(tmp_path, GOOD).companies["acme_uk"]
    consent = company.audiences["wholesale"].consent
    assert (company.duplicates, company.revenue) == ("most_recent_order", "confirmed")
    assert (company.customers.contacts, company.exclude_suppliers, company.maximum_bounces) == (
        "order",
        False,
        5,
    )
    assert (company.orders_since, company.languages, company.opt_out_scope) == (None, {}, "everywhere")
    assert consent is not None
    assert (consent.accept_undated, consent.send_confirmation, consent.upgrade) == (False, False, False)
    assert (consent.without_evidence, consent.max_confirmations) == ("transactional", 100)


@pytest.mark.parametrize(
    ("old", "new", "where", "expected"),
    [
        ("list_id: 2b3c4d5e6f", "list_id: 0123456701", "retail.list_id", "0123456701"),
        ("list_id: 2b3c4d5e6f", "list_id: 1234567890", "retail.list_id", "1234567890"),
        ("list_id: 2b3c4d5e6f", "list_id: 12345e6789", "retail.list_id", "12345e6789"),
        ("any_tag: [Wholesale, Reseller]", "countries: [NO, se]", "wholesale.when.countries", ("NO", "SE")),
        ("any_tag: [Wholesale, Reseller]", "any_tag: Wholesale", "wholesale.when.any_tag", ("Wholesale",)),
        ("any_tag: [Wholesale, Reseller]", "any_tag: [12, 'A / B']", "wholesale.when.any_tag", (12, "A / B")),
        ("{mailing_list: Newsletter}", "{mailing_list: 7}", "wholesale.consent.mailing_list", 7),
        ("timezone: Europe/London", "timezone: UTC\n    orders_since: 2023-01", "orders_since", "2023-01"),
        ("timezone: Europe/London", "timezone: UTC\n    languages: {nb_NO: no}", "languages",
         {"nb_NO": "no"}),
        ("timezone: Europe/London", "timezone: UTC\n    exclude_suppliers: true", "exclude_suppliers", True),
        ("[Wholesale, Reseller]", "['${WAREHOUSE}', 'x ${WAREHOUSE}']", "wholesale.when.any_tag",
         ("warehouse_eu", "x warehouse_eu")),
        ("at_least: 5000", "at_most: 99.5", "wholesale.tags.VIP.at_most", 99.5),
        ("{field: total_spent, at_least: 5000}", "{field: last_order_date, at_least: 2025-01-31}",
         "wholesale.tags.VIP.at_least", date(2025, 1, 31)),
    ],
)  # fmt: skip
def test_values_mean_what_a_person_reads(
    tmp_path: Path, old: str, new: str, where: str, expected: Any
) -> None:
    """YAML 1.1 would make False of Norway, an octal number of an audience id, and a date of a month."""
    company = _load(tmp_path, _changed((old, new))).companies["acme_uk"]
    first, _, rest = where.partition(".")
    value: Any = company.audiences[first] if first in company.audiences else getattr(company, first)
    for part in rest.split(".") if rest else ():
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    assert value == expected
    assert type(value) is type(expected)


ODOO_URL = "url: https://odoo.example.com/"
ACCOUNT = 'main: {api_key: "${MAILCHIMP_API_KEY}"}'
LIST = "list_id: 2b3c4d5e6f"
WHEN = "when: {company_type: company, any_tag: [Wholesale, Reseller]}"
CONSENT = "consent: {mailing_list: Newsletter}"
FIELDS = "merge_fields: {FNAME: first_name, SPENT: total_spent}"
TAGS = "tags: {B2B: always, VIP: {field: total_spent, at_least: 5000}}"
STORE = "store: {id: acme-uk-wholesale, name: ACME UK Wholesale, currency: GBP}"
ZONE = "timezone: Europe/London"
SECOND_COMPANY = """\
  acme_de:
    odoo_company_id: 2
    mailchimp: main
    timezone: Europe/Berlin
    audiences:
      alle:
        list_id: 3c4d5e6f7a
"""

PLACES = {
    "acme_uk": "companies.acme_uk",
    "wholesale": "companies.acme_uk.audiences.wholesale",
    "retail": "companies.acme_uk.audiences.retail",
}
"""First part of a key in the table below → where it is in the file."""

WRONG_VALUES: list[tuple[str, str, str, list[str]]] = [
    # what the good file says, what it says instead, the key of the problem, parts of the message
    (ODOO_URL, "url: odoo.example.com", "odoo.url",
     ["found 'odoo.example.com'", "web address such as https://"]),
    (ODOO_URL, "url: https://me:hunter2@odoo.example.com", "odoo.url",
     ["must not contain a user or password"]),
    (ODOO_URL, "url: http://odoo:port", "odoo.url", ["web address"]),
    (ODOO_URL, f"{ODOO_URL}\n  api: xmlrpc", "odoo.api", ["found 'xmlrpc'", "one of auto, jsonrpc, json2"]),
    (ODOO_URL, f"{ODOO_URL}\n  api: jsonrcp", "odoo.api", ["did you mean jsonrpc?"]),
    (ODOO_URL, f"{ODOO_URL}\n  timeout_seconds: 0", "odoo.timeout_seconds", ["found 0", "more than 0"]),
    (ODOO_URL, f"{ODOO_URL}\n  connections: 0", "odoo.connections", ["found 0", "from 1 to 16"]),
    (ODOO_URL, f"{ODOO_URL}\n  calls_per_second: 0", "odoo.calls_per_second",
     ["found 0", "a number above 0"]),
    (ODOO_URL, f"{ODOO_URL}\n  calls_per_second: often", "odoo.calls_per_second", ["a number above 0"]),
    ("  database: production\n", "", "odoo.database",
     ["is missing", "must be the name of the Odoo database"]),
    ("database: production", "database:", "odoo.database",
     ["found nothing", "the name of the Odoo database"]),
    (ODOO_URL, f"{ODOO_URL}\n  timeout: 5", "odoo.timeout", ["unknown key (did you mean timeout_seconds?)"]),
    ("secret: ${ODOO_SECRET}", "secret: hunter2", "odoo.secret",
     ["must not be in the file", "${ODOO_SECRET}"]),
    ("secret: ${ODOO_SECRET}", "secret: x${ODOO_SECRET}", "odoo.secret", ["must not be in the file"]),
    ("secret: ${ODOO_SECRET}", "secret: 12345", "odoo.secret", ["must not be in the file"]),
    ("secret: ${ODOO_SECRET}", "secret: ${ODOO_PASSWORD}", "odoo.secret",
     ["environment variable ODOO_PASSWORD is not set"]),
    ("secret: ${ODOO_SECRET}", "secret: ${EMPTY}", "odoo.secret", ["environment variable EMPTY is empty"]),
    ("user: integration@example.com", "user: ${ODOO-USER}", "odoo.user", ["'${' without a variable's name"]),
    (ACCOUNT, "main: {api_key: 0123456789abcdef0123456789abcdef-us21}", "mailchimp.main.api_key",
     ["must not be in the file", "${MAILCHIMP_API_KEY}"]),
    (ACCOUNT, "main: {api_key: '${NO_DATA_CENTRE}'}", "mailchimp.main.api_key",
     ["one dash and the data centre"]),
    (ACCOUNT, "main: {api_key: '${TWO_DASHES}'}", "mailchimp.main.api_key", ["one dash and the data centre"]),
    (ACCOUNT, "main: {api_key: {value: hunter2}}", "mailchimp.main.api_key", ["must not be in the file"]),
    (ACCOUNT, "main: ${MAILCHIMP_API_KEY}", "mailchimp.main", ["found a text", "api_key"]),
    (ACCOUNT, 'main: {api_key: "${MAILCHIMP_API_KEY}", max_connections: 11}',
     "mailchimp.main.max_connections",
     ["found 11", "from 1 to 10"]),
    (ACCOUNT, 'main: {api_key: "${MAILCHIMP_API_KEY}", base_url: http://mock-server:8}',
     "mailchimp.main.base_url",
     ["must not contain 'server'"]),
    (ACCOUNT, 'main: {api_key: "${MAILCHIMP_API_KEY}", key: other}',
     "mailchimp.main.key", ["unknown key"]),
    (ACCOUNT, f'{ACCOUNT}\n  two: {{api_key: "${{MAILCHIMP_API_KEY}}"}}', "mailchimp.two.api_key",
     ["same key as that of main", "one Mailchimp user is one entry"]),
    ("  acme_uk:", "  Acme-UK:", "companies.Acme-UK", ["found the name 'Acme-UK'", "small letters, digits"]),
    ("odoo_company_id: 1", "odoo_company_id: one", "acme_uk.odoo_company_id",
     ["found 'one'", "a whole number from 1"]),
    ("mailchimp: main", "mailchimp: mian", "acme_uk.mailchimp",
     ["found 'mian'", "a name under mailchimp: main", "did you mean main?"]),
    (ZONE, "timezone: Europe/Lodnon", "acme_uk.timezone", ["did you mean Europe/London?"]),
    (ZONE, "timezone: BST+1", "acme_uk.timezone", ["found 'BST+1'", "IANA time zone"]),
    (ZONE, f"{ZONE}\n    orders_since: 2023-13", "acme_uk.orders_since", ["YYYY-MM, such as 2023-01"]),
    (ZONE, f"{ZONE}\n    orders_since: 2023-01-01", "acme_uk.orders_since", ["found '2023-01-01'"]),
    (ZONE, f"{ZONE}\n    customers: {{contacts: all}}", "acme_uk.customers.contacts",
     ["found 'all'", "order or order_and_children"]),
    (ZONE, f"{ZONE}\n    duplicates: newest", "acme_uk.duplicates", ["most_recent_order or set_aside"]),
    (ZONE, f"{ZONE}\n    revenue: paidd", "acme_uk.revenue", ["confirmed, invoiced, paid", "mean paid?"]),
    (ZONE, f"{ZONE}\n    exclude_suppliers: maybe", "acme_uk.exclude_suppliers", ["true or false"]),
    (ZONE, f"{ZONE}\n    maximum_bounces: -1", "acme_uk.maximum_bounces", ["found -1", "from 0"]),
    (ZONE, f"{ZONE}\n    guards: {{created: 10}}", "acme_uk.guards.created", ["found 10", "such as 10%"]),
    (ZONE, f"{ZONE}\n    guards: {{created: 110%}}", "acme_uk.guards.created", ["from 0 to 100"]),
    (ZONE, f"{ZONE}\n    guards: {{deleted: 10%}}", "acme_uk.guards.deleted",
     ["unknown key", "created, archived, moved, email_changes, tags_removed"]),
    (ZONE, f"{ZONE}\n    guards: {{created: {{percent: 5, at_last: 3}}}}", "acme_uk.guards.created.at_last",
     ["did you mean at_least?"]),
    (ZONE, f"{ZONE}\n    languages: {{english: en}}", "acme_uk.languages.english",
     ["found the name 'english'", "Odoo language code"]),
    (ZONE, f"{ZONE}\n    languages: {{en_GB: en_GB}}", "acme_uk.languages.en_GB",
     ["found 'en_GB'", "Mailchimp language code"]),
    (LIST, "list_id: 1a2b3c4d5e", "retail.list_id",
     ["companies.acme_uk.audiences.wholesale.list_id uses already", "its own list"]),
    (LIST, "list_id: 1A2B3C4D5E", "retail.list_id", ["uses already"]),
    (LIST, "list_id: my-server-list", "retail.list_id", ["must not contain 'server'"]),
    (LIST, "list_id: a/b", "retail.list_id", ["must not contain '/'"]),
    (LIST, f"list_id: {'a' * 51}", "retail.list_id", ["at most 50 characters, has 51"]),
    (LIST, "list_id: a b", "retail.list_id", ["letters, digits, dashes"]),
    ("      retail:", "      server_customers:", "companies.acme_uk.audiences.server_customers",
     ["found the name 'server_customers'", "must not contain 'server'"]),
    ("      retail:", "      Retail Kunden:", "companies.acme_uk.audiences.Retail Kunden",
     ["found the name"]),
    (WHEN, "when: {company_type: firm}", "wholesale.when.company_type",
     ["company or person"]),
    (WHEN, "when: {countries: [UK]}", "wholesale.when.countries[0]", ["GB, not UK"]),
    (WHEN, "when: {countries: [GB, Germany]}", "wholesale.when.countries[1]",
     ["found 'Germany'", "two letters"]),
    (WHEN, "when: {any_tag: ['']}", "wholesale.when.any_tag[0]", ["a name", "or an id"]),
    (WHEN, "when: {any_tag: [0]}", "wholesale.when.any_tag[0]", ["found 0"]),
    (WHEN, "when: {tags: [A]}", "wholesale.when.tags", ["unknown key", "any_tag"]),
    (WHEN, "when: {amounts: [{field: spent, at_least: 1}]}",
     "wholesale.when.amounts[0].field", ["total_spent, order_count"]),
    (WHEN, "when: {amounts: [{field: order_count}]}", "wholesale.when.amounts[0]",
     ["needs at_least or at_most"]),
    (WHEN, "when: {amounts: [{field: order_count, at_least: 3, at_most: 2}]}",
     "wholesale.when.amounts[0]", ["nobody can meet it"]),
    (WHEN, "when: {amounts: [{field: order_count, at_least: 2025-01-01}]}",
     "wholesale.when.amounts[0].at_least", ["must be a number, as order_count is"]),
    (WHEN, "when: {amounts: [{field: last_order_date, at_least: 30}]}",
     "wholesale.when.amounts[0].at_least", ["must be a date written YYYY-MM-DD"]),
    (WHEN, "when: {any_tag: [A], no_tag: [A]}", "wholesale.when",
     ["nobody can meet these conditions"]),
    (WHEN, "when: {}", "retail", ["no contact can reach this audience", "wholesale"]),
    (WHEN, f"{WHEN}\n        restrictive: perhaps", "wholesale.restrictive", ["true or false"]),
    (ZONE, f"{ZONE}\n    company_if: {{}}", "acme_uk.company_if",
     ["has neither any_tag and field", "name exactly one"]),
    (ZONE, f"{ZONE}\n    company_if: {{any_tag: B2B, field: x_b2b}}", "acme_uk.company_if",
     ["has both any_tag and field"]),
    (ZONE, f"{ZONE}\n    company_if: {{field: Is B2B}}", "acme_uk.company_if.field", ["technical name"]),
    (ZONE, f"{ZONE}\n    company_if: {{any_tags: [B2B]}}", "acme_uk.company_if.any_tags",
     ["did you mean any_tag?"]),
    (CONSENT, "consent: {accept_undated: true}", "wholesale.consent",
     ["has neither mailing_list and boolean_field", "exactly one"]),
    (CONSENT, "consent: {mailing_list: A, boolean_field: opt_in}", "wholesale.consent",
     ["has both mailing_list and boolean_field"]),
    (CONSENT, "consent: {boolean_field: Opt in}", "wholesale.consent.boolean_field",
     ["technical name"]),
    (CONSENT, "consent: {mailing_list: A, send_confirmation: true, upgrade: true}",
     "wholesale.consent.upgrade", ["cannot be combined with send_confirmation"]),
    (CONSENT, "consent: {mailing_list: A, max_confirmations: 5}",
     "wholesale.consent.max_confirmations", ["no effect without send_confirmation"]),
    (CONSENT, "consent: {mailing_list: A, without_evidence: subscribed}",
     "wholesale.consent.without_evidence", ["transactional or leave_out"]),
    (FIELDS, "merge_fields: {fname: first_name}", "wholesale.merge_fields.fname",
     ["found the name 'fname'", "capital letters"]),
    (FIELDS, "merge_fields: {LASTORDERDATE: last_order_date}",
     "wholesale.merge_fields.LASTORDERDATE", ["1 to 10"]),
    (FIELDS, "merge_fields: {EMAIL: name}", "wholesale.merge_fields.EMAIL",
     ["the address itself"]),
    (FIELDS, "merge_fields: {FNAME: firstname}", "wholesale.merge_fields.FNAME",
     ["found 'firstname'", "did you mean first_name?"]),
    (FIELDS, f"{FIELDS}\n        names: both", "wholesale.names",
     ["found 'both'", "one of whole, split, leave"]),
    (FIELDS, "merge_fields: {FNAME: first_name}\n        names: split", "wholesale.names",
     ["split has no place for the last name", "LNAME: last_name"]),
    (TAGS, "tags: {VIP: sometimes}", "wholesale.tags.VIP",
     ["found 'sometimes'", "always or a condition"]),
    (TAGS, "tags: {VIP: {field: total_spent, at_leest: 1}}",
     "wholesale.tags.VIP.at_leest", ["did you mean at_least?"]),
    (TAGS, "tags: {VIP: always, vip: always}", "wholesale.tags", ["ignores case"]),
    (TAGS, "tags: {odoo-not-qualifying: always}",
     "wholesale.tags.odoo-not-qualifying", ["must be another name"]),
    (STORE, "store: {id: odoo-server-1, name: A, currency: GBP}",
     "wholesale.store.id", ["must not contain 'server'"]),
    (STORE, "store: {id: S/2024, name: A, currency: GBP}", "wholesale.store.id",
     ["must not contain '/'"]),
    (STORE, "store: {id: a, name: A, currency: gbp}", "wholesale.store.currency",
     ["found 'gbp'", "three capital letters"]),
    (LIST, f"{LIST}\n        store: {{id: acme-uk-wholesale, name: B, currency: GBP}}",
     "retail.store.id", ["companies.acme_uk.audiences.wholesale.store.id uses already"]),
    (ZONE, f"{ZONE}\n    key: other", "acme_uk.key", ["unknown key"]),
    ("companies:\n", "path: /tmp\ncompanies:\n", "path", ["unknown key"]),
    ("companies:\n", "company: {}\ncompanies:\n", "company", ["did you mean companies?"]),
    (ZONE, f"{ZONE}\n    timezone: Europe/Paris", "acme_uk.timezone", ["appears twice (first on line 12)"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "key", "parts"), WRONG_VALUES, ids=[f"{k}: {n}" for _, n, k, _ in WRONG_VALUES]
)
def test_a_wrong_value_is_refused_with_its_place_and_the_fix(
    tmp_path: Path, old: str, new: str, key: str, parts: list[str]
) -> None:
    first, dot, rest = key.partition(".")
    error = _refusal(tmp_path, _changed((old, new)))
    assert [problem.key for problem in error.problems] == [PLACES.get(first, first) + dot + rest]
    line = str(error)
    assert "\n" not in line
    assert line.startswith(f"{tmp_path / 'companies.yaml'}:")
    for part in parts:
        assert part in line
    assert "hunter2" not in line
    for secret in ENVIRONMENT.values():
        assert not secret.strip() or secret not in line


def test_two_companies_do_not_share_what_belongs_to_one(tmp_path: Path) -> None:
    assert set(_load(tmp_path, GOOD + SECOND_COMPANY).companies) == {"acme_uk", "acme_de"}
    shared = SECOND_COMPANY.replace("odoo_company_id: 2", "odoo_company_id: 1").replace(
        "3c4d5e6f7a", "2b3c4d5e6f"
    )
    error = _refusal(tmp_path, GOOD + shared)
    assert [(problem.key, "uses already" in problem.message) for problem in error.problems] == [
        ("companies.acme_de.odoo_company_id", True),
        ("companies.acme_de.audiences.alle.list_id", True),
    ]


def test_a_list_is_one_audience_even_when_two_accounts_name_it(tmp_path: Path) -> None:
    accounts = (ACCOUNT, f'{ACCOUNT}\n  second: {{api_key: "${{SECOND_API_KEY}}"}}')
    other = SECOND_COMPANY.replace("3c4d5e6f7a", "2b3c4d5e6f").replace("mailchimp: main", "mailchimp: second")
    error = _refusal(tmp_path, _changed(accounts) + other)
    assert [problem.key for problem in error.problems] == ["companies.acme_de.audiences.alle.list_id"]


def test_every_problem_is_listed_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = _changed(
        ("database: production", "databse: production"),
        ("secret: ${ODOO_SECRET}", "secret: ${NOT_SET}"),
        (ZONE, "timezone: Mars/Base"),
        (LIST, "list_id: 1a2b3c4d5e"),
        ("mailchimp: main", "mailchimp: other"),
    )
    error = _refusal(tmp_path, text)
    assert [(problem.line, problem.key) for problem in error.problems] == [
        (1, "odoo.database"),
        (3, "odoo.databse"),
        (5, "odoo.secret"),
        (11, "companies.acme_uk.mailchimp"),
        (12, "companies.acme_uk.timezone"),
        (22, "companies.acme_uk.audiences.retail.list_id"),
    ]
    assert len(str(error).splitlines()) == 6


def test_a_stand_in_for_mailchimp_takes_any_key(tmp_path: Path) -> None:
    account = 'main: {api_key: "${NO_DATA_CENTRE}", base_url: "${STAND_IN}"}'
    settings = _load(tmp_path, _changed((ACCOUNT, account)))
    assert settings.mailchimp["main"].base_url == "http://127.0.0.1:8081"


def test_what_makes_a_company_and_which_audience_wins_may_be_said(tmp_path: Path) -> None:
    restrictive = (LIST, f"{LIST}\n        restrictive: true")
    text = _changed((ZONE, f"{ZONE}\n    company_if: {{any_tag: B2B}}"), restrictive)
    company = _load(tmp_path, text).companies["acme_uk"]
    assert company.company_if is not None
    assert (company.company_if.any_tag, company.company_if.field) == (("B2B",), None)
    assert [each.restrictive for each in company.audiences.values()] == [False, True]


def test_audiences_that_are_all_restrictive_are_refused(tmp_path: Path) -> None:
    both = ((LIST, f"{LIST}\n        restrictive: true"), (WHEN, f"{WHEN}\n        restrictive: true"))
    (problem,) = _refusal(tmp_path, _changed(*both)).problems
    assert problem.key == "companies.acme_uk.audiences.retail.restrictive"
    assert "none of them wins" in problem.message


def test_opt_outs_of_one_company_need_a_place_to_be_written_to(tmp_path: Path) -> None:
    scope = (ZONE, f"{ZONE}\n    opt_out_scope: company")
    assert _load(tmp_path, _changed(scope)).companies["acme_uk"].opt_out_scope == "company"
    error = _refusal(tmp_path, _changed(scope, (f"        {CONSENT}\n", "")))
    assert [problem.key for problem in error.problems] == ["companies.acme_uk.opt_out_scope"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("odoo: [", "is not valid YAML"),
        ("", "must be a YAML mapping with the keys odoo, mailchimp and companies"),
        ("- odoo", "must be a YAML mapping"),
        ("odoo: &loop {again: *loop}", "contains itself"),
        ("{a: 1}: b", "is not valid YAML"),
        ("odoo: !!python/object:os.system x", "is not valid YAML"),
        ("a: 1\n---\nb: 2", "is not valid YAML"),
        ("odoo: \x07", "characters YAML forbids"),
    ],
)
def test_a_file_that_is_no_settings_file_says_so(tmp_path: Path, text: str, message: str) -> None:
    error = _refusal(tmp_path, text)
    assert len(error.problems) == 1
    assert message in str(error)


def test_an_empty_mapping_lists_the_three_parts_that_are_missing(tmp_path: Path) -> None:
    error = _refusal(tmp_path, "{}")
    assert [problem.key for problem in error.problems] == ["odoo", "mailchimp", "companies"]


def test_the_file_is_the_one_the_environment_names(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.yaml"
    file.write_text(GOOD)
    assert load_settings(environment={**ENVIRONMENT, "MC_PIPELINE_CONFIG": str(file)}).path == file
    with pytest.raises(SettingsError, match="MC_PIPELINE_CONFIG: is not set"):
        load_settings(environment=ENVIRONMENT)
    with pytest.raises(SettingsError, match=r"missing\.yaml: no such file"):
        load_settings(tmp_path / "missing.yaml", ENVIRONMENT)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, ENVIRONMENT)
    file.write_bytes("odoo: {user: Zoë}".encode("latin-1"))
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load_settings(file, ENVIRONMENT)


def test_secrets_show_nowhere(tmp_path: Path) -> None:
    settings = _load(tmp_path, GOOD)
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert "odoo-p4ssword" not in shown
        assert "0123456789abcdef" not in shown


def test_a_refusal_holds_no_value_that_a_log_could_show(tmp_path: Path) -> None:
    text = _changed(
        (ACCOUNT, "main: {api_key: '${NO_DATA_CENTRE}'}"), ("user: integration", "usr: integration")
    )
    error = _refusal(tmp_path, text)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_settings_cannot_be_changed_after_load(tmp_path: Path) -> None:
    company = _load(tmp_path, GOOD).companies["acme_uk"]
    with pytest.raises(ValueError, match="frozen"):
        company.revenue = "paid"  # type: ignore[misc]


def test_the_good_file_survives_yaml_anchors(tmp_path: Path) -> None:
    text = _changed((ZONE, f"{ZONE}\n    guards: &guards {{created: 5%}}"))
    text += SECOND_COMPANY + "    guards:\n      <<: *guards\n      archived: 1%\n"
    company = _load(tmp_path, text).companies["acme_de"]
    assert (company.guards.created.percent, company.guards.archived.percent) == (5, 1)


@pytest.mark.parametrize(
    ("guards", "name", "percent", "at_least"),
    [
        ({}, "created", 10, 100),
        ({}, "archived", 2, 20),
        ({}, "moved", 2, 20),
        ({}, "email_changes", 2, 20),
        ({}, "tags_removed", 10, 20),
        ({}, "upgrades", 10, 100),
        ({}, "permissions", 10, 100),
        ({"created": "5%"}, "created", 5, 100),
        ({"archived": " 0.5 % "}, "archived", 0.5, 20),
        ({"archived": {"percent": 3}}, "archived", 3, 20),
        ({"moved": {"percent": 0, "at_least": 0}}, "moved", 0, 0),
    ],
)
def test_a_guard_is_a_share_with_a_floor(
    guards: dict[str, Any], name: str, percent: float, at_least: int
) -> None:
    assert getattr(GuardSettings.model_validate(guards), name) == Guard(percent=percent, at_least=at_least)


@pytest.mark.parametrize(
    ("percent", "at_least", "size", "limit"),
    [
        (10, 100, 500, 100),
        (10, 100, 2005, 200),
        (2, 20, 0, 20),
        (0, 0, 1000, 0),
        (0.29, 0, 10000, 29),
        (100, 0, 7, 7),
    ],
)
def test_a_guard_allows_its_share_rounded_down_and_never_less_than_its_floor(
    percent: float, at_least: int, size: int, limit: int
) -> None:
    assert Guard(percent=percent, at_least=at_least).limit(size) == limit


EVERYONE = "{}"
UNREACHABLE = [
    (["{company_type: company}", "{company_type: company}"], ["first"]),
    (["{company_type: company}", "{company_type: company, countries: [GB]}"], ["first"]),
    (["{countries: [GB, IE]}", "{countries: [GB]}"], ["first"]),
    (["{any_tag: [A, B]}", "{all_tags: [A, C]}"], ["first"]),
    (["{any_tag: [A, B]}", "{any_tag: [B]}"], ["first"]),
    (["{no_tag: [A]}", "{no_tag: [A, B]}"], ["first"]),
    (["{all_tags: [A]}", "{any_tag: [A]}"], ["first"]),
    (["{amounts: [{field: order_count, at_least: 1}]}", "{amounts: [{field: order_count, at_least: 2}]}"],
     ["first"]),
    (["{amounts: [{field: last_order_date, at_most: 2025-01-01}]}",
      "{amounts: [{field: last_order_date, at_least: 2020-01-01, at_most: 2024-01-01}]}"], ["first"]),
    (["{company_type: company}", "{company_type: person}", EVERYONE], ["first", "second"]),
    (["{any_tag: [A]}", "{no_tag: [A]}", "{countries: [GB]}"], ["first", "second"]),
    (["{languages: [en_GB]}", "{company_type: person}", "{languages: [en_GB], company_type: company}"],
     ["first"]),
]  # fmt: skip
REACHABLE = [
    ["{company_type: company}", "{company_type: person}"],
    ["{company_type: company, countries: [GB]}", "{company_type: company}"],
    ["{countries: [GB]}", "{countries: [GB, IE]}"],
    ["{any_tag: [A]}", "{any_tag: [A, B]}"],
    ["{all_tags: [A, B]}", "{any_tag: [A, B]}"],
    ["{no_tag: [A, B]}", "{no_tag: [A]}"],
    ["{amounts: [{field: order_count, at_least: 2}]}", "{amounts: [{field: total_spent, at_least: 2}]}"],
    ["{company_type: company}", "{company_type: person, any_tag: [A]}", EVERYONE],
    ["{industries: [Retail]}", "{any_tag: [Retail]}"],
]


def _rules(texts: list[str]) -> list[tuple[str, RuleSettings]]:
    names = ("first", "second", "third")
    return [(name, RuleSettings.model_validate(yaml.safe_load(text))) for name, text in zip(names, texts)]  # noqa: B905


@pytest.mark.parametrize(("texts", "covering"), UNREACHABLE)
def test_an_audience_that_earlier_rules_empty_is_found(texts: list[str], covering: list[str]) -> None:
    *earlier, (_, last) = _rules(texts)
    assert covering_audiences(last, earlier) == covering


@pytest.mark.parametrize("texts", REACHABLE)
def test_an_audience_that_somebody_can_reach_is_not_refused(texts: list[str]) -> None:
    *earlier, (_, last) = _rules(texts)
    assert not is_contradictory(last)
    assert covering_audiences(last, earlier) is None


Person = tuple[str, str, str, frozenset[str], int]


def _people() -> Iterator[Person]:
    """Every kind of person that the rules below can tell apart."""
    tag_sets = [frozenset(c) for size in range(4) for c in itertools.combinations("ABC", size)]
    yield from itertools.product(
        ("company", "person"), ("GB", "IE", "FR"), ("en_GB", "fr_FR"), tag_sets, range(5)
    )


def _matches(rule: RuleSettings, person: Person) -> bool:
    company_type, country, language, tags, orders = person
    return (
        rule.company_type in (None, company_type)
        and (not rule.countries or country in rule.countries)
        and (not rule.languages or language in rule.languages)
        and (not rule.any_tag or any(tag in tags for tag in rule.any_tag))
        and all(tag in tags for tag in rule.all_tags)
        and not any(tag in tags for tag in rule.no_tag)
        and all(c.at_least is None or orders >= c.at_least for c in rule.amounts)  # type: ignore[operator]
        and all(c.at_most is None or orders <= c.at_most for c in rule.amounts)  # type: ignore[operator]
    )


_tags = st.lists(st.sampled_from("ABC"), max_size=2, unique=True).map(tuple)
_bounds = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted)
_rules_of_any_kind = st.builds(
    RuleSettings,
    company_type=st.sampled_from([None, None, "company", "person"]),
    countries=st.sampled_from([(), (), ("GB",), ("GB", "IE")]),
    languages=st.sampled_from([(), (), ("en_GB",)]),
    any_tag=_tags,
    all_tags=_tags,
    no_tag=_tags,
    amounts=st.lists(
        _bounds.map(lambda b: AmountCondition(field="order_count", at_least=b[0], at_most=b[1])), max_size=2
    ).map(tuple),
)


@given(st.lists(_rules_of_any_kind, max_size=3), _rules_of_any_kind)
def test_nobody_reaches_an_audience_that_is_called_unreachable(
    earlier: list[RuleSettings], rule: RuleSettings
) -> None:
    named = [(str(position), other) for position, other in enumerate(earlier)]
    reached = any(
        _matches(rule, person) and not any(_matches(other, person) for other in earlier)
        for person in _people()
    )
    if is_contradictory(rule):
        assert not any(_matches(rule, person) for person in _people())
    elif covering_audiences(rule, named) is not None:
        assert not reached
