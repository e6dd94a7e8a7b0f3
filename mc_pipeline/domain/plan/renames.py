"""Who has a new e-mail address in Odoo, and whose Mailchimp member may simply be renamed (rule 6.3).

A rename takes status and history to the new address, so it is allowed only where it surely is the same person
and nobody's refusal gets lost. Everybody else becomes a new person under the new address.
"""

from collections.abc import Set

import pandas as pd

from mc_pipeline.domain.plan.view import AudienceView
from mc_pipeline.vocabulary import MemberStatus

RENAMES = ("list_id", "audience", "email", "new_email", "partner_id", "depth")


def find_renames(view: AudienceView, odoo_emails: Set[str]) -> pd.DataFrame:
    """Return the members to rename: columns RENAMES, one row per member.

    ``depth`` orders a chain (a → b, b → c): the end of it, which frees its address for the one before, has
    depth 0. In a circle (a → b, b → a) nobody is renamed: each address keeps its member and its status, and
    gets the fields of the person who has it now.

    Args:
        view: desired, observed and recorded state.
        odoo_emails: every normalised address that any partner has now.
    """
    edges = _possible_renames(view)
    if edges.empty:
        return pd.DataFrame(columns=list(RENAMES), dtype=object)
    audience_of = dict(zip(view.desired["list_id"], view.desired["audience"], strict=True))
    taken = {
        (list_id, email)
        for list_id, email in zip(view.present["list_id"], view.present["email"], strict=True)
    }
    held = odoo_emails | set(view.desired["email"])
    new_of = {
        (list_id, old): new
        for list_id, old, new in zip(edges["list_id"], edges["email"], edges["new_email"], strict=True)
    }
    old_of = {(list_id, new): old for (list_id, old), new in new_of.items()}

    depths: dict[tuple[str, str], int] = {}
    for list_id, old in new_of:
        if (list_id, old) in old_of:
            continue  # not the head of a chain; a circle has no head at all
        if old in held:
            continue  # somebody in Odoo still has the old address: the member is theirs
        chain = [old]
        while (list_id, chain[-1]) in new_of:
            chain.append(new_of[(list_id, chain[-1])])
        if (list_id, chain[-1]) in taken:
            continue  # the last address is somebody's already, so none in the chain gets free
        for depth, address in enumerate(reversed(chain[:-1])):
            depths[(list_id, address)] = depth
    edges["depth"] = [
        depths.get((list_id, old), -1) for list_id, old in zip(edges["list_id"], edges["email"], strict=True)
    ]
    edges["audience"] = edges["list_id"].map(audience_of)
    return edges.loc[edges["depth"] >= 0, list(RENAMES)].reset_index(drop=True)


def _possible_renames(view: AudienceView) -> pd.DataFrame:
    """Members that may be renamed as far as they themselves and their new address are concerned."""
    if view.former_addresses.empty:
        return view.former_addresses
    former = view.former_addresses.rename(columns={"email": "new_email", "old_email": "email"})
    members = view.present[["list_id", "email", "status", "name_sent", "opted_out", "created_at"]].rename(
        columns={"opted_out": "member_opted_out"}
    )
    edges = former.merge(members, on=["list_id", "email"])
    targets = view.desired[
        ["list_id", "email", "partner_id", "name", "status_for_new", "status", "was_member"]
    ]
    edges = edges.merge(
        targets.rename(
            columns={
                "email": "new_email",
                "partner_id": "winner_id",
                "status": "target_status",
                "was_member": "target_was_member",
            }
        ),
        on=["list_id", "new_email"],
    )
    if edges.empty:
        return edges
    refused = view.opted_out | view.blocked
    allowed = (
        edges["status"].isin({MemberStatus.SUBSCRIBED, MemberStatus.TRANSACTIONAL})
        & (edges["partner_id"].astype("int64") == edges["winner_id"].astype("int64"))
        & edges["name_sent"].notna()
        & (edges["name_sent"].map(_name) == edges["name"].map(_name))
        & ~edges["member_opted_out"]
        & ~edges["email"].isin(refused)
        & ~edges["new_email"].isin(refused)
        & ~edges["new_email"].isin(set(view.left_behind))
        & (edges["status_for_new"] != "")
        & ~(edges["target_status"].isna() & edges["target_was_member"])
    )
    edges = edges[allowed].sort_values(
        ["list_id", "new_email", "created_at", "email"], ascending=[True, True, False, True]
    )
    return edges.drop_duplicates(["list_id", "new_email"]).reset_index(drop=True)


def _name(name: object) -> str:
    return " ".join(str(name).split())
