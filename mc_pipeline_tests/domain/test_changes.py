"""The plan, rule by rule. Every test names what would harm somebody if the rule were bent."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from mc_pipeline.digests import body_digest
from mc_pipeline.domain.completeness import AudienceInDoubt
from mc_pipeline.domain.plan.archiving import waiting_for_creations
from mc_pipeline.domain.plan.plan import NOT_QUALIFYING_TAG, PLAN_COLUMNS, Completeness
from mc_pipeline.ledger import ConsentEvent
from mc_pipeline.ledger.changed_addresses import ChangedAddress
from mc_pipeline_tests.domain.audience_model import (
    EARLIER,
    NOW,
    OURS,
    RETAIL,
    WHOLESALE,
    Audiences,
    Member,
    Person,
    Record,
    World,
    brief,
    company,
    consent_on,
    sent,
)

ADA = "ada@example.com"
NEW = "ada@new.example"
PARTIAL_ODOO = Completeness(odoo=False, odoo_because="a page failed")
PARTIAL_MAILCHIMP = Completeness(mailchimp=False, mailchimp_because="a page failed")
BOTH_PARTIAL = pytest.mark.parametrize(
    "completeness", [PARTIAL_ODOO, PARTIAL_MAILCHIMP], ids=["odoo", "mailchimp"]
)
FIELDS = {"FNAME": "Ada", "CITY": "", "ORDERS": "1"}
RIGHT = Member(fields=FIELDS)
ADA_AT_HOME = Person(ADA)
ADA_AT_NEW = Person(NEW)


def one_member(
    member: Member, record: Record | None = OURS, list_id: str = RETAIL, email: str = ADA
) -> Audiences:
    return Audiences({(list_id, email): member}, {} if record is None else {(list_id, email): record})


def body_of(plan, operation: str) -> dict:
    (row,) = plan[plan["operation"] == operation].itertuples()
    return json.loads(row.after_json)


class TestNewPeople:
    """Rule 4.1 and 4.2: created once, by the weakest honest status, and only when in no status already."""

    def test_a_new_contact_is_created_with_their_fields_and_tags(self):
        plan = World([Person(ADA, tags=("VIP",))]).plan()
        assert sent(plan) == [("create", ADA, "transactional"), ("tag", ADA, "VIP")]
        assert body_of(plan, "create") == {
            "email_address": ADA,
            "status": "transactional",
            "merge_fields": {"FNAME": "Ada", "ORDERS": 1},
        }
        assert list(plan.columns) == list(PLAN_COLUMNS)

    def test_evidence_of_consent_goes_along_with_its_own_time(self):
        plan = World([Person(ADA, status="subscribed", evidence=consent_on(EARLIER))]).plan()
        body = body_of(plan, "create")
        assert body["status"] == "subscribed"
        assert body["timestamp_signup"] == body["timestamp_opt"] == "2026-01-01T00:00:00+00:00"

    def test_consent_without_a_time_gets_no_invented_one(self):
        plan = World([Person(ADA, status="subscribed", evidence={**consent_on(EARLIER), "at": None})]).plan()
        assert not {"timestamp_signup", "timestamp_opt"} & set(body_of(plan, "create"))

    @pytest.mark.parametrize(
        "status", ["subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived"]
    )
    def test_a_member_of_any_status_is_never_created_again(self, status):
        world = World([Person(ADA, status="subscribed")], one_member(Member(status, FIELDS), record=None))
        assert world.plan().empty

    @pytest.mark.parametrize("status", ["", "subscribed", "transactional"])
    def test_somebody_blacklisted_in_odoo_is_not_created(self, status):
        world = World([Person(ADA, status=status)], blacklisted=frozenset({ADA}))
        decided = world.decide()
        assert decided.plan.empty
        assert decided.not_written[["email", "reason"]].values.tolist() == [[ADA, "blacklisted"]]

    @pytest.mark.parametrize("status", ["subscribed", "pending"])
    def test_somebody_who_opted_out_anywhere_never_becomes_a_subscriber(self, status):
        world = World([Person(ADA, status=status)], opted_out_ever=frozenset({ADA}))
        assert sent(world.plan()) == [("create", ADA, "transactional")]

    @pytest.mark.parametrize("status", ["unsubscribed", "cleaned", "archived"])
    def test_an_opt_out_or_archiving_in_another_audience_voids_consent(self, status):
        world = World([Person(ADA, status="subscribed")], one_member(Member(status), None, WHOLESALE))
        assert sent(world.plan()) == [("create", ADA, "transactional")]

    def test_somebody_without_evidence_is_left_out_where_the_company_wants_that(self):
        assert World([Person(ADA, status="")]).plan().empty

    @pytest.mark.parametrize(
        ("record", "reason"),
        [
            (Record(vanished=True, last_status="subscribed"), "vanished"),
            (Record(absent_reads=1, last_status="transactional"), "absent"),
            (Record(last_status="subscribed"), "absent"),
            (OURS, "absent"),
        ],
        ids=["vanished", "absent once", "seen before, then a partial read", "created by us"],
    )
    def test_somebody_who_left_mailchimp_is_never_created_again(self, record, reason):
        """Rule 1.3: they may have been erased at their own wish."""
        world = World([Person(ADA)], Audiences({}, {(RETAIL, ADA): record}))
        decided = world.decide()
        assert decided.plan.empty
        assert decided.not_written["reason"].tolist() == [reason]

    def test_an_unknown_status_is_refused_by_name(self):
        with pytest.raises(ValueError, match=r"'cleaned'.*transactional, subscribed, pending"):
            World([Person(ADA, status="cleaned")]).decide()

    def test_an_audience_that_the_company_does_not_have_is_refused_by_name(self):
        with pytest.raises(ValueError, match=r"'vip'.*'acme'.*retail, wholesale"):
            World([Person(ADA, audience="vip")]).decide()


class TestRefusals:
    """A member that Mailchimp refuses blocks only itself, and is tried again when something changes."""

    def refused(self, **more) -> World:
        body = World([Person(ADA)]).plan().iloc[0]["after_json"]
        record = Record(rejection_key=body_digest(body), rejection_title="Invalid Resource", **more)
        return World([Person(ADA)], Audiences({}, {(RETAIL, ADA): record}))

    def test_the_same_body_is_not_sent_again(self):
        decided = self.refused().decide()
        assert decided.plan.empty
        assert decided.not_written[["reason", "detail"]].values.tolist() == [
            ["rejected_by_mailchimp", "Invalid Resource"]
        ]

    def test_a_changed_contact_is_tried_again(self):
        world = self.refused()
        world.people = [Person(ADA, fields={"FNAME": "Ada", "ORDERS": 2})]
        assert sent(world.plan()) == [("create", ADA, "transactional")]

    @pytest.mark.parametrize(("wait", "tried"), [(timedelta(hours=-1), True), (timedelta(hours=1), False)])
    def test_a_refusal_for_now_is_tried_again_when_its_time_has_come(self, wait, tried):
        assert (not self.refused(retry_at=NOW + wait).plan().empty) is tried

    @pytest.mark.parametrize(
        ("cause", "planned"), [("person", False), ("required_field", True), ("contact_limit", True)]
    )
    def test_what_is_no_fault_of_the_person_stays_in_the_plan(self, cause, planned):
        assert (not self.refused(rejection_cause=cause).plan().empty) is planned

    def test_a_refused_update_is_not_repeated_for_ever(self):
        world = World([Person(ADA)], one_member(Member(fields={})))
        body = world.plan().iloc[0]["after_json"]
        world.audiences.records[(RETAIL, ADA)] = replace(OURS, rejection_key=body_digest(body))
        decided = world.decide()
        assert decided.plan.empty
        assert decided.not_written["reason"].tolist() == ["rejected_by_mailchimp"]


class TestNotTakenBack:
    """Rule 6.6: whom Mailchimp refused for good is created nowhere, and listed whatever else is known."""

    @pytest.mark.parametrize(
        ("kind", "words"), [("forgotten", "permanently deleted there"), ("compliance", "under review")]
    )
    @pytest.mark.parametrize("audience", ["retail", "wholesale"])
    @pytest.mark.parametrize(
        "more",
        [{}, {"blacklisted": frozenset({ADA})}, {"opted_out_ever": frozenset({ADA})}],
        ids=["nothing else", "carried into Odoo", "kept as an opt-out"],
    )
    def test_they_are_listed_and_nothing_is_sent(self, kind, words, audience, more):
        refusals = {ADA: _event_of_a_refusal(kind)}
        world = World([Person(ADA, audience=audience)], more={"not_taken_back": refusals}, **more)
        decided = world.decide()
        assert decided.plan.empty
        ((reason, detail),) = decided.not_written[["reason", "detail"]].values.tolist()
        assert reason == "not_taken_back"
        assert words in detail
        assert "only the person can sign up again" in detail

    def test_somebody_who_signed_up_again_gets_fields_like_everybody(self):
        world = World(
            [Person(ADA)],
            one_member(Member("subscribed", fields={}), None),
            more={"not_taken_back": {ADA: _event_of_a_refusal("forgotten")}},
        )
        assert sent(world.plan()) == [("update", ADA)]


def _event_of_a_refusal(kind: str) -> ConsentEvent:
    return ConsentEvent(
        company="acme",
        audience="retail",
        list_id=RETAIL,
        email=ADA,
        event="opt_out",
        origin="unknown",
        occurred_at=EARLIER,
        seen_at=EARLIER,
        evidence={"refused": kind},
        source="write",
    )


class TestChangedInMailchimp:
    """Rule 6.6: who changed their address in Mailchimp is left as they are until Odoo has it too."""

    def changed(self, partner_id: int | None = 1, list_id: str = RETAIL) -> dict:
        change = ChangedAddress(
            id=1,
            company="acme",
            list_id=list_id,
            former=ADA,
            email=NEW,
            contact_id="c1",
            partner_id=partner_id,
            changed_at=EARLIER,
        )
        return {"changed": [change]}

    @pytest.mark.parametrize("partner_id", [1, None])
    @pytest.mark.parametrize("audience", ["retail", "wholesale"])
    def test_nothing_is_sent_about_either_address(self, audience, partner_id):
        """Neither made anew, nor renamed back, nor tagged as not qualifying."""
        world = World(
            [Person(ADA, audience=audience)],
            one_member(Member("subscribed", fields=FIELDS), replace(OURS, ever_subscribed=True), email=NEW),
            more=self.changed(partner_id),
        )
        decided = world.decide()
        assert decided.plan.empty
        ((reason, detail),) = decided.not_written[["reason", "detail"]].values.tolist()
        assert reason == "changed_in_mailchimp"
        assert NEW in detail

    def test_without_the_change_the_member_would_be_renamed_back(self):
        world = World([Person(ADA)], one_member(RIGHT, replace(OURS, name_sent="Ada"), email=NEW))
        assert world.plan()["operation"].tolist() == ["change_email"]

    def test_another_partner_with_the_former_address_is_created(self):
        world = World([Person(ADA, 2)], one_member(RIGHT, email=NEW), more=self.changed())
        assert ("create", ADA, "transactional") in sent(world.plan())

    @pytest.mark.parametrize("list_id", [RETAIL, WHOLESALE])
    def test_no_member_is_renamed_to_the_former_address(self, list_id):
        """The ledger would refuse it in every run."""
        other = one_member(RIGHT, replace(OURS, name_sent="Ada"), email="third@example.com")
        world = World([Person(ADA)], other, more=self.changed(list_id=list_id))
        assert "change_email" not in set(world.plan()["operation"])

    def test_another_member_with_the_former_address_gets_nothing_of_the_partner(self):
        audiences = one_member(RIGHT, email=NEW)
        audiences.members[RETAIL, ADA] = Member("subscribed", fields={})
        world = World([Person(ADA, tags=("VIP",))], audiences, more=self.changed())
        assert world.plan().empty


class TestConfirmations:
    """Rule 4.3: a confirmation mail goes out once per address, few a day, never in a first load."""

    def asking(self, people: int = 1, asked: dict | None = None, **more) -> World:
        contacts = [
            Person(f"p{number}@example.com", number + 1, status="pending", evidence=consent_on(EARLIER))
            for number in range(people)
        ]
        settings = company(send_confirmation=True)
        return World(contacts, Audiences(asked=asked or {}), settings=settings, more=more)

    def test_people_are_asked_to_confirm_where_settings_say_so(self):
        assert sent(self.asking().plan()) == [("create", "p0@example.com", "pending")]

    def test_a_first_load_asks_nobody(self):
        world = self.asking(first_load_list_ids=frozenset({RETAIL}))
        assert sent(world.plan()) == [("create", "p0@example.com", "transactional")]

    def test_nobody_is_asked_twice_in_their_life(self):
        plan = self.asking(asked={(WHOLESALE, "p0@example.com"): EARLIER}).plan()
        assert sent(plan) == [("create", "p0@example.com", "transactional")]
        assert "was asked to confirm before" in plan.iloc[0]["because"]

    def test_an_address_was_asked_whoever_bears_it_now(self):
        member = Member("subscribed", FIELDS)
        record = Record(
            created_by_us=True, created_status="pending", created_at=EARLIER, partner_id=9, name_sent="Ada"
        )
        renamed = (RETAIL, "b@example.com")
        world = self.asking(asked={(RETAIL, "p0@example.com"): EARLIER})
        world.audiences.members[renamed], world.audiences.records[renamed] = member, record
        assert sent(world.plan()) == [("create", "p0@example.com", "transactional")]

    def test_a_renamed_members_new_address_was_never_asked(self):
        world = self.asking(asked={(RETAIL, "a@example.com"): EARLIER})
        world.audiences.records[WHOLESALE, "p0@example.com"] = Record(created_status="pending")
        assert sent(world.plan()) == [("create", "p0@example.com", "pending")]

    def test_whom_a_first_load_could_not_create_is_not_asked_later(self):
        world = self.asking(2, of_first_load=frozenset({(RETAIL, "p0@example.com")}))
        plan = world.plan()
        assert sent(plan) == [
            ("create", "p0@example.com", "transactional"),
            ("create", "p1@example.com", "pending"),
        ]
        assert "a first load asks nobody to confirm" in plan.iloc[0]["because"]

    def test_no_more_are_asked_than_settings_allow_in_a_day(self):
        plan = self.asking(4).plan()
        assert len(sent(plan)) == 2
        assert set(plan["held_back_because"]) == {"", "at most 2 confirmation mails are sent a day"}

    def test_yesterdays_confirmations_do_not_count_and_todays_do(self):
        asked = {
            (RETAIL, "x@example.com"): NOW - timedelta(hours=1),
            (RETAIL, "y@example.com"): NOW - timedelta(hours=25),
            (WHOLESALE, "z@example.com"): NOW - timedelta(hours=1),
        }
        assert len(sent(self.asking(4, asked).plan())) == 1

    def test_a_double_opt_in_audience_gets_nobody_as_subscribed(self):
        world = World([Person(ADA, status="subscribed")], more={"double_optin_list_ids": frozenset({RETAIL})})
        assert sent(world.plan()) == [("create", ADA, "transactional")]


class TestExistingMembers:
    """Rules 4.4, 6.4 and 6.5: fields are Odoo's, the status is not ours."""

    @pytest.mark.parametrize("status", ["subscribed", "unsubscribed", "cleaned", "pending", "transactional"])
    def test_fields_are_kept_fresh_and_the_status_is_never_sent(self, status):
        world = World(
            [Person(ADA, status="subscribed")], one_member(Member(status, {"FNAME": "A", "ORDERS": "1"}))
        )
        plan = world.plan()
        assert sent(plan) == [("update", ADA)]
        assert body_of(plan, "update") == {"merge_fields": {"FNAME": "Ada"}}
        assert json.loads(plan.iloc[0]["before_json"]) == {"merge_fields": {"FNAME": "A"}}

    def test_a_member_archived_by_somebody_is_not_touched(self):
        world = World([Person(ADA, tags=("VIP",))], one_member(Member("archived", {"FNAME": "A"})))
        assert world.plan().empty

    def test_a_contact_whom_somebody_archived_is_listed(self):
        world = World([Person(ADA)], one_member(Member("archived")))
        assert world.decide().not_written["reason"].tolist() == ["archived"]

    def test_a_member_who_is_right_already_is_adopted_without_a_write(self):
        world = World(
            [Person(ADA, tags=("VIP",))], one_member(Member("subscribed", FIELDS, frozenset({"vip"})), None)
        )
        assert world.plan().empty

    def test_members_whom_odoo_does_not_know_never_appear(self):
        world = World([], one_member(Member("subscribed", FIELDS, frozenset({"VIP", "own"})), None))
        assert world.plan().empty

    def test_a_field_that_settings_do_not_name_is_not_touched(self):
        person = Person(ADA, fields={"FNAME": "Ada", "ORDERS": 1, "NOTE": "x"})
        assert World([person], one_member(Member(fields=FIELDS))).plan().empty

    @pytest.mark.parametrize(
        ("sent_before", "returned", "observed", "written"),
        [
            ("Leeds", "Leeds", "Leeds", {"CITY": ""}),
            ("Leeds", "LEEDS", "LEEDS", {"CITY": ""}),
            ("Leeds", "Leeds", "York", {}),
            (None, None, "York", {}),
            ("", "", "York", {}),
        ],
        ids=[
            "ours",
            "ours, as Mailchimp normalised it",
            "edited since",
            "never ours",
            "cleared by us, then filled",
        ],
    )
    def test_an_empty_value_clears_only_what_we_wrote(self, sent_before, returned, observed, written):
        record = OURS
        if sent_before is not None:
            record = replace(
                OURS,
                sent={"merge_fields": {"CITY": sent_before}},
                returned={"merge_fields": {"CITY": returned}},
            )
        plan = World([Person(ADA)], one_member(Member(fields={**FIELDS, "CITY": observed}), record)).plan()
        assert (body_of(plan, "update")["merge_fields"] if len(plan) else {}) == written

    def test_what_mailchimp_normalised_is_not_sent_again_for_ever(self):
        record = replace(
            OURS, sent={"merge_fields": {"FNAME": "ada  l"}}, returned={"merge_fields": {"FNAME": "Ada L."}}
        )
        person = Person(ADA, fields={"FNAME": "ada  l", "ORDERS": 1})
        assert World([person], one_member(Member(fields={**FIELDS, "FNAME": "Ada L."}), record)).plan().empty

    def test_what_somebody_edited_in_mailchimp_is_put_right(self):
        record = replace(
            OURS, sent={"merge_fields": {"FNAME": "Ada"}}, returned={"merge_fields": {"FNAME": "Ada"}}
        )
        plan = World([Person(ADA)], one_member(Member(fields={**FIELDS, "FNAME": "Eve"}), record)).plan()
        assert body_of(plan, "update") == {"merge_fields": {"FNAME": "Ada"}}

    def test_a_language_is_sent_once_and_an_unmapped_one_never(self):
        french = Person(ADA, language="fr")
        assert body_of(World([french], one_member(Member(fields=FIELDS))).plan(), "update") == {
            "language": "fr"
        }
        assert World([french], one_member(Member(fields=FIELDS, language="fr"))).plan().empty
        assert World([Person(ADA)], one_member(Member(fields=FIELDS, language="fr"))).plan().empty


