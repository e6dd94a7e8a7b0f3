"""What a fresh database holds: countries, currencies, languages, a company, the first users."""

from __future__ import annotations

from mc_pipeline.sandbox.odoo.access import Account
from mc_pipeline.sandbox.odoo.database import Database

COUNTRIES = {
    "AT": "Austria", "BE": "Belgium", "CA": "Canada", "CH": "Switzerland", "DE": "Germany", "DK": "Denmark",
    "ES": "Spain", "FR": "France", "GB": "United Kingdom", "IE": "Ireland", "IT": "Italy", "JP": "Japan",
    "LU": "Luxembourg", "NL": "Netherlands", "NO": "Norway", "PL": "Poland", "PT": "Portugal", "SE": "Sweden",
    "US": "United States",
}  # fmt: skip
CURRENCIES = {
    "EUR": ("Euro", "€", 1.0, 2),
    "USD": ("US Dollar", "$", 1.25, 2),
    "GBP": ("Pound", "£", 0.8, 2),
    "CHF": ("Swiss franc", "CHF", 0.95, 2),
    "JPY": ("Yen", "¥", 160.0, 0),
}
"""Name, symbol, units for one euro, decimal places."""
LANGUAGES = {
    "en_US": "English (US)", "en_GB": "English (UK)", "fr_FR": "French / Français",
    "de_DE": "German / Deutsch", "es_ES": "Spanish / Español",
}  # fmt: skip
INDUSTRIES = ("Agriculture", "Food", "Hospitality", "Manufacturing", "Wholesale/Retail")


def put_basics(database: Database) -> None:
    """Fill a fresh database. The administrator is user 2, "admin" with the password "admin"."""
    models, env = database.models, database.superuser()
    for code, name in COUNTRIES.items():
        models["res.country"].create_records(env, [{"name": name, "code": code}])
    for code, (name, symbol, rate, decimals) in CURRENCIES.items():
        models["res.currency"].create_records(
            env,
            [
                {
                    "name": code,
                    "full_name": name,
                    "symbol": symbol,
                    "rate": rate,
                    "rounding": 10.0**-decimals,
                    "decimal_places": decimals,
                }
            ],
        )
    for code, name in LANGUAGES.items():
        url_code = code.split("_")[0] if code != "en_GB" else "en_GB"
        models["res.lang"].create_records(
            env, [{"name": name, "code": code, "iso_code": url_code, "url_code": url_code}]
        )
    for name, internal in (("Discussions", False), ("Note", True), ("Activities", True)):
        models["mail.message.subtype"].create_records(
            env, [{"name": name, "internal": internal, "default": not internal}]
        )
    for name in INDUSTRIES:
        models["res.partner.industry"].create_records(env, [{"name": name}])
    if "account.account" in models:
        sales = {"name": "Product Sales", "code": "400000", "account_type": "income"}
        models["account.account"].create_records(env, [sales])
    for name in ("Email", "Website", "Direct"):
        models["utm.medium"].create_records(env, [{"name": name}])
    euro = next(iter(models["res.currency"].table.with_value("name", "EUR")))
    (company,) = models["res.company"].create_records(env, [{"name": "My Company", "currency_id": euro}])
    _put_user(
        database, company, "__system__", "OdooBot", "odoobot@example.com", active=False, groups=("admin",)
    )
    _put_user(
        database, company, "admin", "Administrator", "admin@example.com", groups=("admin",), password="admin"
    )
    _put_user(database, company, "public", "Public user", "", active=False, share=True, groups=("portal",))
    _put_user(
        database,
        company,
        "portaltemplate",
        "Portal User Template",
        "",
        active=False,
        share=True,
        groups=("portal",),
    )


def _put_user(
    database: Database,
    company: int,
    login: str,
    name: str,
    email: str,
    *,
    groups: tuple[str, ...],
    active: bool = True,
    share: bool = False,
    password: str = "",
) -> None:
    env = database.superuser()
    partner = {
        "name": name,
        "email": email or False,
        "active": active,
        "company_id": False if share else company,
    }
    (partner_id,) = database.models["res.partner"].create_records(env, [partner])
    values = {
        "login": login,
        "partner_id": partner_id,
        "company_id": company,
        "company_ids": [(6, 0, [company])],
        "active": active,
        "share": share,
    }
    (uid,) = database.models["res.users"].create_records(env, [values])
    database.accounts[uid] = Account(uid, login, password, frozenset(groups))
