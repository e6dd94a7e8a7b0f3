"""companies.yaml as typed, frozen settings: the one file that a user edits.

``load_settings`` is the way in; it is called when settings are needed, never at import. The shape of the
file is in ``models``; here belongs nothing that speaks to Odoo or Mailchimp (``mc-pipeline doctor`` asks
them whether what the file names exists).
"""

from mc_pipeline.settings.errors import Problem, SettingsError
from mc_pipeline.settings.loading import CONFIG_VARIABLE, load_settings
from mc_pipeline.settings.models import (
    AmountCondition,
    AudienceSettings,
    CompanySettings,
    ConsentSettings,
    CustomersSettings,
    Guard,
    GuardSettings,
    MailchimpAccountSettings,
    OdooSettings,
    RuleSettings,
    Settings,
    StoreSettings,
    TagRule,
)

__all__ = [
    "CONFIG_VARIABLE",
    "AmountCondition",
    "AudienceSettings",
    "CompanySettings",
    "ConsentSettings",
    "CustomersSettings",
    "Guard",
    "GuardSettings",
    "MailchimpAccountSettings",
    "OdooSettings",
    "Problem",
    "RuleSettings",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "TagRule",
    "load_settings",
]