CONSENT = consent_on(EARLIER)


class TestUpgrade:
    """Rule 4.4: the one way from transactional to subscribed, and each of its conditions alone forbids it."""

    CONSENTING = Person(ADA, status="subscribed", evidence=consent_on(EARLIER + timedelta(days=3)))

    def world(self, person=CONSENTING, record=OURS, status="transactional", **more) -> World:
        more = {"settings": company(upgrade=True), **more}
        return World([person], one_member(Member(status, FIELDS), record), **more)

    def test_newer_dated_consent_subscribes_a_member_whom_we_made(self):
        plan = self.world().plan()
        assert sent(plan) == [("upgrade", ADA, "subscribed")]
        assert body_of(plan, "upgrade") == {
            "status": "subscribed",
            "timestamp_opt": "2026-01-04T00:00:00+00:00",
        }

    @pytest.mark.parametrize(
        ("change", "because"),
        [
            ({"settings": company()}, "upgrade is off"),
            ({"record": replace(OURS, created_by_us=False)}, "not created by this pipeline"),
            ({"record": replace(OURS, ever_subscribed=True)}, "subscribed before"),
            ({"record": replace(OURS, opted_out=True)}, "opted out"),
            ({"record": replace(OURS, created_at=NOW)}, "older than the member"),
            ({"opted_out_ever": frozenset({ADA})}, "opted out"),
            ({"blacklisted": frozenset({ADA})}, "opted out"),
            ({"more": {"double_optin_list_ids": frozenset({RETAIL})}}, "confirm"),
            (
                {"more": {"lost_evidence": frozenset({(CONSENT["source"], EARLIER + timedelta(days=3))})}},
                "deleted or merged",
            ),
            ({"person": replace(CONSENTING, status="transactional")}, "does not take this consent"),
        ],
    )
    def test_any_doubt_leaves_the_status_alone_and_lists_the_person(self, change, because):
        decided = self.world(**change).decide()
        assert decided.plan.empty
        (row,) = decided.consented_not_subscribed.itertuples()
        assert row.email == ADA
        assert because in row.because
        assert f"{row.consented_at:%Y-%m-%d}" == "2026-01-04"

    @pytest.mark.parametrize("status", ["unsubscribed", "cleaned", "pending", "archived", "subscribed"])
    def test_no_other_status_is_ever_upgraded(self, status):
        decided = self.world(status=status).decide()
        assert decided.plan.empty
        assert decided.consented_not_subscribed.empty

    def test_undated_consent_upgrades_nobody(self):
        person = replace(self.CONSENTING, evidence={**consent_on(EARLIER), "at": None})
        assert self.world(person=person).plan().empty


