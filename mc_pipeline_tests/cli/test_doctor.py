"""The doctor names what is broken and its fix, whatever else is broken, and writes nothing."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from mc_pipeline.doctor import people_checks
from mc_pipeline.doctor.systems import CheckupSystems
from mc_pipeline.domain.erasure import Pseudonyms
from mc_pipeline.mailchimp.merge_fields import list_merge_fields
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.mailchimp import stores
from mc_pipeline.sandbox.mailchimp.state import MergeField
from mc_pipeline.sandbox.seed.scale import seed_many
from mc_pipeline.settings import load_settings
from mc_pipeline.sync.erased_people import ERASURE_KEY_VARIABLE
from mc_pipeline_tests.cli.conftest import configure, found, mc_pipeline, serve_world, writes
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
ALL_GROUPS = ("sales_all", "accounting", "email_marketing", "hr")

Break = Callable[[World, pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with a customer, tags, lists, audiences of several kinds, and users that lack rights."""
    with serve_world(tmp_path_factory.mktemp("clinic")) as world:
        odoo, mailchimp = world.odoo, world.mailchimp
        shop = odoo.add_tag("Shop")
        odoo.add_tag("Shop", parent=odoo.add_tag("Paris"))
        partner = odoo.add_partner(name="Ada Lovelace", email="ada@example.com", tags=[shop])
        firm = odoo.add_partner(name="Analytical Engines", email="office@example.net", is_company=True)
        odoo.add_order(firm, 900.0, date_order=ORDERED)
        invoice = odoo.invoice_order(odoo.add_order(partner, 100.0, date_order=ORDERED))
        assert invoice
        odoo.subscribe(odoo.add_mailing_list("News"), "ada@example.com")
        odoo.add_mailing_list("Twice")
        odoo.add_mailing_list("twice")
        users = {
            "complete": (ALL_GROUPS, None),
            "nosales": (("accounting", "email_marketing", "hr"), "sale.order"),
            "ownsales": (("sales_own", "accounting", "email_marketing", "hr"), None),
            "nolines": (ALL_GROUPS, "account.move.line"),
            "noblacklist": (ALL_GROUPS, "mail.blacklist"),
            "readsblacklist": (ALL_GROUPS, ("mail.blacklist", "write")),
            "nopartners": (ALL_GROUPS, ("res.partner", "write")),
            "noemployees": (ALL_GROUPS, "res.users"),
            "nocontacts": (ALL_GROUPS, "res.partner"),
        }
        for login, (groups, denied) in users.items():
            uid = odoo.add_user(login, "admin", groups=groups)
            if denied:
                odoo.deny(uid, *((denied,) if isinstance(denied, str) else denied))
        odoo.hide("res.partner", [partner], uid=odoo.add_user("blinkered", "admin", groups=ALL_GROUPS))
        mailchimp.add_audience("double1", "Double", double_optin=True)
        full = mailchimp.add_audience("full1", "Full")
        for number in range(100, 125):
            full.merge_fields[f"X{number}"] = MergeField(number, f"X{number}", f"Field {number}", "text")
        demanding = mailchimp.add_audience("strict1", "Strict")
        demanding.merge_fields["LOYALTY"] = MergeField(99, "LOYALTY", "Loyalty", "text", required=True)
        american = mailchimp.add_audience("american1", "American")
        american.merge_fields["PHONE"].options["phone_format"] = "US"
        mailchimp.add_audience("greeted1", "Greeted", welcome_automation=True)
        mailchimp.add_audience("shops1", "Shops")
        mailchimp.add_audience("dollars1", "Dollars")
        for store_id, list_id, currency in (
            ("elsewhere", "shops1", "EUR"),
            ("dollars", "dollars1", "USD"),
        ):
            stores.add_store(
                mailchimp.state,
                "main",
                {"id": store_id, "list_id": list_id, "name": "Old shop", "currency_code": currency},
            )
        odoo.subscribe(odoo.add_mailing_list("Undated"), "ada@example.com", dated=False)
        yield world


@pytest.fixture(autouse=True)
def healthy(clinic: World) -> Iterator[None]:
    """Every test starts from right settings, and leaves no fault behind."""
    configure(clinic, user="complete")
    yield
    clinic.mailchimp.faults.clear()
    clinic.odoo.faults.clear()


