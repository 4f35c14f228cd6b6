"""What looks like a password, a token or a key is found in texts, command lines and differences; little else is."""

import time

import pytest

from dregcli.redaction import (
    FILE_MARK,
    LINE_MARK,
    has_secret,
    is_secret_name,
    redacted,
    redacted_diff,
    redacted_values,
    redacted_words,
)

# Each holds XYZ within what has to go; put together here, so that no line of this file is a token by itself.
SECRETS = [
    "password=XYZ",
    "export DB_PASSWORD='XYZ b c'",
    'password: str = "XYZ"',
    "  passwd : XYZ",
    'conn = connect("h", password="XYZ")',
    "api_key: XYZ",
    '"apiKey": "XYZ"',
    'x.api_key = "XYZ"',
    'os.environ["HF_TOKEN"] = "abcXYZ123"',
    "HF_TOKEN=abcXYZ123",
    "authToken: 'a1XYZ2'",
    "MAIL_PASS=XYZ123",
    "SECRET_KEY = 'django-insecure-XYZ'",
    "stripe_key = 'a1b2XYZ3d4e5f6a7b8c9'",
    "aws_secret_access_key = XYZwJalrXUtnFEMI/K7MDENG",
    "Server=db;User Id=sa;Password=XYZ;",
    "Authorization: Bearer XYZdef123456",
    'curl -H "Authorization: Basic XYZlcjpwYXNz" http://x',
    "curl -u me:XYZ http://x",
    "wget --password XYZ http://x",
    "machine api.wandb.ai login user password XYZ",
    "https://user:XYZ@host/x",
    "postgres://me:p@XYZ/w0rd@db:5432/x",
    "redis://:XYZ@localhost:6379",
    "git+https://XYZ@github.com/x",
    "https://h/x?access_token=XYZ&y=1",
    "https://x.blob.core.windows.net/c?sv=2020&sig=XYZdEFGH1234abcdEFGH1234",
    "AKIA" + "IOSFODNN7XYZMPLE",
    "AIza" + "SyD-1234567890abcXYZghijklmnopqrstu",
    "xoxb-" + "1234567890-abcXYZhij",
    "https://hooks.slack.com/services/T000/B000/XYZ",
    "sk-" + "abcdefghijklmnopqrXYZwxyz",
    "sk-ant-" + "api03-abcdefghijklmnXYZ",
    "hf_" + "abcdefghijklmnopqrstuvXYZABCDEFGH",
    "ghp_" + "abcdefghij0123456789abcdefXYZ",
    "github_pat_" + "11ABCDEFG0abcXYZhij",
    "glpat-" + "abcdefghijXYZ3456789",
    "npm_" + "abcdefghijklmnopqrstXYZ",
    "pypi-" + "AgEIcHlwaS5vcmcXYZ",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0XYZ2Nzg5MCJ9.dozjgNryP4J3jVmNHl0w5N",
    '"private_key": "-----BEGIN ' + "PRIVATE KEY-----\\nMIIEXYZ",
]
HARMLESS = [
    "num_tokens = 32768",
    "tokens = tokenizer.encode(text)",
    'eos_token: str = "</s>"',
    "def f(password: str, token: int | None = None) -> None:",
    'password = os.environ["PASSWORD"]',
    "login(user, password=password)",
    "connect(user, password=word)",
    "API_KEY=${API_KEY}",
    "password: {{ vault_pw }}",
    'headers = {"Authorization": f"Bearer {token}"}',
    'key = "layer1.weight"',
    "x = sorted(a, key=lambda x: x[1])",
    "token_ids = [1, 2, 3]",
    "PASSWORD_FILE=/run/secrets/pw",
    "first_pass = 12",
    "https://github.com/me/repo",
    "http://localhost:8888/x@v1",
    "ssh://git@github.com/me/repo",
    "sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "dreg train --dataset mnist --k 64 --track-estimators reparam,stl",
]


def test_secrets_are_taken_out_and_all_else_stays() -> None:
    for text in SECRETS:
        assert has_secret(text), text
        assert "XYZ" not in redacted(text), text
        assert redacted(redacted(text)) == redacted(text), text
    for text in HARMLESS:
        assert not has_secret(text), text
        assert redacted(text) == text
    assert redacted("git clone https://me:XYZ@host/x") == "git clone https://[redacted]@host/x"


