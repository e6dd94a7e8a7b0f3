"""The official Node client works against the stand-in as the Python one does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline_tests.sandbox.mailchimp.conftest import LIST

CLIENT = "@mailchimp/mailchimp_marketing@3.0.80"

SCRIPT = """
const client = require("@mailchimp/mailchimp_marketing");
const [base, key, list] = process.argv.slice(2);
client.setConfig({ apiKey: key, server: "us1" });
for (const api of [client.ping, client.lists, client.batches]) api.apiClient.basePath = base;
(async () => {
  const ping = await client.ping.get();
  const made = await client.lists.batchListMembers(list, {
    members: [
      { email_address: "ada@example.org", status: "transactional", merge_fields: { FNAME: "Ada" } },
      { email_address: "nobody@", status: "transactional" },
    ],
    update_existing: false,
  });
  const tags = [{ name: "VIP", status: "active" }];
  await client.lists.updateListMemberTags(list, "ada@example.org", { tags });
  const fields = ["members.email_address", "members.tags"];
  const read = await client.lists.getListMembersInfo(list, { count: 1000, fields });
  let refused;
  try { await client.lists.addListMember(list, { email_address: "ada@example.org", status: "subscribed" }); }
  catch (error) { refused = { status: error.status, title: JSON.parse(error.response.text).title }; }
  const batch = await client.batches.start({ operations: [{ method: "GET", path: "/ping" }] });
  console.log(JSON.stringify({ ping, made, read, refused, batch: batch.status }));
})().catch((error) => { console.error(String(error)); process.exit(1); });
"""


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client installed; skips where Node, npm or its registry are missing."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node or npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true}')
    install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent", CLIENT]
    try:
        done = subprocess.run(install, cwd=folder, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install the client within a minute")
    if done.returncode != 0:
        pytest.skip("npm could not install the client")
    return folder


def test_the_official_node_client_works(sandbox: SandboxMailchimp, node_folder: Path) -> None:
    sandbox.pause_batches()
    (node_folder / "check.js").write_text(SCRIPT)
    done = subprocess.run(
        ["node", "check.js", sandbox.api_url, DEFAULT_KEY, LIST],
        cwd=node_folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["ping"] == {"health_status": "Everything's Chimpy!"}
    assert (printed["made"]["total_created"], printed["made"]["error_count"]) == (1, 1)
    (read,) = printed["read"]["members"]
    assert (read["email_address"], [tag["name"] for tag in read["tags"]]) == ("ada@example.org", ["VIP"])
    assert printed["refused"] == {"status": 400, "title": "Member Exists"}
    assert printed["batch"] == "pending"