class TestTags:
    """Rule 6.4: only tags that settings name."""

    def test_tags_are_added_and_removed_without_regard_to_case_and_strange_ones_stay(self):
        people = [
            Person(ADA, audience="wholesale", tags=("B2B", "VIP")),
            Person("bob@example.com", 2, audience="wholesale", tags=("B2B",)),
        ]
        members = {
            (WHOLESALE, ADA): Member(fields=FIELDS, tags=frozenset({"b2b", "Loyal"})),
            (WHOLESALE, "bob@example.com"): Member(fields=FIELDS, tags=frozenset({"B2B", "vip", "Loyal"})),
        }
        plan = World(people, Audiences(members, {})).plan()
        assert sent(plan) == [("untag", "bob@example.com", "VIP"), ("tag", ADA, "VIP")]

    def test_a_desired_tag_that_settings_do_not_name_is_not_set(self):
        assert World([Person(ADA, tags=("Loyal",))], one_member(Member(fields=FIELDS))).plan().empty

    def test_a_member_with_more_tags_than_mailchimp_shows_is_not_tagged_in_every_run(self):
        many = frozenset(f"tag {number}" for number in range(50))
        record = replace(OURS, tags=("VIP",))
        world = World([Person(ADA, tags=("VIP",))], one_member(Member(fields=FIELDS, tags=many), record))
        assert world.plan().empty