def test_a_secret_on_the_line_after_its_name_and_keys_of_many_lines_are_found() -> None:
    body = "MIIEXYZ0b2tlbg\nXYZ==\n"
    for text in (
        "password:\n  XYZhunter\nx: 1",
        "password = (\n    'XYZ'\n)\nx: 1",
        "- name: DB_PASSWORD\n  value: XYZ\nx: 1",
        f"-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\nx: 1",
    ):
        assert has_secret(text), text
        assert "XYZ" not in redacted(text), text
        assert redacted(text).endswith("\nx: 1"), text
    assert not has_secret("if password:\n    login(password)")


@pytest.mark.parametrize("configured", ["diff --git a/{0} b/{0}", "diff --git {0} {0}", 'diff --git "a/{0}" "b/{0}"'])
def test_a_diff_loses_lines_that_are_added_removed_around_or_behind_the_place(configured: str) -> None:
    body = "x = 1\n-password = 'XYZold'\n+password = 'XYZnew'\n api_key: XYZ\n-x = 1\n+x = 2"
    lines = [configured.format("a.py"), "index 1..2", f"@@ -1,3 +1,3 @@ token = 'abXYZ123'\n {body}"]
    lines += [
        configured.format("conf/.env.prod"),
        "@@ -1 +1,2 @@ A=XYZ",
        "-A=XYZ1",
        "+A=XYZ2",
        "@@ -9 +9 @@",
        "+XYZ",
        "",
    ]
    text, taken = redacted_diff("\n".join(lines))
    assert "XYZ" not in text
    assert f"-{LINE_MARK}\n+{LINE_MARK}\n {LINE_MARK}\n-x = 1\n+x = 2\n" in text
    assert f"@@ -1 +1,2 @@ {LINE_MARK}\n {FILE_MARK}\n" in text
    assert taken == 4 + 5
    assert redacted_diff("\n".join(HARMLESS)) == ("\n".join(HARMLESS), 0)


def test_command_lines_and_json_lose_what_a_name_says_is_secret() -> None:
    words = ["dreg", "x", "--source", "https://u:XYZ@h/x", "--api-key", "XYZ", "--token=a1XYZ2", "--k", "4"]
    kept = ["dreg", "x", "--source", "https://[redacted]@h/x", "--api-key", "[redacted]", "--token=[redacted]"]
    assert redacted_words(words) == [*kept, "--k", "4"]
    found = redacted_values(
        {"variables": {"HTTPS_PROXY": "http://u:XYZ@p:1", "MY_PASSWORD": "XYZ"}, "n": 1, "a": words}
    )
    assert found == {
        "variables": {"HTTPS_PROXY": "http://[redacted]@p:1", "MY_PASSWORD": "[redacted]"},
        "n": 1,
        "a": [*kept, "--k", "4"],
    }


def test_names_of_files_of_keys() -> None:
    secret = [
        ".env",
        ".env.local",
        "prod.env",
        "credentials.yml",
        "aws-credentials",
        "my_secret.json",
        "secrets/a.py",
    ]
    secret += ["id_rsa", "id_ed25519.pub", "x.PEM", "x.key", ".netrc", "_netrc", ".npmrc", ".pypirc", "x/.ssh/config"]
    secret += ["kubeconfig", "token", "hf_token.txt", "passwords.txt"]
    for name in secret:
        assert is_secret_name(name), name
    for name in ["tokenizer.py", "monkey.py", "keys.py", "environment.yml", "a/config.toml", "requirements.txt"]:
        assert not is_secret_name(name), name


def test_no_text_takes_long() -> None:
    # Twice as many characters as are looked at in one piece: in quadratic time each would take minutes.
    began = time.perf_counter()
    for piece in ("a", "password", "://a:", " -u a:", "token_", "eyJaaaaaaaaa.", "password = ", "key", "--"):
        has_secret(piece * (40_000 // len(piece)))
    assert time.perf_counter() - began < 30
