"""Who opted out under a former address has opted out under the present one (rule 6.3)."""

import pandas as pd

from mc_pipeline.domain.former_addresses import addresses_inheriting_opt_outs


def inheriting(known: dict[str, int], present: dict[int, str | None], opted_out: set[str]) -> set[str]:
    records = pd.DataFrame(
        {"email": list(known), "partner_id": pd.array(list(known.values()), dtype="Int64")}
    )
    partners = pd.DataFrame({"partner_id": list(present), "email_normalized": list(present.values())})
    return set(addresses_inheriting_opt_outs(records, partners, opted_out))


def test_an_opt_out_follows_its_person_to_the_new_address():
    assert inheriting({"old@x.com": 1}, {1: "new@x.com"}, {"old@x.com"}) == {"new@x.com"}


def test_an_address_that_stayed_the_same_inherits_nothing():
    assert inheriting({"old@x.com": 1}, {1: "old@x.com"}, {"old@x.com"}) == set()


def test_a_person_without_an_address_or_without_a_partner_inherits_nothing():
    assert inheriting({"old@x.com": 1, "other@x.com": 2}, {1: None}, {"old@x.com", "other@x.com"}) == set()


def test_who_takes_over_an_address_that_inherits_is_known_in_the_same_run():
    """Else the opt-outs would go on by one address with every further run."""
    passed_round = inheriting(
        {"a@x.com": 1, "b@x.com": 2, "c@x.com": 3}, {1: "b@x.com", 2: "c@x.com", 3: "d@x.com"}, {"a@x.com"}
    )
    assert passed_round == {"b@x.com", "c@x.com", "d@x.com"}
