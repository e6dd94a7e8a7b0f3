"""Both stand-in servers with the demo's world in them, and the settings that point to them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed import DemoWorld, demo_companies_yaml, seed_demo
from mc_pipeline.settings import CONFIG_VARIABLE


@dataclass(frozen=True)
class StandIns:
    """The running servers, who is who in them, and the companies.yaml for them."""

    odoo: SandboxOdoo
    mailchimp: SandboxMailchimp
    world: DemoWorld
    config: Path


@contextmanager
def stand_ins(
    folder: Path, *, partners: int, odoo_port: int = 0, mailchimp_port: int = 0
) -> Iterator[StandIns]:
    """Serve both systems, write companies.yaml into ``folder``, and point the environment at them.

    Ports of 0 are chosen freely.
    """
    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
    world = seed_demo(odoo, mailchimp, partners=partners)
    with odoo.serve(port=odoo_port), mailchimp.serve(port=mailchimp_port):
        config = folder / "companies.yaml"
        config.write_text(demo_companies_yaml(odoo.url, mailchimp.api_url))
        os.environ.update(world.environment() | {CONFIG_VARIABLE: str(config)})
        yield StandIns(odoo, mailchimp, world, config)
