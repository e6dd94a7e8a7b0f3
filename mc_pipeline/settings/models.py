"""The shape of companies.yaml. What is said of several entries together is in ``consistency``.

Every field's description reads after "must be": it is what a person reads if the value is wrong or missing.
Amounts are in the company's currency, net; dates are days in the company's timezone.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mc_pipeline.settings.fields import (
    BaseUrl,
    Bound,
    CountryCode,
    Currency,
    Identifier,
    MailchimpLanguage,
    MergeFieldSource,
    MergeTag,
    Month,
    OdooField,
    OdooLanguage,
    OdooRecord,
    OneOrMore,
    TagName,
    Text,
    Timezone,
    WebAddress,
    at_field,
)

_NAME = r"^[a-z0-9_]+$"
_NAME_IN_WORDS = "made of at most 50 small letters, digits and underscores"


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        validate_default=True,
    )


class OdooSettings(_Model):
    """The Odoo that the companies live in, and the user who reads it."""

    url: WebAddress = Field(description="the web address of Odoo, such as https://odoo.example.com")
    database: Text = Field(description="the name of the Odoo database")
    user: Text = Field(description="the login of the Odoo user who reads contacts and orders")
    secret: SecretStr = Field(
        min_length=1, description="a reference to that user's password or API key, such as ${ODOO_SECRET}"
    )
    api: Literal["auto", "jsonrpc", "json2"] = "auto"
    """jsonrpc: Odoo 14 to 21; json2: Odoo 19 and later; auto: what the server offers."""
    timeout_seconds: float = Field(60, gt=0, description="the seconds to wait for an answer, more than 0")
    connections: int | None = Field(
        None,
        ge=1,
        le=16,
        description="a whole number from 1 to 16: how many calls to Odoo may run at the same time",
    )
    """Of one process; without it each connection of ours sends up to 4 at a time."""
    calls_per_second: float | None = Field(
        None, gt=0, description="a number above 0: how many calls a second Odoo may get at most"
    )
    """Of one process; without it nothing waits."""


class MailchimpAccountSettings(_Model):
    """One Mailchimp user: its ten connections are shared by all its API keys."""

    key: str
    """Its name in companies.yaml."""
    base_url: BaseUrl | None = Field(
        None, description="the web address of a sandbox for Mailchimp, such as http://127.0.0.1:8081"
    )
    api_key: SecretStr = Field(
        min_length=1, description="a reference to the account's API key, such as ${MAILCHIMP_API_KEY}"
    )
    max_connections: int = Field(
        8, ge=1, le=10, description="a whole number from 1 to 10: Mailchimp allows ten connections per user"
    )
    timeout_seconds: float = Field(120, gt=0, description="the seconds to wait for an answer, more than 0")
    hear_every_seconds: float = Field(
        60, ge=0, le=300, description="the seconds between two reads of an audience for opt-outs, 0 to 300"
    )
    """All runs of all companies together; 0 is for stand-ins: Mailchimp's limits are soon reached."""

    @field_validator("api_key")
    @classmethod
    def _names_its_data_centre(cls, api_key: SecretStr, info: ValidationInfo) -> SecretStr:
        # The official client finds the data centre only in a key with exactly one dash.
        key, _, data_centre = api_key.get_secret_value().partition("-")
        if info.data.get("base_url", "unusable") is None and not (key and data_centre.isalnum()):
            raise ValueError(
                "its value is no Mailchimp API key: it must end in one dash and the data centre, such as"
                " -us21; copy it again from Mailchimp (Profile, Extras, API keys)"
            )
        return api_key


