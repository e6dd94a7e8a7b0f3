"""Who counts as opted out in Odoo, for a company that plans: rule 5.1."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from mc_pipeline.domain.consent.opted_out_in_odoo import opted_out_in_odoo

ADA = "ada@example.com"
READ = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BEFORE, AFTER = READ - timedelta(hours=1), READ + timedelta(hours=1)


@dataclass(frozen=True)
class Carried:
    """An opt-out, or its lifting, as it was done in Odoo."""

    recorded_at: datetime
    action: str = "opt_out"
    scope: str = "everywhere"
    company: str = "acme"
    email: str = ADA
    settled: bool = True

    @property
    def settled_at(self) -> datetime | None:
        return self.recorded_at if self.settled else None


def is_out(*carried: Carried, active: bool = False, standing: bool = False, until: datetime | None = None):
    found = opted_out_in_odoo(
        [ADA] if active else [],
        [ADA] if standing else [],
        carried,
        company="acme",
        read_at=READ,
        until=until,
    )
    assert found <= {ADA}
    return bool(found)


def test_anyone_who_is_in_the_blacklist_or_was_said_to_be_out_since_is_out():
    assert is_out(active=True)
    assert is_out(standing=True)
    assert not is_out()


@pytest.mark.parametrize(("at", "out"), [(BEFORE, False), (AFTER, True)])
def test_what_was_applied_for_everybody_counts_until_the_blacklist_shows_it(at: datetime, out: bool):
    assert is_out(Carried(at)) is out
    assert not is_out(Carried(at, settled=False))


@pytest.mark.parametrize("at", [BEFORE, AFTER])
def test_what_was_applied_for_this_company_alone_never_shows_in_the_blacklist_and_counts(at: datetime):
    assert is_out(Carried(at, scope="company"))
    assert not is_out(Carried(at, scope="company", company="other"))


def test_the_last_act_counts_and_what_is_applied_after_the_plan_is_made_does_not():
    out, back = Carried(BEFORE, scope="company"), Carried(AFTER, "lift", scope="company")
    assert not is_out(out, back)
    assert is_out(out, back, until=READ)
    assert not is_out(Carried(AFTER), until=READ)