class TestStoppedQualifying:
    """Rule 6.1: archived only if transactional, ours and never subscribed; and only if surely seen."""

    def stopped(self, member=RIGHT, record=OURS, reason="no_audience", **more) -> World:
        return World(
            [],
            one_member(member, record),
            partners=[{"partner_id": 1, "email_normalized": ADA}],
            set_aside=[] if reason is None else [(1, ADA, reason)],
            **more,
        )

    @pytest.mark.parametrize(
        "reason",
        [
            "no_audience",
            "no_order",
            "supplier",
            "archived",
            "internal_user",
            "employee",
            "own_company",
            "public_or_template_user",
            "address_type",
        ],
    )
    def test_a_transactional_member_of_ours_is_archived(self, reason):
        plan = self.stopped(reason=reason).plan()
        assert sent(plan) == [("archive", ADA)]
        assert plan.iloc[0]["cause"] == "stopped_qualifying"

    @pytest.mark.parametrize(
        "reason",
        [
            "bounced",
            "invalid_email",
            "missing_email",
            "conflicting_routes",
            "erased",
            "without_evidence",
            None,
        ],
    )
    def test_a_doubt_or_a_fault_in_the_data_removes_nobody(self, reason):
        assert self.stopped(reason=reason).plan().empty

    def test_a_duplicate_follows_its_winner(self):
        world = self.stopped()
        world.set_aside = [(1, ADA, "no_audience"), (2, ADA, "duplicate")]
        assert sent(world.plan()) == [("archive", ADA)]
        world.set_aside = [(1, ADA, "bounced"), (2, ADA, "no_order")]
        assert world.plan().empty

    @pytest.mark.parametrize(
        ("status", "record"),
        [
            ("subscribed", OURS),
            ("unsubscribed", OURS),
            ("cleaned", OURS),
            ("pending", OURS),
            ("transactional", replace(OURS, created_by_us=False)),
            ("transactional", replace(OURS, ever_subscribed=True)),
        ],
    )
    def test_everybody_else_stays_with_status_and_fields_loses_our_tags_and_is_marked(self, status, record):
        tags = frozenset({"VIP", "Loyal"})
        world = self.stopped(Member(status, FIELDS, tags), record)
        plan = world.plan()
        assert sent(plan) == [("untag", ADA, "VIP"), ("tag", ADA, NOT_QUALIFYING_TAG)]
        world.apply(plan)
        assert world.audiences.members[(RETAIL, ADA)].status == status
        assert world.plan().empty

    def test_a_member_whom_we_never_wrote_to_is_left_alone(self):
        """They may have signed up in Mailchimp; that Odoo knows them too is no reason to touch them."""
        assert (
            self.stopped(Member("subscribed", FIELDS, frozenset({"VIP"})), Record(last_status="subscribed"))
            .plan()
            .empty
        )

    @BOTH_PARTIAL
    def test_a_partial_view_removes_nobody(self, completeness):
        for member in (Member(fields=FIELDS), Member("subscribed", FIELDS, frozenset({"VIP"}))):
            plan = self.stopped(member, completeness=completeness).plan()
            assert len(plan)
            assert sent(plan) == []
            assert all("a page failed" in because for because in plan["held_back_because"])

    def test_who_qualifies_again_loses_the_mark(self):
        member = Member("subscribed", FIELDS, frozenset({NOT_QUALIFYING_TAG}))
        plan = World([Person(ADA)], one_member(member)).plan()
        assert sent(plan) == [("untag", ADA, NOT_QUALIFYING_TAG)]
        assert plan.iloc[0]["cause"] == "qualifies_again"

    def test_who_was_archived_by_us_returns_as_transactional_only(self):
        person = Person(ADA, status="subscribed", evidence=consent_on(EARLIER), tags=("VIP",))
        world = World([person], one_member(Member("archived", FIELDS), replace(OURS, archived_by_us=True)))
        plan = world.plan()
        assert sent(plan) == [("create", ADA, "transactional"), ("tag", ADA, "VIP")]
        assert plan.iloc[0]["cause"] == "returning"
        world.apply(plan)
        assert world.plan().empty

    @pytest.mark.parametrize("flag", ["ever_subscribed", "opted_out"])
    def test_who_had_a_marketing_status_since_does_not_return_by_us(self, flag):
        record = replace(OURS, archived_by_us=True, **{flag: True})
        assert World([Person(ADA)], one_member(Member("archived"), record)).plan().empty

    def test_who_took_consent_back_since_stays_archived(self):
        archived = one_member(Member("archived"), replace(OURS, archived_by_us=True))
        decided = World([Person(ADA)], archived, more={"withdrawn": frozenset({(RETAIL, ADA)})}).decide()
        assert decided.plan.empty
        assert decided.not_written["reason"].tolist() == ["archived"]