class AmountCondition(_Model):
    """A condition on what a person bought, over their whole history in the company; both ends count in.

    Amounts are untaxed and net of credit notes, in the company's currency. Dates are days in the company's
    timezone.
    """

    field: Literal["total_spent", "order_count", "first_order_date", "last_order_date"]
    at_least: Bound = Field(None, description="a number, or a date written YYYY-MM-DD for a date field")
    at_most: Bound = Field(None, description="a number, or a date written YYYY-MM-DD for a date field")

    @model_validator(mode="after")
    def _ends_fit_the_field(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("needs at_least or at_most, or both")
        wanted, words = (
            (date, "a date written YYYY-MM-DD") if self.field.endswith("_date") else (float, "a number")
        )
        for name, value in (("at_least", self.at_least), ("at_most", self.at_most)):
            if value is not None and not isinstance(value, wanted):
                raise at_field(name, f"must be {words}, as {self.field} is")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:  # type: ignore[operator]
            raise ValueError("at_least is above at_most, so nobody can meet it")
        return self


def _kind_of_tag_rule(value: Any) -> str:
    return "condition" if isinstance(value, Mapping | AmountCondition) else "always"


TagRule = Annotated[
    Annotated[Literal["always"], Tag("always")] | Annotated[AmountCondition, Tag("condition")],
    Discriminator(_kind_of_tag_rule),
]
"""When a contact has a Mailchimp tag: always, or while they meet a condition."""


class RuleSettings(_Model):
    """Who belongs to an audience: everyone who meets all conditions given; none given = everyone.

    Company type, countries and industries are those of the commercial partner; tags count on the contact or
    its commercial partner; languages are the contact's; amounts are the person's. Within one condition any of
    its values will do, except in ``all_tags`` (each is needed) and ``no_tag`` (none may be there).
    """

    company_type: Literal["company", "person"] | None = None
    countries: Annotated[tuple[CountryCode, ...], OneOrMore] = ()
    industries: Annotated[tuple[OdooRecord, ...], OneOrMore] = ()
    any_tag: Annotated[tuple[OdooRecord, ...], OneOrMore] = ()
    all_tags: Annotated[tuple[OdooRecord, ...], OneOrMore] = ()
    no_tag: Annotated[tuple[OdooRecord, ...], OneOrMore] = ()
    languages: Annotated[tuple[OdooLanguage, ...], OneOrMore] = ()
    amounts: tuple[AmountCondition, ...] = ()


class ConsentSettings(_Model):
    """What counts as evidence that a person agreed to marketing, and what follows from it."""

    mailing_list: OdooRecord | None = Field(
        None, description="the name or id of an Odoo mailing list: an entry that is not opted out is evidence"
    )
    boolean_field: OdooField | None = Field(
        None, description="the technical name of a yes/no field of res.partner: yes is evidence"
    )
    accept_undated: bool = Field(False, description="true or false: whether evidence without a date counts")
    without_evidence: Literal["transactional", "leave_out"] = "transactional"
    send_confirmation: bool = Field(
        False, description="true or false: whether a double opt-in audience sends its confirmation e-mail"
    )
    max_confirmations: int = Field(
        100, ge=1, description="how many confirmation e-mails a day may go out, 1 or more"
    )
    upgrade: bool = Field(
        False,
        description=(
            "true or false: whether a transactional member created by this pipeline is subscribed on newer "
            "evidence"
        ),
    )
    marketing_permissions: Annotated[tuple[Text, ...], OneOrMore] = Field(
        (),
        description="one or several marketing permissions (GDPR) in Mailchimp's own words, such as Email",
    )
    """Given to members whom we subscribed on this evidence, in an audience that asks for permissions: once
    per person and evidence in the company, and not after the person took it back."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.mailing_list is None) == (self.boolean_field is None):
            state = "has both" if self.mailing_list is not None else "has neither"
            raise ValueError(f"{state} mailing_list and boolean_field; name exactly one source of evidence")
        if "max_confirmations" in self.model_fields_set and not self.send_confirmation:
            raise at_field("max_confirmations", "has no effect without send_confirmation: true")
        if self.send_confirmation and self.upgrade:
            raise at_field(
                "upgrade",
                "cannot be combined with send_confirmation: confirmations are for double opt-in audiences, "
                "where nobody is upgraded; keep one of the two",
            )
        return self


class StoreSettings(_Model):
    """The Mailchimp store that holds the audience's orders."""

    id: Identifier = Field(description="an id of your choice that never changes, such as acme-uk-retail")
    name: Text = Field(description="the store's name as people see it in Mailchimp")
    currency: Currency = Field(description="the company's currency (ISO 4217), such as GBP")
    order_notifications: bool = Field(
        False,
        description="true or false: whether Mailchimp may confirm new orders to customers by e-mail",
    )
    """Only orders younger than two days are announced, once; a correction never is."""


class AudienceSettings(_Model):
    """One Mailchimp audience: who belongs there, and which of their fields and tags we keep right."""

    key: Annotated[Identifier, Field(pattern=_NAME)] = Field(description=_NAME_IN_WORDS)
    """Its name in companies.yaml, permanent."""
    company: str
    """The key of its company."""
    list_id: Identifier = Field(
        description="the Audience ID that Mailchimp shows under Settings, such as 1a2b3c4d5e"
    )
    when: RuleSettings = RuleSettings()
    restrictive: bool = Field(
        False,
        description=(
            "true or false: whether this audience wins if contacts that share an address match several"
        ),
    )
    """Without it, the audience for companies wins; where not exactly one is, nobody of them is in any."""
    consent: ConsentSettings | None = None
    """Without it everyone is created as transactional."""
    merge_fields: dict[MergeTag, MergeFieldSource] = {}
    names: Literal["whole", "split", "leave"] = "whole"
    """Where Odoo has one name for a contact. whole: it is the first name, without the last name that somebody
    else gave the member. split: the last word of a person's name is the last name. leave: the names of
    members who have one are never written."""
    tags: dict[TagName, TagRule] = {}
    store: StoreSettings | None = None

    @model_validator(mode="after")
    def _split_names_have_a_place(self) -> Self:
        if self.names == "split" and "last_name" not in self.merge_fields.values():
            raise at_field(
                "names",
                "split has no place for the last name: fill a merge field with last_name, such as LNAME:"
                " last_name, or choose whole",
            )
        return self

    @model_validator(mode="after")
    def _tag_names_differ(self) -> Self:
        seen: dict[str, str] = {}
        for name in self.tags:
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                raise at_field(
                    "tags", f"{other} and {name} are one tag to Mailchimp, which ignores case; keep one"
                )
        return self


class CustomersSettings(_Model):
    """Which contacts of a customer become members: the order's, or the contacts below it as well."""

    contacts: Literal["order", "order_and_children"] = "order"


class CompanyIfSettings(_Model):
    """Which partners are companies besides those that Odoo calls so, from Odoo 19.1 (Online) and 20 on.

    There Odoo treats every partner with a tax id as a company. A partner known from before keeps what it was.
    """

    any_tag: Annotated[tuple[OdooRecord, ...], OneOrMore] = Field(
        (), description="one or several tags of Odoo: a partner with one of them is a company"
    )
    field: OdooField | None = Field(
        None, description="the technical name of a yes/no field of res.partner: yes means company"
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if bool(self.any_tag) == (self.field is not None):
            state = "has both" if self.any_tag else "has neither"
            raise ValueError(f"{state} any_tag and field; name exactly one of them")
        return self


class Guard(_Model):
    """How much of one kind of change a plan may hold before a person has to approve it.

    ``10%`` is short for ``{percent: 10}``.
    """

    percent: float = Field(ge=0, le=100, description="a number from 0 to 100, in per cent of the audience")
    at_least: int = Field(100, ge=0, description="how many are always allowed, a whole number from 0")

    @model_validator(mode="before")
    @classmethod
    def _parse_per_cent(cls, value: Any) -> Any:
        if isinstance(value, str) and value.strip().endswith("%"):
            value = {"percent": value.strip()[:-1].strip()}
        if not isinstance(value, Mapping | Guard):
            raise ValueError("must be a share of the audience, such as 10% or {percent: 10, at_least: 100}")
        return value

    def limit(self, audience_size: int) -> int:
        """Return how many changes pass without approval in an audience of that many members."""
        return max(int(Decimal(str(self.percent)) * audience_size // 100), self.at_least)


_GUARDS = {
    "created": {"percent": 10, "at_least": 100},
    "archived": {"percent": 2, "at_least": 20},
    "moved": {"percent": 2, "at_least": 20},
    "email_changes": {"percent": 2, "at_least": 20},
    "tags_removed": {"percent": 10, "at_least": 20},
    "upgrades": {"percent": 10, "at_least": 100},
    "permissions": {"percent": 10, "at_least": 100},
    "orders_lowered": {"percent": 10, "at_least": 20},
}


class GuardSettings(_Model):
    """The guards of one company. Opt-outs have none: nothing ever holds them back."""

    created: Guard
    archived: Guard
    moved: Guard
    email_changes: Guard
    tags_removed: Guard
    upgrades: Guard
    permissions: Guard
    orders_lowered: Guard
    """Of the orders that a store holds: how many are lowered or deleted."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        filled = dict(values)
        for name, default in _GUARDS.items():
            given = filled.get(name, default)
            if isinstance(given, str) and given.strip().endswith("%"):
                given = {"percent": given.strip()[:-1].strip()}
            if isinstance(given, Mapping):
                given = {"at_least": default["at_least"], **given}
            filled[name] = given
        return filled


class CompanySettings(_Model):
    """One Odoo company and the audiences of its customers. Its key is the partition, and permanent."""

    key: str = Field(pattern=_NAME, max_length=50, description=_NAME_IN_WORDS)
    odoo_company_id: int = Field(ge=1, description="the company's id in Odoo, a whole number from 1")
    mailchimp: Text = Field(description="the name of an entry under mailchimp")
    timezone: Timezone = Field(description="the company's IANA time zone, such as Europe/London")
    orders_since: Month | None = Field(
        None, description="the first month whose orders go to the store, written YYYY-MM"
    )
    customers: CustomersSettings = CustomersSettings()
    duplicates: Literal["most_recent_order", "set_aside"] = "most_recent_order"
    revenue: Literal["confirmed", "invoiced", "paid"] = "confirmed"
    guards: GuardSettings = Field(default_factory=lambda: GuardSettings.model_validate({}))
    company_if: CompanyIfSettings | None = Field(
        None, description="a mapping with any_tag or field: what else makes a partner a company"
    )
    exclude_suppliers: bool = Field(
        False, description="true or false: whether suppliers who bought are left out"
    )
    maximum_bounces: int = Field(
        5,
        ge=0,
        description="the number of bounces Odoo may have counted before a contact is set aside, from 0",
    )
    languages: dict[OdooLanguage, MailchimpLanguage] = {}
    """Odoo language code to Mailchimp language code; a language that is not listed is not sent."""
    opt_out_scope: Literal["everywhere", "company"] = "everywhere"
    """everywhere: an opt-out goes to Odoo's blacklist; company: to this company's sources of consent."""
    audiences: dict[str, AudienceSettings] = Field(
        min_length=1,
        description="the company's audiences, at least one, in the order in which rules are tried",
    )

    @model_validator(mode="before")
    @classmethod
    def _name_audiences(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return _with_names(values, "audiences", company=values.get("key"))


class Settings(_Model):
    """Everything in companies.yaml."""

    odoo: OdooSettings = Field(description="a mapping with url, database, user and secret")
    mailchimp: dict[str, MailchimpAccountSettings] = Field(
        min_length=1, description="a mapping of at least one account: its name, and under it api_key"
    )
    companies: dict[str, CompanySettings] = Field(
        min_length=1, description="a mapping of at least one company: its key, and under it its settings"
    )
    path: Path | None = None
    """The file that the settings were read from."""

    @model_validator(mode="before")
    @classmethod
    def _name_entries(cls, values: Any) -> Any:
        return _with_names(_with_names(values, "mailchimp"), "companies")


def _with_names(values: Any, field: str, **more: Any) -> Any:
    """Pass to the entries of a mapping the key they are under."""
    if not isinstance(values, Mapping) or not isinstance(values.get(field), Mapping):
        return values
    entries = {
        name: {"key": name, **more, **entry} if isinstance(entry, Mapping) else entry
        for name, entry in values[field].items()
    }
    return {**values, field: entries}
