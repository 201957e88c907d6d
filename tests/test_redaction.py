from __future__ import annotations

import json
from pathlib import Path

import pytest

from llem_sweep.redaction import REDACTED, holds_credential, known_secrets, own_secrets, redact

TOKEN = "hf_" + "AbCdEfGh" * 4


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"401 for token {TOKEN}, ask again", f"401 for token {REDACTED}, ask again"),
        ("Authorization: Bearer abc.def-123456", f"Authorization: Bearer {REDACTED}"),
        ("authorization: bearer abc.def-123456", f"authorization: bearer {REDACTED}"),
        ("Authorization: Basic dXNlcjpwYXNz", f"Authorization: Basic {REDACTED}"),
        ("GET https://me:pass@mirror.example/x", f"GET https://{REDACTED}@mirror.example/x"),
        ("key AKIAABCDEFGHIJKLMNOP used", f"key {REDACTED} used"),
        ("u?X-Amz-Signature=0123abcd&x=1", f"u?X-Amz-{REDACTED}&x=1"),
    ],
)
def test_what_has_the_form_of_a_credential_is_replaced_and_the_rest_stays(text: str, left: str) -> None:
    assert redact(text) == left
    assert holds_credential({"a": [1, {"b": text}]})


@pytest.mark.parametrize(
    "text",
    [
        "meta-llama/Llama-3-8B",
        "https://mirror.example/a@b",
        "hf_hub_download failed",
        "AKIA is a prefix",
        "the bearer of bad news",
        "/data/s3://bucket/x",
        "GPU-5a5a5a5a-1234",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text
    assert not holds_credential([text])


def test_json_stays_json() -> None:
    text = json.dumps({"log": f'Bearer {"x" * 12}"', "url": "https://a:b@c/d", "t": TOKEN, "n": 1})
    assert json.loads(redact(text)) == {
        "log": f'Bearer {REDACTED}"',
        "url": f"https://{REDACTED}@c/d",
        "t": REDACTED,
        "n": 1,
    }


def test_secrets_are_known_by_the_names_of_their_variables(tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "HF_TOKEN": "old-style-token",
        "AWS_SECRET_ACCESS_KEY": "a/b+c/d+e/f+g/h",
        "MY_SERVICE_API_KEY": "0123456789abcdef",
        # Too short to guess at, not a secret by its end, or a word that only contains one.
        "DB_PASSWORD": "mistral",
        "HF_TOKEN_PATH": str(tmp_path / "nowhere" / "to-be-found"),
        "TOKENIZERS_PARALLELISM": "false-false-false-false",
    }
    assert set(known_secrets(environment)) == {
        "old-style-token",
        "a/b+c/d+e/f+g/h",
        "a%2Fb%2Bc%2Fd%2Be%2Ff%2Bg%2Fh",
        "0123456789abcdef",
    }


def test_secrets_are_known_from_the_files_that_clients_keep_them_in(tmp_path: Path) -> None:
    hub, ray = tmp_path / ".cache" / "huggingface", tmp_path / ".ray"
    for folder, name, token in ((hub, "token", "a-hub-token\n"), (ray, "auth_token", "a-ray-token")):
        folder.mkdir(parents=True)
        (folder / name).write_text(token)
    assert known_secrets({"HOME": str(tmp_path)}) == ("a-hub-token", "a-ray-token")
    elsewhere = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path), "RAY_AUTH_TOKEN_PATH": "/nowhere"}
    assert known_secrets(elsewhere) == ()


def test_a_secret_inside_a_longer_one_leaves_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-part")
    monkeypatch.setenv("AWS_SESSION_TOKEN", 'secret-part-and-"more"')
    own_secrets.cache_clear()
    try:
        assert redact(json.dumps('x secret-part-and-"more" y')) == json.dumps(f"x {REDACTED} y")
        assert redact("secret-part") == REDACTED
    finally:
        monkeypatch.undo()
        own_secrets.cache_clear()