class TestMovedAudience:
    """Rule 6.2: a new person there, the old member by 6.1."""

    def moved(self, status="transactional", person=ADA_AT_HOME, **more) -> World:
        return World(
            [person], one_member(Member(status, FIELDS, frozenset({"B2B"})), OURS, WHOLESALE), **more
        )

    def test_the_old_member_is_archived_and_a_new_one_created(self):
        plan = self.moved().plan()
        assert sent(plan) == [("archive", ADA), ("create", ADA, "transactional")]
        assert set(plan["cause"]) == {"moved"}

    def test_a_subscriber_of_the_old_audience_stays_there_and_consents_to_nothing_new(self):
        plan = self.moved("subscribed").plan()
        assert sent(plan) == [
            ("create", ADA, "transactional"),
            ("untag", ADA, "B2B"),
            ("tag", ADA, NOT_QUALIFYING_TAG),
        ]

    def test_moving_and_coming_back_ends_where_it_began(self):
        world = self.moved()
        world.apply(world.plan())
        world.people = [Person(ADA, audience="wholesale", tags=("B2B",))]
        plan = world.plan()
        assert {("create", ADA, "transactional"), ("archive", ADA)} <= set(sent(plan))
        world.apply(plan)
        assert world.audiences.members[(WHOLESALE, ADA)].status == "transactional"
        assert world.audiences.members[(RETAIL, ADA)].status == "archived"
        assert world.plan().empty

    def test_consent_that_the_new_audience_names_holds_there(self):
        person = Person(ADA, status="subscribed", evidence=consent_on(EARLIER))
        assert ("create", ADA, "subscribed") in sent(self.moved(person=person).plan())

    @BOTH_PARTIAL
    def test_a_partial_view_moves_nobody(self, completeness):
        assert sent(self.moved(completeness=completeness).plan()) == []


