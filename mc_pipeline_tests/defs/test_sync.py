"""The main job end to end, through Dagster and real HTTP: who gets where, and what is never sent."""

from datetime import UTC, datetime

from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


def customer(world: World, email: str, *, spent: float = 100.0, **values) -> int:
    """Add a partner with one confirmed order."""
    partner = world.odoo.add_partner(name=values.pop("name", "Ada Lovelace"), email=email, **values)
    world.odoo.add_order(partner, spent, date_order=ORDERED)
    return partner


def test_a_second_run_writes_nothing(world: World):
    for number in range(30):
        customer(world, f"person{number}@example.com", name=f"Person Number {number}", spent=50 * number)
    world.odoo.blacklist("person3@example.com")
    world.sync()
    assert world.mailchimp.status("retail1", "person29@example.com") == "transactional"
    assert world.mailchimp.tags("retail1", "person29@example.com") == ["B2C", "VIP"]
    assert world.mailchimp.status("retail1", "person3@example.com") is None
    assert world.mailchimp.mails == []
    world.mailchimp.journal.clear()
    world.sync()
    assert [entry.path for entry in world.mailchimp.journal.writes] == []
