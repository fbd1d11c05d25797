"""Each way in which the official SDKs say who they are, unmodified, where credentials are asked for and where not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
import yandexcloud
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from yandex.cloud.ai.foundation_models.v1 import text_common_pb2 as common
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as text
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2_grpc import (
    TextGenerationAsyncServiceStub,
    TextGenerationServiceStub,
)
from yandex.cloud.iam.v1 import iam_token_service_pb2 as iam
from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import IamTokenServiceStub
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub
from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio
from yandex_ai_studio_sdk.auth import (
    APIKeyAuth,
    EnvIAMTokenAuth,
    IAMTokenAuth,
    MetadataAuth,
    NoAuth,
    OAuthTokenAuth,
    YandexCloudCLIAuth,
)
from yandex_ai_studio_sdk.exceptions import AioRpcError

from emulator import Emulator

from .conftest import FOLDER, QUICK

if TYPE_CHECKING:
    from conftest import Serve

ACCOUNT, KEY_ID = "aje0000000000000ci1", "ajk0000000000000001"
PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
KNOWN: dict[str, Any] = {
    "api_keys": [{"key": "AQVN-known", "folders": [FOLDER]}],
    "iam_tokens": [{"token": "t1.known", "folders": [FOLDER]}],
    "oauth_tokens": [{"token": "y0_known", "folders": [FOLDER]}],
}
Ways = dict[str, Callable[[Emulator], Any]]
ENVIRONMENT = ("YC_API_KEY", "YC_IAM_TOKEN", "YC_OAUTH_TOKEN", "YC_TOKEN", "YC_METADATA_ADDR", "YC_PROFILE")

# The SDK warns of OAuth tokens, which are being phased out, and of IAM tokens that are shorter than real ones.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Sharing your personal OAuth token"),
    pytest.mark.filterwarnings("ignore:auth argument was classified as IAM token"),
]


@pytest.fixture(autouse=True)
def no_credentials_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ways:
    """How a client of an emulator gets its credential: a value for the SDK's `auth`, or None for the environment."""
    program = tmp_path / "yc"
    program.write_text("#!/bin/sh\necho t1.known\n")
    program.chmod(0o755)

    def environment(name: str, value: str, auth: Any = None) -> Any:
        monkeypatch.setenv(name, value)
        return auth

    def cli() -> Any:
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return YandexCloudCLIAuth()

    return {
        "a key": lambda e: "AQVN-known",
        "APIKeyAuth": lambda e: APIKeyAuth("AQVN-known"),
        "YC_API_KEY": lambda e: environment("YC_API_KEY", "AQVN-known"),
        "an IAM token": lambda e: "t1.known",
        "IAMTokenAuth": lambda e: IAMTokenAuth("t1.known"),
        "YC_IAM_TOKEN": lambda e: environment("YC_IAM_TOKEN", "t1.known"),
        "EnvIAMTokenAuth": lambda e: environment("YC_TOKEN", "t1.known", EnvIAMTokenAuth()),
        "an OAuth token": lambda e: "y0_known",
        "OAuthTokenAuth": lambda e: OAuthTokenAuth("y0_known"),
        "YC_OAUTH_TOKEN": lambda e: environment("YC_OAUTH_TOKEN", "y0_known"),
        "MetadataAuth": lambda e: MetadataAuth(metadata_url=f"http://{e.http_target}{PATH}"),
        "YC_METADATA_ADDR": lambda e: environment("YC_METADATA_ADDR", e.http_target or ""),
        "YandexCloudCLIAuth": lambda e: cli(),
    }


WAYS = (
    "a key",
    "APIKeyAuth",
    "YC_API_KEY",
    "an IAM token",
    "IAMTokenAuth",
    "YC_IAM_TOKEN",
    "EnvIAMTokenAuth",
    "an OAuth token",
    "OAuthTokenAuth",
    "YC_OAUTH_TOKEN",
    "MetadataAuth",
    "YC_METADATA_ADDR",
    "YandexCloudCLIAuth",
)