class TestPartialView:
    """Rule 1.2: what was not read completely takes nothing away, and stops nothing else."""

    def test_creates_updates_and_tags_go_on_while_part_of_odoo_is_unseen(self):
        people = [Person(ADA), Person("bob@example.com", 2, tags=("VIP",))]
        world = World(people, one_member(Member(fields={}), None), completeness=PARTIAL_ODOO)
        assert sent(world.plan()) == [
            ("create", "bob@example.com", "transactional"),
            ("update", ADA),
            ("tag", "bob@example.com", "VIP"),
        ]

    def test_updates_and_tags_of_those_seen_go_on_while_part_of_the_audience_is_unseen(self):
        people = [Person(ADA, tags=("VIP",)), Person("bob@example.com", 2)]
        world = World(people, one_member(Member(fields={}), None), completeness=PARTIAL_MAILCHIMP)
        assert sent(world.plan()) == [("update", ADA), ("tag", ADA, "VIP")]

    @BOTH_PARTIAL
    def test_no_tag_is_removed(self, completeness):
        world = World(
            [Person(ADA)],
            one_member(Member(fields=FIELDS, tags=frozenset({"VIP"}))),
            completeness=completeness,
        )
        plan = world.plan()
        assert brief(plan) == [("untag", ADA, "VIP")]
        assert sent(plan) == []

    @pytest.mark.parametrize(
        "person",
        [Person(ADA), Person(ADA, status="subscribed", evidence=consent_on(EARLIER))],
        ids=["transactional", "subscribed"],
    )
    def test_nobody_is_created_while_part_of_the_audience_is_unseen(self, person):
        """Somebody archived could be in the part that was not read: a creation would revive them."""
        plan = World([person], completeness=PARTIAL_MAILCHIMP).plan()
        assert brief(plan) == [("create", ADA, person.status)]
        assert sent(plan) == []


UNREAD = AudienceInDoubt("wholesale")
GONE = AudienceInDoubt("wholesale", gone=True)
PARTLY = AudienceInDoubt("wholesale", seen=True, because="a page failed")
UNKNOWN = "the audience wholesale could not be read; who opted out there is not known"
CONSENTING = Person(ADA, status="subscribed", evidence=consent_on(EARLIER))
THERE = replace(OURS, last_status="transactional")


def doubtful(audience: AudienceInDoubt, list_id: str = WHOLESALE) -> Completeness:
    return Completeness(audiences={list_id: audience})


class TestUnreadAudience:
    """Rule 1.2: an audience that was not read holds back what depends on it, anywhere; nothing else."""

    @pytest.mark.parametrize(
        ("audience", "person", "goes"),
        [
            (UNREAD, Person(ADA), True),
            (UNREAD, CONSENTING, False),
            (UNREAD, replace(CONSENTING, status="pending"), False),
            (PARTLY, Person(ADA), True),
            (PARTLY, CONSENTING, False),
            (GONE, Person(ADA), True),
            (GONE, CONSENTING, True),
            (UNREAD, Person(ADA, audience="wholesale"), False),
            (PARTLY, Person(ADA, audience="wholesale"), False),
            (GONE, Person(ADA, audience="wholesale"), False),
        ],
    )
    def test_who_is_created(self, audience, person, goes):
        plan = World([person], completeness=doubtful(audience)).plan()
        assert brief(plan) == [("create", ADA, person.status)]
        assert bool(sent(plan)) is goes
        assert goes or "wholesale" in plan.iloc[0]["held_back_because"]

    def test_a_subscription_is_held_with_the_audience_as_the_reason(self):
        plan = World([CONSENTING], completeness=doubtful(UNREAD)).plan()
        assert plan["held_back_because"].tolist() == [UNKNOWN]

    def test_somebody_who_was_a_member_of_an_unread_audience_is_left_alone(self):
        """Nothing was read, so nothing is missing: neither created nor listed as removed by somebody."""
        ours = Audiences({}, {(WHOLESALE, ADA): THERE})
        decided = World([Person(ADA, audience="wholesale")], ours, completeness=doubtful(UNREAD)).decide()
        assert decided.plan.empty
        assert decided.not_written.empty

    @pytest.mark.parametrize(("audience", "goes"), [(UNREAD, False), (GONE, True)])
    def test_nobody_leaves_an_unread_audience_for_another_one(self, audience, goes):
        ours = Audiences({}, {(WHOLESALE, ADA): THERE})
        plan = World([Person(ADA)], ours, completeness=doubtful(audience)).plan()
        assert brief(plan) == [("create", ADA, "transactional")]
        assert bool(sent(plan)) is goes

    @pytest.mark.parametrize("audience", [UNREAD, GONE, PARTLY])
    def test_nobody_leaves_for_an_unread_audience(self, audience):
        world = World(
            [Person(ADA, audience="wholesale")], one_member(RIGHT, THERE), completeness=doubtful(audience)
        )
        plan = world.plan()
        assert sorted(brief(plan)) == [("archive", ADA), ("create", ADA, "transactional")]
        assert sent(plan) == []

    def test_who_waits_for_their_subscription_elsewhere_stays_where_they_were(self):
        unread = Completeness(audiences={"cccc333333": AudienceInDoubt("third")})
        person = replace(CONSENTING, audience="wholesale")
        plan = World([person], one_member(RIGHT, THERE), completeness=unread).plan()
        assert sorted(brief(plan)) == [("archive", ADA), ("create", ADA, "subscribed")]
        assert sent(plan) == []

    def test_who_stopped_qualifying_in_an_audience_that_was_read_is_archived(self):
        world = World(
            [], one_member(RIGHT, THERE), set_aside=[(1, ADA, "no_order")], completeness=doubtful(UNREAD)
        )
        assert sent(world.plan()) == [("archive", ADA)]

    def test_fields_and_tags_of_members_of_other_audiences_are_as_ever(self):
        member = Member(fields={}, tags=frozenset({NOT_QUALIFYING_TAG}))
        world = World([Person(ADA, tags=("VIP",))], one_member(member), completeness=doubtful(UNREAD))
        assert sent(world.plan()) == [
            ("update", ADA),
            ("untag", ADA, NOT_QUALIFYING_TAG),
            ("tag", ADA, "VIP"),
        ]

    def test_tags_are_taken_from_nobody_in_an_audience_that_was_read_in_part(self):
        member = Member(fields=FIELDS, tags=frozenset({"VIP"}))
        plan = World([Person(ADA)], one_member(member), completeness=doubtful(PARTLY, RETAIL)).plan()
        assert brief(plan) == [("untag", ADA, "VIP")]
        assert sent(plan) == []

    @pytest.mark.parametrize(("status", "goes"), [("transactional", True), ("subscribed", False)])
    def test_a_subscribed_member_is_not_renamed_to_an_address_that_may_have_opted_out(self, status, goes):
        world = World([ADA_AT_NEW], one_member(Member(status, FIELDS), THERE), completeness=doubtful(UNREAD))
        plan = world.plan()
        assert brief(plan) == [("change_email", ADA, NEW)]
        assert bool(sent(plan)) is goes

    def test_nobody_is_upgraded_while_an_audience_is_unread(self):
        person = replace(CONSENTING, evidence=consent_on(NOW))
        world = World(
            [person], one_member(RIGHT, THERE), settings=company(upgrade=True), completeness=doubtful(UNREAD)
        )
        plan = world.plan()
        assert brief(plan) == [("upgrade", ADA, "subscribed")]
        assert plan["held_back_because"].tolist() == [UNKNOWN]

    @pytest.mark.parametrize("audience", [UNREAD, GONE])
    def test_somebody_who_was_archived_by_hand_in_an_unread_audience_is_subscribed_nowhere(self, audience):
        ours = Audiences({}, {(WHOLESALE, ADA): Record(last_status="archived")})
        plan = World([CONSENTING], ours, completeness=doubtful(audience)).plan()
        assert brief(plan) == [("create", ADA, "transactional")]

    def test_who_cannot_enter_an_audience_stays_where_they_were_until_the_push_can_do_both(self):
        plan = World([Person(ADA, audience="wholesale")], one_member(RIGHT, THERE)).plan()
        assert waiting_for_creations(plan, {}) == ["", ""]
        assert waiting_for_creations(plan, {"wholesale": "no room"}) == ["no room", "no room"]
        gone = World([], one_member(RIGHT, THERE), set_aside=[(1, ADA, "no_order")]).plan()
        assert waiting_for_creations(gone, {"wholesale": "no room"}) == [""]


