"""The example of an `auth` section does what its comments say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wire.client import asking

from emulator.api import CreateIamTokenForServiceAccountRequest, CreateIamTokenRequest

if TYPE_CHECKING:
    from conftest import Connect, Serve

EXAMPLE = Path(__file__).parent.parent / "examples" / "auth" / "auth.yaml"
SHOWN = [
    ("", "b1gtest", "UNAUTHENTICATED"),
    ("Api-Key AQVN-anyone", "b1gwherever", "OK"),
    ("Api-Key AQVN-ci", "b1gtest", "OK"),
    ("Api-Key AQVN-ci", "b1gtenant1", "INVALID_ARGUMENT"),
    ("Api-Key AQVN-tenants", "b1gtenant2", "OK"),
    ("Api-Key AQVN-tenants", "b1gtest", "INVALID_ARGUMENT"),
    ("Api-Key AQVN-no-role", "b1gtest", "PERMISSION_DENIED"),
    ("Api-Key AQVN-old", "b1gtest", "UNAUTHENTICATED"),
    ("Api-Key AQVN-trial", "b1gtest", "OK"),
    ("Bearer t1.known", "b1gtest", "OK"),
    ("Bearer t1.person", "b1gtest", "UNAUTHENTICATED"),
]


@pytest.mark.parametrize(("shown", "folder", "code"), SHOWN)
def test_each_credential_does_what_its_comment_says(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, shown: str, folder: str, code: str
) -> None:
    monkeypatch.delenv("CI_KEY", raising=False)
    metadata = [("authorization", shown)] if shown else []
    request = asking("Здесь открыто?", model=f"gpt://{folder}/yandexgpt")
    assert connect(serve(EXAMPLE)).complete(request, metadata=metadata).code == code


def test_tokens_are_exchanged_and_keys_come_from_the_environment_and_expire(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_KEY", "AQVN-from-the-environment")
    emulator = serve(EXAMPLE, frozen=True)
    client = connect(emulator)
    ci = [("authorization", "Api-Key AQVN-from-the-environment")]
    begun = client.call("TextGenerationAsyncService/Completion", asking("?"), ci).only
    assert begun.created_by == "aje0000000000000ci1"
    person = client.call("IamTokenService/Create", CreateIamTokenRequest(yandex_passport_oauth_token="y0_person"))
    for_ci = CreateIamTokenForServiceAccountRequest(service_account_id="aje0000000000000ci1")
    account = client.call("IamTokenService/CreateForServiceAccount", for_ci, ci)
    for issued in (person, account):
        bearer = [("authorization", f"Bearer {issued.only.iam_token}")]
        assert client.complete(asking("?"), metadata=bearer).code == "OK"
    emulator.clock.advance("12h")
    trial = [("authorization", "Api-Key AQVN-trial")]
    assert client.complete(asking("?"), metadata=trial).code == "UNAUTHENTICATED"
