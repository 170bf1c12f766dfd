"""`sign_in` of bank.yaml: read back as it was written, and refused in one line where it is not whole."""

import pytest

from features.home import Home, HomeError, Settings
from features.settings import read_settings, write_settings

WHOLE = [
    {},
    {"way": "proxy", "groups": {"a": "admin"}, "proxy": {"name_header": "X-User"}},
    {
        "way": "oidc",
        "groups": {"a": "marketing", "desk": "channel:call"},
        "oidc": {"issuer": "https://sso.bank/realm", "client_id": "nbo"},
    },
]


@pytest.mark.parametrize("said", WHOLE)
def test_what_is_written_is_read_again(tmp_path, said):
    settings = Settings(sign_in=said, mlflow_ui="https://mlflow.bank")
    write_settings(tmp_path / "bank.yaml", settings)
    assert read_settings(tmp_path / "bank.yaml") == settings


@pytest.mark.parametrize(("line", "what"), [
    ("sign_in: {way: magic}", "`sign_in.way`"),
    ("sign_in: {way: oidc, groups: {a: admin}}", "needs `oidc` with issuer and client_id"),
    ("sign_in: {way: proxy}", "needs `groups`"),
    ("sign_in: {way: proxy, groups: {a: king}}", "`sign_in.groups.a`"),
    ('sign_in: {way: oidc, groups: {a: admin}, oidc: {issuer: "http://sso.bank", client_id: x}}', "not https"),
    ("sign_in: {proxy: {secret_file: ../../etc/passwd}}", "`sign_in.proxy.secret_file`"),
    ("mlflow_ui: javascript", "no address of a page"),
])  # fmt: skip
def test_what_is_not_whole_is_one_line(tmp_path, line, what):
    home = Home.create(tmp_path / "bank", Settings())
    bank = home.path / "bank.yaml"
    key = line.partition(":")[0]
    bank.write_text(
        "\n".join(line if row.startswith(f"{key}:") else row for row in bank.read_text().splitlines()) + "\n"
    )
    with pytest.raises(HomeError) as refused:
        Home.open(home.path)
    assert what in str(refused.value)
    assert "\n" not in str(refused.value)
