"""What the merge fields of an audience are like, since when, and which are in use."""

from datetime import timedelta

from mc_pipeline.ledger.field_definitions import FieldDefinition, UsedField
from mc_pipeline_tests.ledger.conftest import Clock

LIST = "list1"


def field(tag: str, merge_id: int, kind: str = "number", phone_format: str = "") -> FieldDefinition:
    return FieldDefinition(tag, merge_id, kind, required=False, default_value="", phone_format=phone_format)


def fields(*definitions: FieldDefinition) -> dict[str, FieldDefinition]:
    return {each.tag: each for each in definitions}


def test_the_fields_are_kept_as_they_were_read_with_the_time_of_their_last_change(ledger, clock: Clock):
    known = ledger.field_definitions
    first = fields(field("ORDERS", 1), field("PHONE", 2, "phone", "US"))
    began = clock()
    known.observe(LIST, first, wanted=["ORDERS"], used=["ORDERS"])
    assert known.of(LIST) == first
    clock.pass_time(hours=1)
    known.observe(LIST, first, wanted=["ORDERS"], used=["ORDERS"])
    assert known.changed_at([LIST, "other"]) == {LIST: began}
    second = fields(field("ORDERS", 1), field("PHONE", 2, "phone", "International"))
    known.observe(LIST, second, wanted=["ORDERS"], used=["ORDERS"])
    assert known.changed_at([LIST]) == {LIST: began + timedelta(hours=1)}
    assert known.of("other") == {}


def test_a_field_that_is_not_there_is_remembered_while_its_tag_is_wanted(ledger):
    known = ledger.field_definitions
    known.observe(LIST, fields(field("ORDERS", 1)), wanted=["ORDERS"], used=["ORDERS"])
    renamed = fields(field("NORD", 1))
    known.observe(LIST, renamed, wanted=["ORDERS"], used=[])
    assert known.used(LIST) == {"ORDERS": UsedField(1, "number")}
    known.observe(LIST, renamed, wanted=["NORD"], used=["NORD"])
    assert known.used(LIST) == {"NORD": UsedField(1, "number")}
    assert known.used("other") == {}
