"""The page is built, answers this machine alone, and asks nothing of any other."""

from __future__ import annotations

import json
import re

import pytest
from tests.challenge.made import make_challenge

from mien.cli.main import main
from mien.core.errors import ConfigError
from mien.studio.app import StudioOptions, web_app

pytest.importorskip("gradio", reason="gradio is not installed (extra studio)")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
)  # of gradio's own event loops


@pytest.fixture(scope="module")
def client():
    from fastapi.testclient import TestClient

    with TestClient(web_app(StudioOptions(upload_mb=1)), base_url="http://127.0.0.1:7860") as own:
        yield own


def test_the_page_has_a_tab_for_each_system_that_it_knows(client):
    config = client.get("/config").json()
    labels = [c["props"]["label"] for c in config["components"] if c["type"] == "tabitem"]
    assert labels == [
        "Classify",
        "Other styles",
        "Faces",
        "Liveness",
        "Far cameras",
        "Challenge",
        "Parts of a face",
        "Talking head",
        "Body",
        "Physics",
        "Results",
    ]
    assert config["analytics_enabled"] is False


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.7"])
def test_a_foreign_host_name_is_refused(client, host):
    assert client.get("/", headers={"host": host}).status_code == 400
    assert client.get("/", headers={"host": "localhost:7860"}).status_code == 200


def test_the_page_names_no_other_machine(client):
    text = client.get("/").text
    loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?://[^\"]+)\"", text)
    assert [url for url in loaded if "127.0.0.1" not in url and "preconnect" not in url] == []


def test_too_large_an_upload_is_refused(client):
    answer = client.post("/gradio_api/upload", files={"files": ("a.png", b"\0" * (2 * 2**20), "image/png")})
    assert answer.status_code == 413, answer.text


def test_files_of_the_machine_are_not_served(client):
    for path in ("/etc/passwd", "../../../../etc/passwd"):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_other_names_are_answered_when_asked_for():
    options = StudioOptions(host="0.0.0.0", names=("box.lan",))
    assert "box.lan" in options.hosts
    assert StudioOptions().hosts == ["127.0.0.1", "localhost", "[::1]"]
    with pytest.raises(ConfigError, match="port"):
        StudioOptions(port=0)


def test_a_taken_port_is_one_line(capsys):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["studio", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"--port {port}" in said
    assert said.count("\n") == 1


def test_a_folder_without_a_contest_is_one_line(tmp_path, capsys):
    assert main(["studio", "--contest", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "no challenge here" in said
    assert said.count("\n") == 1


def test_a_real_contest_hands_out_no_kit(client, tmp_path):
    from fastapi.testclient import TestClient

    def kit_is_shown(own):
        files = [c["props"] for c in own.get("/config").json()["components"] if c["type"] == "file"]
        return [props["visible"] for props in files if props["label"].startswith("Kit")]

    assert kit_is_shown(client) == [True]
    contest = str(make_challenge(tmp_path))
    with TestClient(web_app(StudioOptions(contest=contest)), base_url="http://127.0.0.1:7860") as other:
        assert kit_is_shown(other) == [False]


def test_config_of_the_page_is_json(client):
    assert json.dumps(client.get("/config").json())
