"""The world of the demo: two companies in Odoo, their audiences in Mailchimp, and who is who in them."""

from mc_pipeline.sandbox.seed.demo import seed_demo
from mc_pipeline.sandbox.seed.scale import seed_many
from mc_pipeline.sandbox.seed.settings import demo_companies_yaml
from mc_pipeline.sandbox.seed.world import DemoCompany, DemoPerson, DemoWorld

__all__ = ["DemoCompany", "DemoPerson", "DemoWorld", "demo_companies_yaml", "seed_demo", "seed_many"]
