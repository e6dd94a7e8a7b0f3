"""Fills both stand-ins with the demo's world: the same one for the same seed and day."""

from __future__ import annotations

from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed.audiences import put_members
from mc_pipeline.sandbox.seed.companies import put_companies
from mc_pipeline.sandbox.seed.customers import Customers
from mc_pipeline.sandbox.seed.oddities import put_oddities
from mc_pipeline.sandbox.seed.world import DemoWorld


def seed_demo(
    odoo: SandboxOdoo, mailchimp: SandboxMailchimp, *, partners: int = 2000, seed: int = 2026
) -> DemoWorld:
    """Fill fresh stand-ins and say who is who. ``partners`` is about how many partners Odoo gets.

    Raises ValueError for fewer than 300. What the seeding did is not left in the journals.
    """
    if partners < 300:
        raise ValueError(f"partners={partners}: the demo's world needs at least 300")
    world = DemoWorld(companies=put_companies(odoo), mailchimp_api_key=DEFAULT_KEY)
    customers = Customers(odoo, world, seed)
    put_oddities(odoo, world, customers)
    customers.fill(partners)
    put_members(mailchimp, world, customers)
    world.partners = len(odoo.model("res.partner").table.ids)
    world.orders = len(odoo.model("sale.order").table.ids)
    odoo.journal.clear()
    mailchimp.journal.clear()
    return world
