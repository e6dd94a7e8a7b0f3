"""Every call of a run in every kind of trouble: the end is as without it, or the reason is clear.

All calls meet their trouble in as few runs as that takes: what is retried and survived goes on to the next
call, what fails is run again. With MC_PIPELINE_FAULT_MATRIX=whole every cell has a town of its own, a call
that is made several times meets its trouble the last time as well, and Odoo is spoken to in both ways; that
takes hours.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from mc_pipeline_tests.properties.fault_matrix import GROUPS, KINDS, Matrix, fault_matrix

WHOLE = os.environ.get("MC_PIPELINE_FAULT_MATRIX") == "whole"
EXPECTED = """
    POST /lists/{list_id}
    PATCH /lists/{list_id}/members/{subscriber_hash}
    DELETE /lists/{list_id}/members/{subscriber_hash}
    POST /lists/{list_id}/merge-fields
    POST /lists/{list_id}/segments
    POST /lists/{list_id}/segments/{segment_id}
    POST /batches
    GET /batches/{batch_id}
    GET /batch-results/{name}
    GET /lists/{list_id}/members
    version
    common.login
    res.partner.read
    res.partner.search
    sale.order.read
    mail.blacklist.read
    mail.blacklist.create
    mail.blacklist.write
    mailing.subscription.read
    account.move.read
    account.move.line.read
    sale.order.line.read
"""


@pytest.fixture(scope="module", params=["jsonrpc", "json2"] if WHOLE else ["jsonrpc"])
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    with fault_matrix(request.param) as made:
        yield made


@pytest.mark.parametrize("kinds", GROUPS, ids=", ".join)
def test_every_call_in_trouble_ends_as_if_there_had_been_none(
    kinds: tuple[str, ...], matrix: Matrix, record_property: Callable[[str, int], None]
):
    cells = [cell for kind in kinds for cell in matrix.cells(kind)]
    if WHOLE:
        cells += [cell for kind in kinds for cell in matrix.cells(kind, last=True)]
    for together in [[cell] for cell in cells] if WHOLE else [cells]:
        matrix.live_through(together)
    record_property("cells of the fault matrix", len(cells))


@pytest.mark.quick
def test_the_matrix_finds_the_calls_of_a_run_and_leaves_no_kind_of_trouble_out(matrix: Matrix):
    if matrix.api != "json2":
        assert {line.strip() for line in EXPECTED.strip().splitlines()} <= {
            call.name for call in matrix.calls
        }
    in_groups = [kind for kinds in GROUPS for kind in kinds]
    assert sorted(in_groups) == sorted({kind for kinds in KINDS.values() for kind in kinds})
    assert all(len(matrix.cells(kind)) > 40 for kind in in_groups)


@pytest.mark.quick
def test_an_end_that_is_another_is_noticed(matrix: Matrix):
    matrix.begin_again()
    with pytest.raises(AssertionError, match=r"retail1 ann@example\.com"):
        matrix.judge_end(matrix.cells("html_502")[:1])
