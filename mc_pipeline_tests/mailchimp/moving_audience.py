"""An audience that changes at exact moments while it is read: the answers of GET /lists/{id}/members.

Only what reading needs; how Mailchimp behaves otherwise is the sandbox's business.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import md5
from typing import Any

from mc_pipeline_tests.mailchimp.exact_server import Asked, answer, problem

START = datetime(2026, 5, 1, 8, 0, 0, tzinfo=UTC)


@dataclass
class MovingAudience:
    members: dict[str, dict[str, Any]] = field(default_factory=dict)
    now: datetime = START
    before_request: Callable[["MovingAudience", Asked, int], None] = lambda audience, asked, number: None
    page_limit: int = 1000
    tags: dict[str, list[str]] = field(default_factory=dict)
    count: int = 0

    def add(self, email: str, status: str, **fields: Any) -> dict[str, Any]:
        member: dict[str, Any] = {
            "id": md5(email.encode()).hexdigest(),
            "contact_id": md5(f"contact {email}".encode()).hexdigest(),
            "email_address": email,
            "status": status,
            "merge_fields": {"FNAME": "Jane"},
            "tags_count": 0,
            "tags": [],
            "language": "en",
            "last_changed": self.now.isoformat(),
            "timestamp_signup": "",
            "timestamp_opt": self.now.isoformat(),
            "source": "API - Generic",
        } | fields
        self.members[member["contact_id"]] = member
        return member

    def change(self, email: str, **fields: Any) -> None:
        member = next(member for member in self.members.values() if member["email_address"] == email)
        member.update(fields, last_changed=self.now.isoformat())
        member["id"] = md5(member["email_address"].lower().encode()).hexdigest()

    def remove(self, email: str) -> None:
        self.members = {
            key: member for key, member in self.members.items() if member["email_address"] != email
        }

    def __call__(self, asked: Asked) -> bytes:
        self.count += 1
        self.before_request(self, asked, self.count)
        date = format_datetime(self.now, usegmt=True)
        if asked.path.endswith("/tags"):
            names = self.tags[asked.path.split("/")[4]]
            offset, count = int(asked.query["offset"]), int(asked.query["count"])
            page = [{"name": name} for name in names[offset : offset + count]]
            return answer(200, {"tags": page, "total_items": len(names)}, Date=date)
        query = asked.query
        if asked.method != "GET" or not asked.path.endswith("/members"):
            return problem(404, "Resource Not Found", Date=date)
        since, before = (_moment(query.get(f"{name}_last_changed")) for name in ("since", "before"))
        found = [
            member
            for member in self.members.values()
            if member["status"] == query["status"]
            and (since is None or datetime.fromisoformat(member["last_changed"]) >= since)
            and (before is None or datetime.fromisoformat(member["last_changed"]) < before)
        ]
        found.sort(key=lambda member: member["last_changed"], reverse=query.get("sort_dir") == "DESC")
        offset, count = int(query.get("offset", 0)), min(int(query["count"]), self.page_limit)
        document: dict[str, Any] = {"total_items": len(found)}
        if any(name.startswith("members.") for name in query["fields"].split(",")):
            names = [name[8:] for name in query["fields"].split(",") if name.startswith("members.")]
            document["members"] = [
                {name: member[name] for name in names if name in member}
                for member in found[offset : offset + count]
            ]
        return answer(200, document, Date=date)

    def statuses(self) -> dict[str, str]:
        return {member["email_address"]: member["status"] for member in self.members.values()}

    def tick(self, seconds: float = 60) -> None:
        self.now += timedelta(seconds=seconds)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
