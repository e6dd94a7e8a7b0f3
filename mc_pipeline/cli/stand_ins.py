"""Both sandbox servers with the demo's data, and the settings that point to them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mc_pipeline.home import HOME_VARIABLE, prepare_dagster_home
from mc_pipeline.instance import POSTGRES_VARIABLE
from mc_pipeline.ledger.explaining import DATABASE_URL_VARIABLE
from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed import DemoWorld, demo_companies_yaml, seed_demo
from mc_pipeline.settings import CONFIG_VARIABLE

_STATE_OF_AN_INSTALLATION = ("MC_PIPELINE_STORAGE", DATABASE_URL_VARIABLE, POSTGRES_VARIABLE)


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
    """Serve both systems and point the environment at them, with companies.yaml and all state in ``folder``.

    The ledger and the tables of a real installation are never touched: what they know of people is not true
    of invented ones. Ports of 0 are chosen freely.
    """
    os.environ[HOME_VARIABLE] = str(prepare_dagster_home(folder))
    for name in _STATE_OF_AN_INSTALLATION:
        os.environ.pop(name, None)
    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
    world = seed_demo(odoo, mailchimp, partners=partners)
    with odoo.serve(port=odoo_port), mailchimp.serve(port=mailchimp_port):
        config = folder / "companies.yaml"
        config.write_text(demo_companies_yaml(odoo.url, mailchimp.api_url))
        os.environ.update(world.environment() | {CONFIG_VARIABLE: str(config)})
        yield StandIns(odoo, mailchimp, world, config)
