"""What checks are made of: an account, an audience, a company as its sync sees it."""

from dataclasses import dataclass
from functools import cached_property

from mc_pipeline.doctor.samples import FewRecords
from mc_pipeline.doctor.systems import CheckupSystems
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.odoo.client import Domain, OdooClient
from mc_pipeline.odoo.companies import partners_of, with_companies_above
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
    def partners(self) -> Domain:
        """The company's partners, as a sync asks for them."""
        return partners_of(with_companies_above(self.client, self.odoo_id))

    def where(self, audience: AudienceSettings, key: str) -> str:
        """Name a setting of one of the company's audiences as companies.yaml has it."""
        return f"companies.{self.settings.key}.audiences.{audience.key}.{key}"