def one_audience(list_id: str = "retail1", **settings: str) -> str:
    lines = [f"        {key}: {value}\n" for key, value in settings.items()]
    return f"    audiences:\n      retail:\n        list_id: {list_id}\n" + "".join(lines)


def store(store_id: str, currency: str = "EUR") -> str:
    return f"{{id: {store_id}, name: Shop, currency: {currency}}}"


def test_a_healthy_set_up_has_no_problem_and_nothing_is_written(clinic: World):
    clinic.odoo.journal.clear()
    clinic.mailchimp.journal.clear()
    finished = mc_pipeline("doctor")
    assert finished.exit_code == 0, finished.output
    assert "0 problems, 0 warnings" in finished.in_one_line
    for expected in (
        "Odoo 19.0",
        "key accepted",
        "2 confirmed orders",
        "1 posted invoices and credit notes",
        "Retail: 0 contacts",
        "the first push creates SPENT",
        "room for",
        "wholesale: 1 people, if they are new: 1 transactional",
        "left out: ",
        "over JSON-RPC",
        "none in use: odoo.secret is a password",
    ):
        assert expected in finished.in_one_line
    assert writes(clinic) == []
    assert clinic.mailchimp.journal.requests


def wrong_secret(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("ODOO_SECRET", "of-another-user")


def wrong_key(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MAILCHIMP_API_KEY", "fedcba9876543210fedcba9876543210-us1")


def blocked(world: World, patch: pytest.MonkeyPatch) -> None:
    world.mailchimp.faults.add(Fault("html_403", times=None))


def no_ledger(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MC_PIPELINE_DATABASE_URL", "postgresql://nobody:hidden-password@127.0.0.1:1/ledger")


def settings(**values) -> Break:
    return lambda world, patch: configure(world, **{"user": "complete", **values})


PROBLEMS: dict[str, tuple[Break, str, str, str, str]] = {
    "wrong secret": (wrong_secret, "Odoo", "connection", "login refused", "odoo.secret"),
    "wrong database": (settings(database="other"), "Odoo", "connection", "no such database", "odoo.database"),
    "Odoo is not there": (
        settings(url="http://127.0.0.1:9"), "Odoo", "connection", "cannot be reached", "odoo.url",
    ),
    "Odoo's address is a page": (
        lambda world, patch: configure(world, url=f"{world.odoo.url}/web"),
        "Odoo", "connection", "no usable answer", "odoo.url",
    ),
    "company of another user": (
        settings(company=7), "acme", "company", "right missing", "odoo_company_id",
    ),
    "no right on orders": (
        settings(user="nosales"), "acme", "orders", "right missing", "Sales / User: All Documents",
    ),
    "own orders only": (
        settings(user="ownsales"), "acme", "orders", "not all can be read", "Sales / User: All Documents",
    ),
    "no right on invoice lines": (
        settings(user="nolines"), "acme", "invoices", "right missing", "Invoicing / Auditor",
    ),
    "no right on the blacklist": (
        settings(user="noblacklist"), "acme", "blacklist", "right missing", "Email Marketing / User",
    ),
    "no right on contacts": (
        settings(user="nocontacts"), "acme", "contacts", "right missing", "an internal user's rights",
    ),
    "no right to write the blacklist": (
        settings(user="readsblacklist"), "acme", "opt-outs to Odoo", "may not write mail.blacklist",
        "Email Marketing / User",
    ),
    "no right to write partners, which hold consent": (
        settings(
            user="nopartners",
            audiences="    opt_out_scope: company\n" + one_audience(consent="{boolean_field: employee}"),
        ),
        "acme", "opt-outs to Odoo", "may not write res.partner", "Contact Creation",
    ),
    "hidden customers": (
        settings(user="blinkered"), "acme", "visible customers", "1 of 2 customers", "record rules",
    ),
    "unknown mailing list": (
        settings(audiences=one_audience(consent="{mailing_list: Nwes}")),
        "acme", "consent", "no mailing list 'Nwes'",
        "companies.acme.audiences.retail.consent.mailing_list; Odoo has News (1)",
    ),
    "mailing list that two have": (
        settings(audiences=one_audience(consent="{mailing_list: Twice}")),
        "acme", "consent", "fits several",
        "by its id in companies.acme.audiences.retail.consent.mailing_list",
    ),
    "unknown consent field": (
        settings(audiences=one_audience(consent="{boolean_field: x_newsletter}")),
        "acme", "consent", "field x_newsletter", "companies.acme.audiences.retail.consent.boolean_field",
    ),
    "unknown tag": (
        settings(audiences=one_audience(when="{any_tag: [Resellers]}")),
        "acme", "tags and industries", "tag 'Resellers'", "companies.acme.audiences.retail.when.any_tag",
    ),
    "tag that two have": (
        settings(audiences=one_audience(when="{no_tag: [Shop]}")),
        "acme", "tags and industries", "tag 'Shop'", "name one by its id",
    ),
    "unknown industry": (
        settings(audiences=one_audience(when="{industries: [Alchemy]}")),
        "acme", "tags and industries", "no industry 'Alchemy'",
        "companies.acme.audiences.retail.when.industries",
    ),
    "wrong key": (
        wrong_key, "Mailchimp main", "API key", "API key refused", "mailchimp.main.api_key",
    ),
    "blocked by the network": (
        blocked, "Mailchimp main", "API key", "this machine is blocked", "the API key is not the cause",
    ),
    "unknown audience": (
        settings(audiences=one_audience("nowhere1")),
        "acme / retail", "audience", "no audience nowhere1",
        "companies.acme.audiences.retail.list_id: the account has wholesale1 (Wholesale), retail1 (Retail)",
    ),
    "merge field of another type": (
        settings(audiences=one_audience(merge_fields="{FNAME: order_count}")),
        "acme / retail", "merge fields", "merge field FNAME", "the audience has it as text",
    ),
    "no room for merge fields": (
        settings(audiences=one_audience("full1", merge_fields="{SPENT: total_spent}")),
        "acme / retail", "merge fields", "merge field SPENT", "delete unused fields in Mailchimp",
    ),
    "store in another currency than the company": (
        settings(audiences=one_audience(store=store("shop", "GBP"))),
        "acme", "currency", "currency is EUR, the store of retail is in GBP",
        "Write EUR in companies.acme.audiences.retail.store.currency",
    ),
    "store of another audience": (
        settings(audiences=one_audience(store=store("elsewhere"))),
        "acme / retail", "store", "belongs to audience shops1",
        "Choose another id in companies.acme.audiences.retail.store.id",
    ),
    "store that was begun in another currency": (
        settings(audiences=one_audience("dollars1", store=store("dollars"))),
        "acme / retail", "store", "store dollars is in USD",
        "Choose another id in companies.acme.audiences.retail.store.id",
    ),
    "no ledger": (no_ledger, "this machine", "ledger", "cannot be used", "MC_PIPELINE_DATABASE_URL"),
}  # fmt: skip


@pytest.mark.parametrize("broken", PROBLEMS)
def test_a_broken_set_up_is_named_with_its_fix_and_nothing_else_is(
    clinic: World, monkeypatch: pytest.MonkeyPatch, broken: str
):
    breaking, where, check, said, fix = PROBLEMS[broken]
    breaking(clinic, monkeypatch)
    clinic.odoo.journal.clear()
    clinic.mailchimp.journal.clear()
    problems = [finding for finding in found() if finding["status"] in ("problem", "warning")]
    assert [(each["where"], each["check"]) for each in problems] == [(where, check)], problems
    assert said in problems[0]["found"]
    assert fix in problems[0]["fix"]
    assert writes(clinic) == []


def test_a_field_that_was_renamed_since_it_was_used_is_named_with_its_new_tag(clinic: World):
    configure(clinic, audiences=one_audience(merge_fields="{FNAME: name, NORD: order_count}"))
    with closing(CheckupSystems(load_settings())) as systems:
        used = list_merge_fields(systems.mailchimp(systems.company("acme")), "retail1")
        systems.ledger.field_definitions.observe("retail1", used, wanted=["FNAME"], used=["FNAME"])
    clinic.mailchimp.change_merge_field("retail1", "FNAME", tag="FIRST")
    (finding,) = [each for each in found() if each["check"] == "merge fields" and each["status"] == "problem"]
    assert finding["found"] == "merge field FNAME"
    assert "was renamed FIRST in Mailchimp" in finding["fix"]
    assert "write FIRST in the place of FNAME" in finding["fix"]
    clinic.mailchimp.change_merge_field("retail1", "FIRST", tag="FNAME")
    assert {each["status"] for each in found() if each["check"] == "merge fields"} == {"ok"}


def test_a_wrong_mailchimp_key_does_not_hide_what_is_found_in_odoo(
    clinic: World, monkeypatch: pytest.MonkeyPatch
):
    wrong_key(clinic, monkeypatch)
    configure(clinic, user="nosales")
    status = {(each["where"], each["check"]): each["status"] for each in found()}
    assert status["Mailchimp main", "API key"] == "problem"
    assert status["acme", "contacts"] == "ok"
    assert status["acme", "orders"] == "problem"
    assert status["acme / retail", "audience"] == "not checked"


def test_an_odoo_out_of_reach_or_a_ledger_out_of_reach_does_not_hide_what_is_found_in_mailchimp(
    clinic: World, monkeypatch: pytest.MonkeyPatch
):
    no_ledger(clinic, monkeypatch)
    configure(clinic, url="http://127.0.0.1:9")
    findings = found()
    status = {(each["where"], each["check"]): each["status"] for each in findings}
    assert status["acme", "company"] == "not checked"
    assert status["acme / retail", "merge fields"] == "ok"
    assert "hidden-password" not in str(findings)


def test_problems_end_with_exit_code_1_and_stand_in_the_table_with_their_fix(clinic: World):
    configure(clinic, user="complete", audiences=one_audience("nowhere1"))
    finished = mc_pipeline("doctor", "acme")
    assert finished.exit_code == 1
    assert (
        "✗ audience no audience nowhere1 → Correct companies.acme.audiences.retail.list_id"
        in finished.in_one_line
    )
    assert "1 problems" in finished.in_one_line


@pytest.mark.parametrize(
    ("audiences", "check", "said", "fix"),
    [
        (
            one_audience("double1", consent="{mailing_list: News}"),
            "double opt-in",
            "even new people with evidence of consent are created as transactional",
            "send_confirmation: true",
        ),
        (
            one_audience("retail1", consent="{mailing_list: News, send_confirmation: true}"),
            "double opt-in",
            "off, and send_confirmation is set",
            "switch double opt-in on",
        ),
        (
            one_audience("american1", merge_fields="{PHONE: phone}"),
            "merge fields",
            "phone numbers of the United States only: PHONE",
            "set the phone format to International",
        ),
        (
            one_audience("strict1"),
            "merge fields",
            "required and not filled: LOYALTY",
            "optional in Mailchimp",
        ),
        (
            one_audience("retail1", consent="{mailing_list: Undated}"),
            "consent",
            "retail: mailing list Undated (id 4): 0 dated, 1 undated",
            "companies.acme.audiences.retail.consent.accept_undated: true",
        ),
        (
            one_audience("greeted1", consent="{mailing_list: News}"),
            "welcome automations",
            "welcome automation connected",
            "pause it in Mailchimp during the first load",
        ),
        (
            one_audience("shops1", store=store("new")),
            "store",
            "other stores of the audience: elsewhere (Old shop)",
            "disconnect them there",
        ),
        (
            one_audience("retail1", when="{countries: [JP]}"),
            "people",
            "retail: nobody",
            "Correct companies.acme.audiences.retail.when",
        ),
    ],
)
def test_what_is_other_than_wanted_is_a_warning_and_no_problem(
    clinic: World, audiences: str, check: str, said: str, fix: str
):
    configure(clinic, user="complete", audiences=audiences)
    findings = found()
    warnings = [each for each in findings if each["status"] == "warning"]
    assert [each["check"] for each in warnings] == [check]
    assert said in warnings[0]["found"]
    assert fix in warnings[0]["fix"]
    assert mc_pipeline("doctor").exit_code == 0


@pytest.mark.parametrize(("days", "status"), [(9, "warning"), (80, "ok")])
def test_an_api_key_is_reported_with_the_days_that_are_left(
    clinic: World, monkeypatch: pytest.MonkeyPatch, days: int, status: str
):
    uid = clinic.odoo.add_user(f"bot{days}", "admin", groups=ALL_GROUPS)
    ends = datetime.now(UTC) + timedelta(days=days, hours=1)
    monkeypatch.setenv("ODOO_SECRET", clinic.odoo.add_api_key(uid, name="sync", expires=ends))
    configure(clinic, user=f"bot{days}")
    (finding,) = [each for each in found() if each["check"] == "API key" and each["where"] == "Odoo"]
    assert finding["status"] == status
    assert finding["found"] == f"sync ends on {ends:%Y-%m-%d}, in {days} days"
    assert ("odoo.secret" in finding["fix"]) == (status == "warning")


def test_evidence_of_consent_is_counted_by_what_it_is_worth(clinic: World):
    odoo = clinic.odoo
    mixed = odoo.add_mailing_list("Mixed")
    for number in range(3):
        odoo.subscribe(mixed, f"dated{number}@example.org")
    odoo.subscribe(mixed, "undated@example.org", dated=False)
    odoo.subscribe(mixed, "out1@example.org", opt_out=True)
    odoo.subscribe(mixed, "out2@example.org", opt_out=True)
    configure(clinic, user="complete", audiences=one_audience(consent="{mailing_list: Mixed}"))
    (finding,) = [each for each in found() if each["check"] == "consent"]
    assert finding["status"] == "ok"
    assert finding["found"].endswith("3 dated, 1 undated, 2 opted out")


def test_people_are_counted_by_audience_and_others_by_reason_as_a_sync_decides(tmp_path):
    with serve_world(tmp_path) as world:
        news = world.odoo.add_mailing_list("News")
        for number in range(4):
            ordered = world.odoo.add_partner(name=f"Buyer {number}", email=f"buyer{number}@example.com")
            world.odoo.add_order(ordered, 10.0, date_order=ORDERED)
        world.odoo.add_order(world.odoo.add_partner(name="No address"), 10.0, date_order=ORDERED)
        world.odoo.add_partner(name="Nobody yet", email="lead@example.com")
        world.odoo.subscribe(news, "buyer0@example.com")
        configure(world, audiences=one_audience(consent="{mailing_list: News}"))
        people = [each["found"] for each in found() if each["check"] == "people"]
        world.run(push=False)  # a plan that waits for its approval
        statuses = sorted(world.table("contacts").rows["status_for_new"])
        reasons = world.table("set_aside").rows["reason"]
        assert people[0] == "retail: 4 people, if they are new: 3 transactional, 1 subscribed"
        assert "1 missing email" in people[1]
        assert "1 no order" in people[1]
        assert statuses == ["subscribed", "transactional", "transactional", "transactional"]
        assert people[1].startswith(f"left out: {len(reasons)} partners")


def test_somebody_who_was_erased_is_not_counted_and_a_missing_erasure_key_is_a_problem_of_its_own(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    pseudonyms = Pseudonyms("a key that stays the same for ever and ever")
    with serve_world(tmp_path) as world:
        for name in ("gone", "stays"):
            partner = world.odoo.add_partner(name=name, email=f"{name}@example.com")
            world.odoo.add_order(partner, 10.0, date_order=ORDERED)
        configure(world, audiences=one_audience())
        with world.systems() as systems:
            systems.ledger.erasures.request(
                pseudonyms.of("gone@example.com"), pseudonyms.key_id, [], reason="asked", by="tester"
            )
        monkeypatch.delenv(ERASURE_KEY_VARIABLE, raising=False)
        (finding,) = [each for each in found() if each["status"] == "problem"]
        assert (finding["check"], finding["found"]) == ("erased people", "not usable")
        assert f"{ERASURE_KEY_VARIABLE} is not set" in finding["fix"]
        monkeypatch.setenv(ERASURE_KEY_VARIABLE, "a key that stays the same for ever and ever")
        found_of = {each["check"]: each["found"] for each in reversed(found())}
        assert found_of["erased people"] == "1 erased addresses are recognised and left out"
        assert found_of["people"] == "retail: 1 people, if they are new: 1 transactional"


@pytest.mark.long
def test_somebody_who_is_judged_by_what_odoo_said_before_its_upgrade_is_listed(tmp_path):
    def found_by(check: str = "companies") -> list[str]:
        return [each["found"] for each in found() if each["check"] == check]

    with serve_world(tmp_path) as world:
        bare = world.odoo.add_partner(name="Bare", email="bare@example.com", is_company=True)
        world.odoo.add_order(bare, 10.0, date_order=ORDERED)
        settings = one_audience(when="{company_type: company}") + "    company_if: {any_tag: B2B}\n"
        world.odoo.add_tag("B2B")
        configure(world, audiences=settings)
        assert found_by() == [
            "Odoo says who is a company; none is remembered yet for its upgrade to 20: sync once before that"
        ]
        assert found_by("company_if") == [
            "tag B2B; without effect until Odoo is upgraded: it has company types"
        ]
        world.sync()
        (known,) = found_by()
        assert known.startswith("Odoo says who is a company; ")
        assert known.endswith(" partners are remembered for its upgrade to 20")
        world.odoo.upgrade((19, 4))
        world.odoo.add_partner(name="New", vat="GB1")
        by_memory, otherwise, others = found_by()
        assert "partners are judged by what Odoo said before its upgrade: " in by_memory
        assert by_memory.count(world.odoo.url) == 5
        link = f"{world.odoo.url}/web#id={bare}&model=res.partner&view_type=form"
        assert otherwise.endswith(f"{bare} ({link})")
        assert others == "companies among the 1 others: 1 with a tax id"
        assert found_by("company_if") == ["tag B2B"]
        assert found_by("people")[0] == "retail: 1 people, if they are new: 1 transactional"


def test_an_upgraded_odoo_of_which_nothing_is_remembered_is_a_warning(tmp_path):
    with serve_world(tmp_path) as world:
        world.odoo.upgrade((19, 4))
        configure(world, audiences=one_audience())
        (finding,) = [each for each in found() if each["check"] == "companies"]
        assert finding["status"] == "warning"
        assert "nothing is known of partners from before its upgrade" in finding["found"]
        assert "companies.acme.company_if" in finding["fix"]


@pytest.mark.parametrize(
    ("company_if", "found_said", "fix_said"),
    [
        (
            "{field: x_gone}",
            "field x_gone: not usable",
            "companies.acme.company_if.field: company_if.field x_gone",
        ),
        ("{field: name}", "field name: not usable", "char field, not a boolean"),
        ("{any_tag: Shop}", "tag 'Shop'", "name one by its id"),
        ("{any_tag: Nowhere}", "tag 'Nowhere'", "companies.acme.company_if.any_tag"),
    ],
)
def test_company_if_that_names_nothing_of_odoo_is_a_problem(
    clinic: World, company_if: str, found_said: str, fix_said: str
):
    configure(clinic, user="complete", audiences=f"{one_audience()}    company_if: {company_if}\n")
    (finding,) = [each for each in found() if each["check"] == "company_if"]
    assert finding["status"] == "problem"
    assert found_said in finding["found"]
    assert fix_said in finding["fix"]


def test_settings_that_cannot_be_used_are_problems_with_key_and_line(
    clinic: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MAILCHIMP_API_KEY")
    finished = mc_pipeline("doctor")
    assert finished.exit_code == 1
    assert "mailchimp.main.api_key" in finished.in_one_line
    assert "Line 3: The environment variable MAILCHIMP_API_KEY is not set" in finished.in_one_line


def test_an_unknown_company_is_told_apart(clinic: World):
    finished = mc_pipeline("doctor", "acmee")
    assert finished.exit_code == 2
    assert "companies.yaml has no company 'acmee'; it has acme" in finished.in_one_line


def test_no_secret_and_no_whole_address_is_shown(clinic: World):
    clinic.odoo.add_user("integration@example.com", "admin", groups=ALL_GROUPS)
    configure(clinic, user="integration@example.com")
    printed = mc_pipeline("doctor", "--json").output
    assert "i•••@example.com" in printed
    assert "integration@example.com" not in printed
    assert "0123456789abcdef" not in printed


def test_it_reads_a_sample_however_many_partners_there_are_unless_asked_to_count_people(
    clinic: World, monkeypatch: pytest.MonkeyPatch
):
    clinic.odoo.journal.clear()
    found()
    few = len(clinic.odoo.journal.requests)
    seed_many(clinic.odoo, 3000)
    clinic.odoo.journal.clear()
    monkeypatch.setattr(people_checks, "SOON_READ", 1000)
    findings = found()
    assert len(clinic.odoo.journal.requests) <= few + 20
    assert any("3,0" in each["found"] for each in findings if each["check"] == "contacts")
    (people,) = [each for each in findings if each["check"] == "people"]
    assert people["status"] == "not checked"
    assert "add --people to count them" in people["found"]
    assert "people, if they are new" in mc_pipeline("doctor", "--people").in_one_line