class TestEmailChanged:
    """Rule 6.3: renamed when it surely is the same person; otherwise a new person with nothing inherited
    but an opt-out."""

    def changed(self, member=RIGHT, record=OURS, person=ADA_AT_NEW, **more) -> World:
        return World([person], one_member(member, record), **more)

    @pytest.mark.parametrize("status", ["transactional", "subscribed"])
    def test_the_member_is_renamed_and_keeps_status_and_history(self, status):
        world = self.changed(Member(status, FIELDS), person=Person(NEW, fields={"FNAME": "Ada", "ORDERS": 2}))
        plan = world.plan()
        assert sent(plan) == [("change_email", ADA, NEW)]
        assert body_of(plan, "change_email") == {"email_address": NEW, "merge_fields": {"ORDERS": 2}}
        world.apply(plan)
        assert world.audiences.members[(RETAIL, NEW)].status == status
        assert world.plan().empty

    def test_tags_follow_the_renamed_member(self):
        world = self.changed(Member(fields=FIELDS, tags=frozenset({"VIP"})), person=Person(NEW))
        assert sent(world.plan()) == [("change_email", ADA, NEW), ("untag", NEW, "VIP")]

    @pytest.mark.parametrize(
        "change",
        [
            {"person": Person(NEW, name="Eve")},
            {"record": replace(OURS, name_sent=None)},
            {"person": Person(NEW, partner_id=2, also=(1,))},
            {"partners": [{"partner_id": 9, "email_normalized": ADA}]},
        ],
        ids=["another name", "name not known", "another partner speaks", "the old address is somebody's"],
    )
    def test_a_doubt_about_who_it_is_makes_a_new_person(self, change):
        plan = self.changed(**change).plan()
        assert ("create", NEW, "transactional") in sent(plan)
        assert "change_email" not in set(plan["operation"])

    def test_the_old_member_of_a_new_person_is_archived(self):
        plan = self.changed(person=Person(NEW, name="Eve")).plan()
        assert sent(plan) == [("archive", ADA), ("create", NEW, "transactional")]

    def test_old_evidence_of_the_partner_does_not_count_for_a_new_address(self):
        ticked = consent_on(EARLIER, kind="boolean_field")
        person = Person(NEW, name="Eve", status="subscribed", evidence=ticked)
        assert ("create", NEW, "transactional") in sent(self.changed(person=person).plan())

    @pytest.mark.parametrize("how", ["unsubscribed member", "opted out elsewhere", "blacklisted", "recorded"])
    def test_an_opt_out_follows_the_person_to_the_new_address(self, how):
        world = self.changed(person=Person(NEW, status="subscribed", evidence=consent_on(EARLIER)))
        if how == "unsubscribed member":
            world.audiences.members[(RETAIL, ADA)] = Member("unsubscribed", FIELDS)
        elif how == "opted out elsewhere":
            world.opted_out_ever = frozenset({ADA})
        elif how == "blacklisted":
            world.blacklisted = frozenset({ADA})
        else:
            world.audiences.records[(RETAIL, ADA)] = replace(OURS, opted_out=True)
        plan = world.plan()
        assert ("create", NEW, "unsubscribed") in sent(plan)
        assert "change_email" not in set(plan["operation"])

    def test_who_took_consent_back_in_an_audience_enters_it_unsubscribed_under_a_new_address(self):
        person = Person(NEW, name="Eve", status="subscribed", evidence=consent_on(EARLIER))
        plan = self.changed(person=person, more={"withdrawn": frozenset({(RETAIL, NEW)})}).plan()
        assert ("create", NEW, "unsubscribed") in sent(plan)
        elsewhere = self.changed(person=person, more={"withdrawn": frozenset({(WHOLESALE, NEW)})}).plan()
        assert ("create", NEW, "subscribed") in sent(elsewhere)

    @pytest.mark.parametrize(
        "change",
        [
            {"opted_out_ever": frozenset({NEW})},
            {"blacklisted": frozenset({NEW})},
        ],
    )
    def test_nobody_is_renamed_to_an_address_that_opted_out(self, change):
        assert "change_email" not in set(self.changed(**change).plan()["operation"])

    @pytest.mark.parametrize("list_id", [RETAIL, WHOLESALE])
    def test_nobody_is_renamed_to_an_address_that_somebody_archived(self, list_id):
        world = self.changed()
        world.audiences.members[(list_id, NEW)] = Member("archived")
        assert "change_email" not in set(world.plan()["operation"])

    def test_nobody_is_renamed_to_an_address_that_vanished(self):
        world = self.changed()
        world.audiences.records[(RETAIL, NEW)] = Record(vanished=True)
        assert "change_email" not in set(world.plan()["operation"])

    @pytest.mark.parametrize("status", ["unsubscribed", "cleaned", "pending", "archived"])
    def test_an_old_member_of_another_status_is_not_renamed(self, status):
        assert "change_email" not in set(self.changed(Member(status, FIELDS)).plan()["operation"])

    def test_a_member_at_the_new_address_keeps_their_status_and_gets_our_fields(self):
        world = self.changed()
        world.audiences.members[(RETAIL, NEW)] = Member("subscribed", {"FNAME": "?"})
        plan = world.plan()
        assert sent(plan) == [("archive", ADA), ("update", NEW)]
        world.apply(plan)
        assert world.audiences.members[(RETAIL, NEW)].status == "subscribed"

    def test_an_address_that_was_blanked_or_mistyped_changes_nothing(self):
        for reason in ("missing_email", "invalid_email"):
            world = self.changed()
            world.people = []
            world.partners = [{"partner_id": 1}]
            world.set_aside = [(1, None, reason)]
            assert world.plan().empty

    def test_a_new_address_that_meets_no_rule_lets_the_old_member_go(self):
        world = self.changed()
        world.people = []
        world.partners = [{"partner_id": 1, "email_normalized": NEW}]
        world.set_aside = [(1, NEW, "no_audience")]
        assert sent(world.plan()) == [("archive", ADA)]

    @BOTH_PARTIAL
    def test_a_partial_view_renames_nobody_and_creates_no_second_person(self, completeness):
        plan = self.changed(completeness=completeness).plan()
        assert brief(plan) == [("change_email", ADA, NEW)]
        assert sent(plan) == []

    def two(self, first: str, second: str) -> World:
        """Partners 1 and 2, members a@ and b@; now they have these addresses."""
        members = {
            (RETAIL, f"{name}@example.com"): Member(fields={"FNAME": name, "ORDERS": "1"}) for name in "ab"
        }
        records = {
            (RETAIL, "a@example.com"): replace(OURS, name_sent="a"),
            (RETAIL, "b@example.com"): replace(OURS, partner_id=2, name_sent="b"),
        }
        people = [
            Person(first, 1, name="a", fields={"FNAME": "a", "ORDERS": 1}),
            Person(second, 2, name="b", fields={"FNAME": "b", "ORDERS": 1}),
        ]
        return World(people, Audiences(members, records))

    def test_a_chain_frees_each_address_before_it_is_taken(self):
        world = self.two("b@example.com", "c@example.com")
        plan = world.plan()
        assert sent(plan) == [
            ("change_email", "b@example.com", "c@example.com"),
            ("change_email", "a@example.com", "b@example.com"),
        ]
        world.apply(plan)
        assert world.plan().empty

    def test_a_chain_with_one_doubtful_link_renames_nobody(self):
        world = self.two("b@example.com", "c@example.com")
        world.people[1] = replace(world.people[1], name="Eve")
        plan = world.plan()
        assert sent(plan) == [
            ("archive", "a@example.com"),
            ("create", "c@example.com", "transactional"),
            ("update", "b@example.com"),
        ]
        world.apply(plan)
        assert world.plan().empty

    def test_a_swap_leaves_each_address_its_status_and_gives_it_the_fields_of_its_person(self):
        world = self.two("b@example.com", "a@example.com")
        world.audiences.members[(RETAIL, "a@example.com")] = Member(
            "subscribed", {"FNAME": "a", "ORDERS": "1"}
        )
        plan = world.plan()
        assert sent(plan) == [("update", "a@example.com"), ("update", "b@example.com")]
        world.apply(plan)
        assert world.audiences.members[(RETAIL, "a@example.com")].status == "subscribed"
        assert world.audiences.members[(RETAIL, "a@example.com")].fields["FNAME"] == "b"
        assert world.plan().empty

    def test_two_old_members_of_one_person_never_take_the_same_address(self):
        world = self.changed()
        world.audiences.members[(RETAIL, "older@example.com")] = Member(fields=FIELDS)
        world.audiences.records[(RETAIL, "older@example.com")] = replace(
            OURS, created_at=EARLIER - timedelta(days=9)
        )
        plan = world.plan()
        assert sent(plan) == [("change_email", ADA, NEW), ("archive", "older@example.com")]


