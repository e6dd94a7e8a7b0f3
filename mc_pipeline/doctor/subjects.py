"""What checks are made of: an account, an audience, a company as its sync sees it."""

from dataclasses import dataclass, replace
from functools import cached_property

from mc_pipeline.doctor.samples import FewRecords
from mc_pipeline.doctor.systems import CheckupSystems
from mc_pipeline.domain.contacts.company_records import with_company_records
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.odoo.client import Domain, OdooClient
from mc_pipeline.odoo.companies import partners_of, seeing_partners, with_companies_above
from mc_pipeline.odoo.partners import PartnersRead, read_partners
from mc_pipeline.odoo.tags import read_tag_paths
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


@dataclass(frozen=True)
class CompanyInOdoo:
    """A company of the settings, seen as its sync sees it."""

    systems: CheckupSystems
    settings: CompanySettings

    @property
    def client(self) -> OdooClient:
        return self.systems.odoo(self.settings)

    @cached_property
    def few_records(self) -> FewRecords:
        return FewRecords(self.client)

    @property
    def odoo_id(self) -> int:
        return self.settings.odoo_company_id

    @cached_property
    def partners(self) -> PartnersRead:
        """All partners as a sync reads and judges them; nothing is remembered of them."""
        consents = [audience.consent for audience in self.settings.audiences.values() if audience.consent]
        company_if = self.settings.company_if
        read = read_partners(
            self.client,
            self.odoo_id,
            boolean_fields=sorted({each.boolean_field for each in consents if each.boolean_field}),
            company_if_field=company_if.field if company_if else None,
        )
        if read.has_company_types:
            return read
        rows = with_company_records(
            read.rows,
            self.systems.ledger.company_records.of(read.database),
            company_if,
            read_tag_paths(self.client) if company_if and company_if.any_tag else {},
        )
        return replace(read, rows=rows)

    @cached_property
    def partners_domain(self) -> Domain:
        """The company's partners, as a sync asks for them."""
        return partners_of(self.with_companies_above)

    @cached_property
    def with_companies_above(self) -> tuple[int, ...]:
        """The company and the companies above it, by their ids in Odoo."""
        return with_companies_above(self.client, self.odoo_id)

    @cached_property
    def seeing_partners(self) -> OdooClient:
        """The client as it sees all partners of the company."""
        return seeing_partners(self.client, self.with_companies_above)

    def where(self, audience: AudienceSettings, key: str) -> str:
        """Name a setting of one of the company's audiences as companies.yaml has it."""
        return f"companies.{self.settings.key}.audiences.{audience.key}.{key}"
