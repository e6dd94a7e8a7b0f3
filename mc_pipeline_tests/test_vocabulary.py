"""The words that tables store: each is the text that was stored before, wherever it goes."""

import json
import sqlite3

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
import yaml

from mc_pipeline import vocabulary
from mc_pipeline.domain.plan.rows import assemble
from mc_pipeline.vocabulary import MemberStatus, Operation, OutcomeKind, Owner, Word

STORED: dict[str, str] = {
    "Operation": "create update change_email archive tag untag upgrade permit unsubscribe",
    "StoreOperation": "create update delete add_line change_line remove_line put_variant",
    "StoreChangeKind": "create update replace delete",
    "OdooAction": "opt_out lift none",
    "OptOutScope": "everywhere company",
    "OutcomeKind": "applied unchanged rejected deferred held_back not_sent unknown lost",
    "MemberStatus": "subscribed unsubscribed cleaned pending transactional archived",
    "EventKind": "opt_out clean complaint subscribe archive pending transactional vanish "
    "odoo_opt_out odoo_lift",
    "Origin": "ours person admin unknown",
    "EventSource": "poll webhook observation write",
}
TEAMS = {
    "marketing ops": "team:marketing-ops",
    "finance": "team:finance",
    "data engineering": "team:data-engineering",
}
KINDS = Word.__subclasses__()
WORDS = [word for kind in KINDS for word in kind]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_words_are_the_texts_that_tables_hold(kind):
    stored = STORED[kind.__name__].split() if kind is not Owner else list(TEAMS)
    assert sorted(word.value for word in kind if word.value) == sorted(stored)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{type(word).__name__}.{word.name}")
def test_a_word_goes_everywhere_as_its_text(word):
    text = word.value
    assert (str(word), f"{word}", f"{word!r}", "".join([word, ""])) == (text, text, repr(text), text)
    assert {text: 1}[word] == {word: 1}[text] == 1
    assert json.dumps({word: word}) == json.dumps({text: text})
    assert pa.array([word, None], pa.string()).equals(pa.array([text, None], pa.string()))
    assert np.where([True, False], word, "").tolist() == [text, ""]
    with sqlite3.connect(":memory:") as connection:
        assert connection.execute("select ?, typeof(?)", (word, word)).fetchone() == (text, "text")


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{type(word).__name__}.{word.name}")
def test_postgresql_is_sent_the_text_of_a_word(word):
    extensions = pytest.importorskip("psycopg2.extensions")
    assert extensions.adapt(word).getquoted() == f"'{word.value}'".encode()


def test_every_status_has_its_event_and_its_rank():
    assert set(vocabulary.EVENT_OF_STATUS) == set(vocabulary.MOST_RESTRICTIVE_FIRST) == set(MemberStatus)


@pytest.mark.parametrize("dtype", [object, "str"])
def test_columns_do_not_tell_a_word_from_its_text(dtype):
    words = pd.Series([Operation.CREATE, Operation.TAG], dtype=dtype)
    texts = pd.Series(["create", "tag"], dtype=dtype)
    assert (words == texts).all()
    assert (texts == Operation.TAG).tolist() == (words == "tag").tolist() == [False, True]
    assert texts.isin({Operation.TAG}).tolist() == words.isin({"tag"}).tolist() == [False, True]
    assert texts.map({Operation.CREATE: 1, Operation.TAG: 2}).tolist() == [1, 2]
    assert words.map({"create": 1, "tag": 2}).tolist() == [1, 2]
    assert words.value_counts().to_dict() == texts.value_counts().to_dict()
    assert words.to_csv() == texts.to_csv()
    assert pa.Table.from_pandas(words.to_frame("operation")).column("operation").to_pylist() == [
        "create",
        "tag",
    ]


def test_a_database_is_asked_by_word_and_answers_with_its_text():
    engine = sa.create_engine("sqlite://")
    table = sa.Table("done", sa.MetaData(), sa.Column("outcome", sa.Text()))
    with engine.begin() as connection:
        table.metadata.create_all(connection)
        connection.execute(table.insert(), [{"outcome": OutcomeKind.APPLIED}, {"outcome": "unknown"}])
        by_word = sa.select(table.c.outcome).where(table.c.outcome == OutcomeKind.APPLIED)
        of_words = sa.select(table.c.outcome).where(table.c.outcome.in_(sorted(vocabulary.DONE)))
        found = [*connection.execute(by_word).scalars(), *connection.execute(of_words).scalars()]
    assert [(type(text), text) for text in found] == [(str, "applied")] * 2


def test_dagster_and_yaml_take_the_text_of_a_word():
    kept = dg.AssetMaterialization(
        "plan", metadata={"operation": str(Operation.TAG), "counts": {Operation.TAG: 1}}
    )
    assert dg.deserialize_value(dg.serialize_value(kept), dg.AssetMaterialization).metadata == {
        "operation": dg.MetadataValue.text("tag"),
        "counts": dg.MetadataValue.json({"tag": 1}),
    }
    assert yaml.safe_dump({"status": str(MemberStatus.CLEANED)}) == "status: cleaned\n"
    teams = [owner.team for owner in Owner]
    assert {str(owner): owner.team for owner in Owner} == TEAMS
    assert [type(team) for team in dg.AssetSpec("plan", owners=teams).owners] == [str] * len(teams)


def test_the_id_of_a_plan_is_the_one_that_an_approval_names():
    """An approval given by an earlier version releases the same plan."""

    def row(operation, email, **more):
        known = {"audience": "main", "list_id": "a1b2c3", "partner_id": 7, "cause": "new", "because": "…"}
        return {**known, "operation": operation, "email": email, **more}

    plan = assemble(
        "north",
        [
            pd.DataFrame(
                [
                    row(
                        Operation.CREATE,
                        "ann@example.com",
                        status=MemberStatus.SUBSCRIBED,
                        after_json='{"x":1}',
                    ),
                    row(Operation.TAG, "ann@example.com", tag="vip"),
                    row(Operation.CHANGE_EMAIL, "bob@example.com", new_email="bo@example.com"),
                ]
            ),
            pd.DataFrame([row(operation, "cy@example.com") for operation in sorted(Operation)]),
        ],
    )
    assert plan["plan_id"].unique().tolist() == ["7d8eb54def93"]
    assert plan["row_key"].tolist()[:2] == ["ec2c62ca8621544156ea", "0efd3ba8f7572fe6c8fc"]
    assert plan["operation"].tolist() == [
        *["change_email"] * 2,
        "archive",
        *["create"] * 2,
        "update",
        "upgrade",
        "permit",
        "untag",
        *["tag"] * 2,
        "unsubscribe",
    ]
