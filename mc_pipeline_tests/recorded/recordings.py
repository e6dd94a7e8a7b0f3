"""The recordings of real Odoo servers, read by the pipeline's own readers over HTTP, and settings for them.

A recording is loaded into the stand-in of its version. What the readers then say is put together as the
assets put it together; ``test_contacts`` holds this to a run of the assets.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from mc_pipeline.domain.revenue.documents import lines_of_credited_orders, match_credits
from mc_pipeline.domain.revenue.kept import kept_by_order
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.orders import read_order_lines, read_orders
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.odoo.reading import OdooRead
from mc_pipeline.odoo.refunds import read_refunds
from mc_pipeline.odoo.tags import read_tag_paths
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.settings import Settings, load_settings
from mc_pipeline_tests.data import data_path
from mc_pipeline_tests.odoo.conftest import logged_in

VERSIONS = (17, 18, 19)
TIMEZONE = "Europe/Brussels"

_FOLDER = Path(__file__).parent
_NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class CompanyTables:
    """What decides a company's contacts: ``odoo_partners``, ``odoo_orders``, and all tags by id."""

    partners: pd.DataFrame
    orders: pd.DataFrame
    tags: Mapping[int, str]


def raw_records(version: int) -> dict[str, list[dict[str, Any]]]:
    """The recording as it is, by model."""
    with gzip.open(data_path(f"odoo/{version}/records.json.gz"), "rt", encoding="utf-8") as file:
        records: dict[str, list[dict[str, Any]]] = json.load(file)
    return records


@contextmanager
def recorded_odoo(version: int) -> Iterator[SandboxOdoo]:
    """The stand-in of a version, served with that version's fields and records."""
    fields = data_path(f"odoo/{version}/fields.json.gz")
    odoo = SandboxOdoo((version, 0), fields=fields, basics=False)
    odoo.load_recorded(data_path(f"odoo/{version}/records.json.gz"))
    with odoo.serve():
        yield odoo


def read_company(client: OdooClient, company_id: int) -> CompanyTables:
    """Read a company's tables. Every one of them must be complete."""
    partners = _whole(read_partners(client, company_id))
    documents = _whole(read_refunds(client, company_id))
    credited = _whole(read_order_lines(client, company_id, line_ids=lines_of_credited_orders(documents)))
    documents = match_credits(documents, credited)
    orders = _whole(read_orders(client, company_id, TIMEZONE))
    concerned = map(int, documents["order_id"].dropna().unique())
    lines = _whole(read_order_lines(client, company_id, concerned))
    kept = kept_by_order(orders, lines, documents)
    return CompanyTables(partners, orders.join(kept.drop(columns="order_id")), read_tag_paths(client))


def _whole(read: OdooRead) -> pd.DataFrame:
    assert read.complete, read.incomplete_because
    return read.rows


@cache
def recorded_companies(version: int) -> Mapping[int, CompanyTables]:
    """The tables of every company of a recording, by the company's id."""
    ids = tuple(company["id"] for company in raw_records(version)["res.company"])
    with recorded_odoo(version) as odoo, logged_in(odoo, companies=ids) as client:
        return {company: read_company(client, company) for company in ids}


def settings_named(
    name: str, *, odoo_url: str = "", mailchimp_url: str = "", changes: Mapping[str, str] | None = None
) -> Settings:
    """The settings of ``<name>.yaml`` beside this module: one company, acme, which is Odoo's company 1.

    ``changes`` are pieces of the file's text and what stands there instead; each must be in it once.
    """
    text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    for piece, instead in (changes or {}).items():
        assert text.count(piece) == 1, piece
        text = text.replace(piece, instead)
    environment = {
        "ODOO_URL": odoo_url or _NOWHERE,
        "ODOO_SECRET": "admin",
        "MAILCHIMP_URL": mailchimp_url or _NOWHERE,
        "MAILCHIMP_API_KEY": DEFAULT_KEY,
    }
    with TemporaryDirectory() as folder:
        file = Path(folder) / "companies.yaml"
        file.write_text(text, encoding="utf-8")
        return load_settings(file, environment)