def options(emulator: Emulator, auth: Any) -> dict[str, Any]:
    return {
        "endpoint": emulator.target,
        "verify": False,
        "auth": auth,
        "folder_id": FOLDER,
        "retry_policy": QUICK,
    }


@pytest.mark.parametrize("auth", [KNOWN, "required", "open"], ids=["listed", "required", "open"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_the_ai_studio_sdk_is_let_in(serve: Serve, ways: Ways, way: str, auth: Any) -> None:
    emulator = serve({"auth": auth})
    sdk = AIStudio(**options(emulator, ways[way](emulator)))
    model = sdk.models.completions("yandexgpt")
    assert model.run("Привет").text
    assert model.run_deferred("Привет").get_status().is_running


@pytest.mark.parametrize("auth", [KNOWN, "open"], ids=["listed", "open"])
@pytest.mark.parametrize("way", WAYS)
async def test_every_way_of_the_asynchronous_sdk_is_let_in(serve: Serve, ways: Ways, way: str, auth: Any) -> None:
    emulator = serve({"auth": auth})
    sdk = AsyncAIStudio(**options(emulator, ways[way](emulator)))
    assert (await sdk.models.completions("yandexgpt").run("Привет")).text


def test_a_machines_token_is_its_service_accounts(serve: Serve) -> None:
    emulator = serve({"auth": {"service_accounts": [{"id": ACCOUNT, "folders": [FOLDER]}]}}, frozen=True)
    url = f"http://{emulator.http_target}{PATH}"
    assert httpx.get(url).status_code == 403, "the header tells a program that means it from a page in a browser"
    told = httpx.get(url, headers={"Metadata-Flavor": "Google"}).json()
    assert (told["expires_in"], told["token_type"]) == (12 * 3600, "Bearer")
    sdk = AIStudio(**options(emulator, told["access_token"]))
    assert sdk.models.completions("yandexgpt").run("Привет").text
    assert emulator.calls(kind="completion")[0].account == ACCOUNT
    with pytest.raises(AioRpcError, match="does not match"):
        sdk.models.completions("gpt://b1gfar/yandexgpt").run("Привет")


def test_who_shows_nothing_is_let_in_only_where_nothing_is_asked_for(serve: Serve) -> None:
    assert AIStudio(**options(serve(), NoAuth())).models.completions("yandexgpt").run("Привет").text
    model = AIStudio(**options(serve({"auth": KNOWN}), NoAuth())).models.completions("yandexgpt")
    with pytest.raises(AioRpcError) as refused:
        model.run("Привет")
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert refused.value.details() == "IAM token or API key has to be passed in request"


async def test_an_unknown_key_is_refused_by_its_mask(serve: Serve) -> None:
    sdk = AsyncAIStudio(**options(serve({"auth": KNOWN}), "AQVN-of-nobody"))
    with pytest.raises(AioRpcError) as refused:
        await sdk.models.completions("yandexgpt").run("Привет")
    assert refused.value.details() == "Unknown api key 'AQVN****body (DC8E21DC)'"


def test_an_unknown_oauth_token_is_refused_when_it_is_exchanged(serve: Serve) -> None:
    sdk = AIStudio(**options(serve({"auth": KNOWN}), "y0_nobodys"))
    with pytest.raises(AioRpcError) as refused:
        sdk.models.completions("yandexgpt").run("Привет")
    assert refused.value.details() == "OAuth token is invalid or expired"


def test_a_token_that_expired_while_the_sdk_kept_it_is_refused(serve: Serve) -> None:
    emulator = serve({"auth": KNOWN}, frozen=True)
    model = AIStudio(**options(emulator, "y0_known")).models.completions("yandexgpt")
    assert model.run("Привет").text
    emulator.clock.advance("12h")
    with pytest.raises(AioRpcError) as refused:
        model.run("Привет")
    assert refused.value.details() == "The token is invalid"


# -- the older SDK, which speaks TLS wherever it has credentials


class Key:
    """A service account's authorized key, as `yc iam key create` writes it."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        self.public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        self.file = {
            "id": KEY_ID,
            "service_account_id": ACCOUNT,
            "public_key": self.public,
            "private_key": f"PLEASE DO NOT REMOVE THIS LINE! Yandex.Cloud SA Key ID <{KEY_ID}>\n{private}",
        }


KEY = Key()
ACCOUNTS = {"service_accounts": [{"id": ACCOUNT, "key_id": KEY_ID, "public_key": KEY.public, "folders": [FOLDER]}]}
GIVEN: dict[str, dict[str, Any]] = {
    "token": {"token": "y0_known"},
    "iam_token": {"iam_token": "t1.known"},
    "service_account_key": {"service_account_key": KEY.file},
}


def request(folder: str = FOLDER) -> text.CompletionRequest:
    return text.CompletionRequest(
        model_uri=f"gpt://{folder}/yandexgpt/latest", messages=[common.Message(role="user", text="Привет")]
    )


def sdk_at(emulator: Emulator, **given: Any) -> yandexcloud.SDK:
    assert emulator.ca is not None
    endpoint = f"localhost:{emulator.tls_port}"
    return yandexcloud.SDK(endpoint=endpoint, root_certificates=emulator.ca.read_bytes(), **given)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's own: of OAuth tokens, and of utcfromtimestamp
@pytest.mark.parametrize("auth", [{**KNOWN, **ACCOUNTS}, "open"], ids=["listed", "open"])
@pytest.mark.parametrize("way", GIVEN)
def test_every_way_of_yandexcloud_is_let_in(serve: Serve, way: str, auth: Any) -> None:
    sdk = sdk_at(serve({"auth": auth}, tls=True), **GIVEN[way])
    (whole,) = sdk.client(TextGenerationServiceStub).Completion(request())
    assert whole.alternatives[0].message.text
    begun = sdk.client(TextGenerationAsyncServiceStub).Completion(request())
    if way == "service_account_key":
        assert begun.created_by == ACCOUNT
    got = sdk.client(OperationServiceStub).Get(GetOperationRequest(operation_id=begun.id))
    assert got.created_by == begun.created_by


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_yandexcloud_is_told_what_is_wrong_with_its_key(serve: Serve) -> None:
    emulator = serve({"auth": ACCOUNTS}, tls=True)
    sdk = sdk_at(emulator, service_account_key={**KEY.file, "private_key": Key().file["private_key"]})
    with pytest.raises(grpc.RpcError) as refused:
        list(sdk.client(TextGenerationServiceStub).Completion(request()))
    assert f"the signature is not that of the public key of {ACCOUNT}" in refused.value.details()  # type: ignore[attr-defined]


def test_the_official_stubs_issue_and_revoke(serve: Serve) -> None:
    emulator = serve({"auth": KNOWN})
    with grpc.insecure_channel(emulator.target) as channel:
        stub = IamTokenServiceStub(channel)
        issued = stub.Create(iam.CreateIamTokenRequest(yandex_passport_oauth_token="y0_known"))
        metadata = [("authorization", f"Bearer {issued.iam_token}")]
        completion = TextGenerationServiceStub(channel).Completion
        assert list(completion(request(), metadata=metadata))
        with pytest.raises(grpc.RpcError) as elsewhere:
            list(completion(request("b1gfar"), metadata=metadata))
        revoked = stub.Revoke(iam.RevokeIamTokenRequest(iam_token=issued.iam_token))
        with pytest.raises(grpc.RpcError) as refused:
            list(completion(request(), metadata=metadata))
    assert elsewhere.value.code() is grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]
    assert revoked.subject_id.startswith("aje")
    assert refused.value.details() == "The token is invalid"  # type: ignore[attr-defined]