class TestPlanRows:
    """Rule 7.1: a plan is known by its content."""

    def test_the_id_depends_on_the_rows_and_the_company_and_on_nothing_else(self):
        world = World([Person(ADA), Person("bob@example.com", 2)])
        turned = World(world.people[::-1])
        other = World(world.people, settings=company(key="other"))
        changed = World([Person(ADA), Person("bob@example.com", 2, fields={"FNAME": "Bob"})])
        ids = [each.plan()["plan_id"].iloc[0] for each in (world, turned, other, changed)]
        assert ids[0] == ids[1]
        assert len(set(ids)) == 3
        assert len(ids[0]) == 12

    def test_an_approval_of_creating_somebody_does_not_cover_another_status(self):
        keys = {
            World([Person(ADA, status=status)]).plan()["row_key"].iloc[0]
            for status in ("transactional", "subscribed", "pending")
        }
        assert len(keys) == 3

    def test_an_approval_outlives_a_change_of_field_values(self):
        one, two = (
            World([Person(ADA, fields={"FNAME": name})]).plan()["row_key"].iloc[0] for name in ("A", "B")
        )
        assert one == two

    def test_lists_of_other_companies_are_never_mentioned(self):
        world = World([Person(ADA)], one_member(Member(fields=FIELDS), OURS, "cccc333333", "eve@example.com"))
        world.partners = [{"partner_id": 1, "email_normalized": ADA}]
        world.set_aside = [(1, "eve@example.com", "no_audience")]
        assert set(world.plan()["list_id"]) == {RETAIL}
