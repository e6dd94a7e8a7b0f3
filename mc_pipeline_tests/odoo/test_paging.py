"""Reading all records while people change them: nothing is lost, nothing comes twice."""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_pipeline.odoo.errors import OdooAccessError
from mc_pipeline.odoo.paging import read_all
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.byte_server import LOGGED_IN, error, result, serve
from mc_pipeline_tests.odoo.conftest import logged_in
from mc_pipeline_tests.odoo.connection import connected

FORBIDDEN = error("odoo.exceptions.AccessError", "Sorry, you are not allowed to access this")
NOT_ALLOWED = (
    "You are not allowed to access 'Contact' (res.partner) records.\n\n"
    "This operation is allowed for the following groups:\n\t- Role / User\n"
)


@dataclass
class ChangingOdoo:
    """One model whose rows change between requests, with Odoo's answers to search, search_count and read.

    ``edits`` happen before the request of that number is answered. ``hidden`` rows are outside the record
    rules: no search finds them, a read that names one is refused whole.
    """

    rows: dict[int, str]
    hidden: set[int] = field(default_factory=set)
    edits: dict[int, list[Callable[["ChangingOdoo"], None]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    unreadable: set[int] = field(default_factory=set)
    extra_count: int = 0

    def answer(self, body: Any) -> bytes:
        for edit in self.edits.get(len(self.requests), []):
            edit(self)
        _, _, _, _, method, arguments, _ = body["params"]["args"]
        self.requests.append(method)
        visible = sorted(self.rows.keys() - self.hidden)
        if method == "read":
            (asked,) = arguments
            if (self.hidden | self.unreadable) & self.rows.keys() & set(asked):
                return FORBIDDEN
            return result([{"id": row, "name": self.rows[row]} for row in asked if row in self.rows])
        (domain,) = arguments
        for name, operator, value in domain:
            assert (name, operator) == ("id", "in")
            visible = [row for row in visible if row in value and row not in self.unreadable]
        return result(len(visible) + self.extra_count if method == "search_count" else visible)


def read_from(odoo: ChangingOdoo, **options: Any):
    with serve(*LOGGED_IN, odoo.answer) as server, connected(server.url) as client:
        return read_all(client, "res.partner", [], ["name"], **options)


def rows(*ids: int) -> dict[int, str]:
    return {row: f"row {row}" for row in ids}


def test_an_empty_table_is_complete():
    read = read_from(ChangingOdoo({}))
    assert (read.records, read.complete, read.incomplete_because) == ([], True, "")


def test_rows_come_in_the_order_of_their_ids_whatever_the_pages():
    read = read_from(ChangingOdoo(rows(5, 3, 9, 1)), page_size=2, connections=2)
    assert [record["id"] for record in read.records] == [1, 3, 5, 9]
    assert read.complete


def test_a_row_deleted_after_it_was_listed_is_left_out_and_explains_itself():
    odoo = ChangingOdoo(rows(1, 2, 3, 4), edits={2: [lambda odoo: odoo.rows.pop(2)]})
    read = read_from(odoo, page_size=2, connections=1)
    assert [record["id"] for record in read.records] == [1, 3, 4]
    assert read.complete


def test_rows_that_appear_with_low_ids_while_reading_are_read_too():
    # A long transaction took id 2 long ago and commits only now.
    odoo = ChangingOdoo(rows(1, 3, 4), edits={3: [lambda odoo: odoo.rows.update(rows(2))]})
    read = read_from(odoo, page_size=2, connections=1)
    assert [record["id"] for record in read.records] == [1, 2, 3, 4]
    assert read.complete


def test_deleting_rows_of_earlier_pages_shifts_nothing():
    odoo = ChangingOdoo(rows(*range(1, 9)), edits={3: [lambda odoo: [odoo.rows.pop(row) for row in (1, 2)]]})
    read = read_from(odoo, page_size=2, connections=1)
    assert [record["id"] for record in read.records] == [3, 4, 5, 6, 7, 8]
    assert read.complete


def test_one_forbidden_row_does_not_take_its_page_along_and_is_reported():
    odoo = ChangingOdoo(rows(1, 2, 3, 4), edits={2: [lambda odoo: odoo.hidden.add(3)]})
    read = read_from(odoo, page_size=4)
    assert [record["id"] for record in read.records] == [1, 2, 4]
    assert not read.complete
    assert "1 res.partner records that its user may not read" in read.incomplete_because


def test_rows_that_odoo_lists_and_never_gives_are_reported():
    odoo = ChangingOdoo(rows(1, 2, 3, 4), unreadable={2, 3})
    read = read_from(odoo, page_size=2)
    assert [record["id"] for record in read.records] == [1, 4]
    assert not read.complete
    assert "2 res.partner records" in read.incomplete_because


def test_a_model_that_may_not_be_read_at_all_is_an_error_and_not_an_empty_table():
    with (
        serve(
            *LOGGED_IN, result([1]), result(1), error("odoo.exceptions.AccessError", NOT_ALLOWED), result([1])
        ) as server,
        connected(server.url) as client,
        pytest.raises(OdooAccessError, match="Role / User"),
    ):
        read_all(client, "res.partner", [], ["name"])


def test_a_count_that_never_agrees_with_the_list_is_reported():
    read = read_from(ChangingOdoo(rows(1, 2), extra_count=5))
    assert not read.complete
    assert "counts 7 res.partner records and lists 2" in read.incomplete_because
    assert [record["id"] for record in read.records] == [1, 2]


def test_a_count_that_disagrees_for_a_moment_is_asked_again():
    def settle(odoo: ChangingOdoo) -> None:
        odoo.extra_count = 0

    odoo = ChangingOdoo(rows(1, 2), extra_count=1, edits={2: [settle]})
    assert read_from(odoo).complete


def test_reading_takes_one_request_per_page_and_four_more():
    odoo = ChangingOdoo(rows(*range(1, 2501)))
    read = read_from(odoo, page_size=1000)
    assert len(read.records) == 2500
    assert sorted(odoo.requests) == ["read"] * 3 + ["search"] * 2 + ["search_count"] * 2


def test_rows_that_disappear_one_after_the_other_while_a_page_is_read_refuse_nothing_else():
    odoo = ChangingOdoo(rows(1, 2, 3, 4))
    odoo.edits = {2: [_edit("hide", 1)], 4: [_edit("hide", 2)]}
    read = read_from(odoo, connections=1)
    assert [record["id"] for record in read.records] == [3, 4]


Edit = tuple[int, str, int]
edits = st.lists(
    st.tuples(
        st.integers(0, 14), st.sampled_from(["add", "delete", "rename", "hide", "show"]), st.integers(1, 20)
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    start=st.sets(st.integers(1, 20)),
    hidden=st.sets(st.integers(1, 20), max_size=3),
    changes=edits,
    page_size=st.integers(1, 7),
)
def test_whatever_people_do_meanwhile_no_lasting_row_is_lost_or_doubled(start, hidden, changes, page_size):
    odoo = ChangingOdoo(rows(*start), hidden=set(hidden))
    lasting = set(start) - hidden
    ever = set(start)
    was_hidden_later = set()
    for moment, kind, row in changes:
        odoo.edits.setdefault(moment, []).append(_edit(kind, row))
        if kind == "add":
            ever.add(row)
        if kind in ("delete", "hide"):
            lasting.discard(row)
        if kind == "hide":
            was_hidden_later.add(row)
    read = read_from(odoo, page_size=page_size, connections=1)
    found = [record["id"] for record in read.records]
    assert found == sorted(set(found))
    assert lasting <= set(found) <= ever
    if read.complete:
        # at the end Odoo lists these rows, and whatever came after the last reading of new ones
        late = {row for _, kind, row in changes if kind in ("add", "show")}
        assert (odoo.rows.keys() - odoo.hidden) - set(found) <= late
    else:
        assert read.incomplete_because
        assert was_hidden_later or changes


def _edit(kind: str, row: int) -> Callable[[ChangingOdoo], None]:
    def edit(odoo: ChangingOdoo) -> None:
        if kind == "add":
            odoo.rows.setdefault(row, f"row {row}")
        elif kind == "delete":
            odoo.rows.pop(row, None)
        elif kind == "rename" and row in odoo.rows:
            odoo.rows[row] = "renamed"
        elif kind == "hide":
            odoo.hidden.add(row)
        elif kind == "show":
            odoo.hidden.discard(row)

    return edit


def test_somebody_who_interrupts_does_not_wait_for_pages_under_way(sandbox: SandboxOdoo):
    for number in range(4):
        sandbox.add_partner(name=f"Person {number}")
    hanging = sandbox.faults.add(
        Fault("slow", match_body_regex='"res.partner", "read"', times=None, seconds=600)
    )
    over, main = threading.Event(), threading.get_ident()

    def interrupt() -> None:
        while not hanging.fired and not over.wait(0.01):
            pass
        signal.pthread_kill(main, signal.SIGINT)

    with logged_in(sandbox) as client:
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                read_all(client, "res.partner", [], ["name"], page_size=1)
            assert hanging in sandbox.faults.waiting, "its pages are under way still"
        finally:
            over.set()
            interrupting.join()
            sandbox.faults.clear()
