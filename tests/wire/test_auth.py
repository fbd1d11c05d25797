"""Who calls, and may they: every refusal in the service's words, and what is known of who is let through."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

from emulator import Emulator
from emulator.api import (
    METHODS,
    BatchCompletionMetadata,
    BatchCompletionRequest,
    CancelOperationRequest,
    CreateIamTokenForServiceAccountRequest,
    CreateIamTokenRequest,
    GetOperationRequest,
    HealthCheckRequest,
    ListApiEndpointsRequest,
    RequestInfo,
    RevokeIamTokenRequest,
    message_class,
)

from .client import Client, Reply, asking, drawing
from .control import Controller
from .datasets import Datasets, lines

if TYPE_CHECKING:
    from conftest import Connect, Serve

NEEDED = "IAM token or API key has to be passed in request"
INVALID = "The token is invalid"
OPERATION = "OperationService/Get"
ASYNC = "TextGenerationAsyncService/Completion"
BATCH = "TextGenerationBatchService/Completion"
TASKS = {
    name: message_class(f"yandex.cloud.ai.batch_inference.v1.{name}BatchInferenceRequest")
    for name in ("Describe", "Cancel", "Delete")
}
ACCOUNT = "aje0000000000000ci1"
AUTH: dict[str, Any] = {
    "api_keys": [
        "AQVN-anyone",
        {"key": "AQVN-ci-0123456789", "service_account": ACCOUNT, "folders": ["b1gtest", "b1gother"]},
        {"key": "AQVN-nowhere", "folders": []},
        {"key": "AQVN-expired-key", "status": "expired"},
        {"key": "AQVN-revoked-key", "status": "revoked"},
        {"key": "AQVN-january", "expires_at": "2026-01-31T00:00:00Z"},
        {"key": "AQVN-half-a-day", "expires_after": "12h"},
        "short",
    ],
    "iam_tokens": [
        {"token": "t1.known", "folders": ["b1gtest"]},
        {"token": "t1.person", "user": True, "folders": ["b1gtest"]},
        {"token": "t1.expired", "status": "expired"},
        {"token": "t1.revoked", "status": "revoked"},
    ],
    "oauth_tokens": [
        "y0_known",
        {"token": "y0_limited", "folders": ["b1gtest"]},
        {"token": "y0_old", "status": "expired"},
    ],
    "service_accounts": [{"id": ACCOUNT, "folders": ["b1gtest"]}, "aje0000000000000ci2"],
}


def key(text: str) -> list[tuple[str, str]]:
    return [("authorization", f"Api-Key {text}")]


def token(text: str, folder: str = "") -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {text}"), *([("x-folder-id", folder)] if folder else [])]


CI = key("AQVN-ci-0123456789")
Ask = Callable[..., Reply]


@pytest.fixture
def emulator(serve: Serve) -> Emulator:
    """An emulator that knows the credentials above, at noon of the first day of 2026."""
    return serve({"auth": AUTH}, now="2026-01-01T12:00:00Z", frozen=True)


@pytest.fixture
def client(emulator: Emulator, connect: Connect) -> Client:
    return connect(emulator)


def in_folder(folder: str) -> Any:
    return asking("Привет", model=f"gpt://{folder}/yandexgpt/latest")


def denied(folder: str) -> str:
    return (
        f"Permission to [resource-manager.folder {folder}, resource-manager.cloud b1g00000000000000001, "
        "organization-manager.organization bpf00000000000000002] denied"
    )


def mask(text: str) -> str:
    return f"{text[:4]}****{text[-4:]} ({crc32(text.encode()):08X})"


# -- refused

REFUSED: dict[str, tuple[list[tuple[str, str]], str, str]] = {
    "nothing": ([], "UNAUTHENTICATED", NEEDED),
    "another-scheme": ([("authorization", "Basic QWxhZGRpbg==")], "UNAUTHENTICATED", NEEDED),
    "a-bare-key": ([("authorization", "AQVN-anyone")], "UNAUTHENTICATED", NEEDED),
    "an-empty-key": ([("authorization", "Api-Key")], "UNAUTHENTICATED", NEEDED),
    "an-empty-token": ([("authorization", "Bearer")], "UNAUTHENTICATED", NEEDED),
    "an-unknown-key": (key("AQVN-nobodys"), "UNAUTHENTICATED", f"Unknown api key '{mask('AQVN-nobodys')}'"),
    "a-short-unknown-key": (key("nobodys"), "UNAUTHENTICATED", "Unknown api key '****'"),
    "eight-characters": (key("12345678"), "UNAUTHENTICATED", "Unknown api key '****'"),
    "nine-characters": (key("123456789"), "UNAUTHENTICATED", "Unknown api key '1234****6789 (CBF43926)'"),
    "an-expired-key": (key("AQVN-expired-key"), "UNAUTHENTICATED", f"Unknown api key '{mask('AQVN-expired-key')}'"),
    "a-revoked-key": (key("AQVN-revoked-key"), "UNAUTHENTICATED", f"Unknown api key '{mask('AQVN-revoked-key')}'"),
    "a-token-as-key": (key("t1.known"), "UNAUTHENTICATED", "Unknown api key '****'"),
    "a-key-as-token": (token("AQVN-anyone"), "UNAUTHENTICATED", INVALID),
    "an-unknown-token": (token("t1.nobodys"), "UNAUTHENTICATED", INVALID),
    "an-expired-token": (token("t1.expired"), "UNAUTHENTICATED", INVALID),
    "a-revoked-token": (token("t1.revoked"), "UNAUTHENTICATED", INVALID),
    "a-user-without-folder": (token("t1.person"), "UNAUTHENTICATED", "You have to specify folder ID for user account"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_who_may_not_call_is_refused_in_the_services_words(client: Client, name: str) -> None:
    metadata, code, text = REFUSED[name]
    reply = client.complete(asking("Привет"), metadata=metadata)
    assert (reply.code, reply.text) == (code, text)
    assert (reply.status.code, reply.status.message) == (16, text)
    info = RequestInfo()
    assert reply.status.details[0].Unpack(info)
    assert info.request_id == reply.trailers["x-request-id"]


OTHER = "Specified folder ID 'b1gfar' does not match with service account folder ID 'b1gtest'"
FOLDERS: dict[str, tuple[list[tuple[str, str]], str, str, str]] = {
    "a-key-of-another-folder": (CI, "b1gfar", "INVALID_ARGUMENT", OTHER),
    "a-token-of-another-folder": (token("t1.known"), "b1gfar", "INVALID_ARGUMENT", OTHER),
    "another-folder-in-the-header": ([*CI, ("x-folder-id", "b1gfar")], "b1gtest", "INVALID_ARGUMENT", OTHER),
    "no-folder-at-all": (key("AQVN-nowhere"), "b1gtest", "PERMISSION_DENIED", denied("b1gtest")),
    "a-user-elsewhere": (token("t1.person", "b1gfar"), "b1gtest", "PERMISSION_DENIED", denied("b1gfar")),
    "a-user-with-a-model-elsewhere": (token("t1.person", "b1gtest"), "b1gfar", "PERMISSION_DENIED", denied("b1gfar")),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_not_the_callers_is_refused(client: Client, name: str) -> None:
    metadata, folder, code, text = FOLDERS[name]
    reply = client.complete(in_folder(folder), metadata=metadata)
    assert (reply.code, reply.text) == (code, text)
    assert reply.status.message == text


LET_THROUGH: dict[str, tuple[list[tuple[str, str]], str]] = {
    "any-folder": (key("AQVN-anyone"), "b1gwherever"),
    "its-own": (CI, "b1gtest"),
    "another-of-its-folders": (CI, "b1gother"),
    "a-header-of-its-own-folder": ([*CI, ("x-folder-id", "b1gother")], "b1gtest"),
    "a-short-key": (key("short"), "b1gtest"),
    "a-scheme-in-capitals": ([("authorization", "API-KEY  AQVN-anyone")], "b1gtest"),
    "a-token": (token("t1.known"), "b1gtest"),
    "a-user-with-a-folder": (token("t1.person", "b1gtest"), "b1gtest"),
}


@pytest.mark.parametrize("name", LET_THROUGH)
def test_who_may_call_is_answered(client: Client, name: str) -> None:
    metadata, folder = LET_THROUGH[name]
    assert client.complete(in_folder(folder), metadata=metadata).code == "OK"


@pytest.mark.parametrize(("value", "code"), [("Api-Key ", "UNAUTHENTICATED"), (" API-KEY  AQVN-anyone ", "OK")])
def test_blanks_around_a_credential_are_nothing(client: Client, value: str, code: str) -> None:
    assert client.complete(in_folder("b1gtest"), metadata=[("authorization", value)]).code == code


GUARDED = {
    "TextGenerationService/Completion": asking("Привет"),
    ASYNC: asking("Привет"),
    "ImageGenerationAsyncService/Generate": drawing(),
    "TextGenerationBatchService/Completion": METHODS[
        "/yandex.cloud.ai.foundation_models.v1.TextGenerationBatchService/Completion"
    ].input(model_uri="gpt://b1gtest/phi-4", source_dataset_id="fds1"),
    OPERATION: GetOperationRequest(operation_id="d7q1"),
    "OperationService/Cancel": CancelOperationRequest(operation_id="d7q1"),
}
ALWAYS_OPEN = {
    "ApiEndpointService/List": ListApiEndpointsRequest(),
    "/grpc.health.v1.Health/Check": HealthCheckRequest(),
    "/emulator.v1.ControlService/Info": b"",
    "IamTokenService/Create": CreateIamTokenRequest(yandex_passport_oauth_token="y0_known"),
}


@pytest.mark.parametrize("method", GUARDED)
def test_every_service_of_the_api_is_guarded(client: Client, method: str) -> None:
    reply = client.call(method, GUARDED[method])
    assert (reply.code, reply.text) == ("UNAUTHENTICATED", NEEDED)


@pytest.mark.parametrize("method", ALWAYS_OPEN)
def test_discovery_health_control_and_tokens_are_not(client: Client, method: str) -> None:
    assert client.call(method, ALWAYS_OPEN[method]).code == "OK"


def test_a_request_is_validated_before_its_caller(client: Client) -> None:
    assert client.complete(asking("Привет", model="")).text == "invalid model_uri"


def test_a_lenient_emulator_asks_for_credentials_all_the_same(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"auth": "required"}, lenient=True))
    assert client.complete(asking("Привет", model="")).text == NEEDED
    assert client.complete(asking("Привет", model=""), metadata=key("any")).code == "OK"


# -- who is known where nothing is listed


@pytest.mark.parametrize("auth", ["required", {}])
def test_a_section_that_lists_nothing_takes_whatever_is_well_formed(serve: Serve, connect: Connect, auth: Any) -> None:
    client = connect(serve({"auth": auth}))

    def code(metadata: list[tuple[str, str]]) -> str:
        return client.complete(asking("Привет"), metadata=metadata).code

    assert [code(m) for m in (key("any-key"), token("t1.any"))] == ["OK", "OK"]
    mixed_up = [key("t1.any"), key("y0_any"), token("any-key"), token("y0_any")]
    assert {code(m) for m in mixed_up} == {"UNAUTHENTICATED"}


def test_a_section_that_lists_anything_knows_nothing_else(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"auth": {"api_keys": ["AQVN-ci"]}}))
    assert client.complete(asking("Привет"), metadata=token("t1.any")).text == INVALID
    create = CreateIamTokenRequest(yandex_passport_oauth_token="y0_any")
    assert client.call("IamTokenService/Create", create).text == "OAuth token is invalid or expired"


def test_without_a_section_everybody_may_call(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    for metadata in ([], [("authorization", "Api-Key")], token("nonsense"), [("authorization", "Basic x")]):
        assert client.complete(asking("Привет"), metadata=metadata).code == "OK"


# -- options


@pytest.mark.parametrize(
    ("options", "shown", "code"),
    [
        ({"require_auth": True}, [], "UNAUTHENTICATED"),
        ({"require_auth": True}, key("any"), "OK"),
        ({"api_key": "AQVN-one"}, key("AQVN-one"), "OK"),
        ({"api_key": ["AQVN-one", "AQVN-two"]}, key("AQVN-two"), "OK"),
        ({"api_key": "AQVN-one"}, key("AQVN-three"), "UNAUTHENTICATED"),
        ({"api_key": "AQVN-one"}, token("t1.any"), "UNAUTHENTICATED"),
        ({"api_key": "AQVN-one"}, [], "UNAUTHENTICATED"),
    ],
)
def test_options_stand_for_a_section(
    serve: Serve, connect: Connect, options: dict[str, Any], shown: Any, code: str
) -> None:
    assert connect(serve(**options)).complete(asking("Привет"), metadata=shown).code == code


def test_keys_of_options_are_known_beside_those_of_the_section(serve: Serve, connect: Connect) -> None:
    fixtures = {"auth": {"api_keys": ["AQVN-one", {"key": "AQVN-two", "status": "revoked"}]}}
    client = connect(serve(fixtures, api_key=["AQVN-two", "AQVN-three"]))
    codes = [client.complete(asking("?"), metadata=key(f"AQVN-{n}")).code for n in ("one", "two", "three", "four")]
    assert codes == ["OK", "UNAUTHENTICATED", "OK", "UNAUTHENTICATED"]


def test_a_layer_opens_what_an_option_has_shut(serve: Serve, connect: Connect) -> None:
    emulator = serve(api_key="AQVN-one")
    client = connect(emulator)
    create = CreateIamTokenRequest(yandex_passport_oauth_token="y0_any")
    with emulator.add({"auth": "open"}):
        assert client.complete(asking("?")).code == "OK"
        assert client.call("IamTokenService/Create", create).code == "OK"
    assert client.complete(asking("?")).code == "UNAUTHENTICATED"
    assert client.call("IamTokenService/Create", create).code == "UNAUTHENTICATED"


def test_the_key_may_follow_a_sessions_name(serve: Serve, connect: Connect) -> None:
    emulator = serve(api_key=["AQVN-ci", "job-2.whole"], session_from="api-key")
    client = connect(emulator)
    codes = [
        client.complete(asking("?"), metadata=key(shown)).code
        for shown in ("AQVN-ci", "job-1.AQVN-ci", "job-2.whole", "job-1.AQVN-no", "job-1.job-2.AQVN-ci")
    ]
    assert codes == ["OK", "OK", "OK", "UNAUTHENTICATED", "UNAUTHENTICATED"]
    assert len(emulator.session("job-1").calls(code="OK")) == 1
    without = connect(serve(api_key="AQVN-ci"))
    assert without.complete(asking("?"), metadata=key("job-1.AQVN-ci")).code == "UNAUTHENTICATED"


# -- time


def test_a_key_expires_on_the_emulators_clock(emulator: Emulator, client: Client) -> None:
    def code(shown: str) -> str:
        return client.complete(asking("Привет"), metadata=key(shown)).code

    assert [code("AQVN-half-a-day"), code("AQVN-january")] == ["OK", "OK"]
    emulator.clock.advance("11h59m59s")
    assert code("AQVN-half-a-day") == "OK"
    emulator.clock.advance("1s")
    assert [code("AQVN-half-a-day"), code("AQVN-january")] == ["UNAUTHENTICATED", "OK"]
    emulator.clock.advance_to("2026-01-31T00:00:00Z")
    assert code("AQVN-january") == "UNAUTHENTICATED"
    (refused, *_) = emulator.calls(code="UNAUTHENTICATED")
    assert "the API key it shows is expired" in refused.behaviour
    emulator.reset("clock")
    assert code("AQVN-half-a-day") == "OK"


# -- operations


def test_an_operation_is_its_creators_and_of_its_folder(emulator: Emulator, client: Client) -> None:
    begun = client.call(ASYNC, asking("Привет"), CI).only
    assert begun.created_by == ACCOUNT
    get = GetOperationRequest(operation_id=begun.id)
    assert client.call(OPERATION, get, CI).only.created_by == ACCOUNT
    assert client.call(OPERATION, get, token("t1.known")).code == "OK"
    assert client.call(OPERATION, get, token("t1.person")).code == "OK"
    refused = client.call(OPERATION, get, key("AQVN-nowhere"))
    assert (refused.code, refused.text) == ("PERMISSION_DENIED", denied("b1gtest"))
    elsewhere = client.call(ASYNC, in_folder("b1gother"), CI).only
    refused = client.call(OPERATION, GetOperationRequest(operation_id=elsewhere.id), token("t1.known"))
    assert (refused.code, refused.text) == ("PERMISSION_DENIED", denied("b1gother"))
    missing = client.call(OPERATION, GetOperationRequest(operation_id="d7q00000000000000000"), CI)
    assert missing.code == "NOT_FOUND"


@pytest.mark.parametrize(
    "method", ["Describe", "Validate", "Delete", "GetDownloadUrls", "GetPreview", "ListOperationsIds"]
)
def test_a_dataset_of_another_folder_is_refused(emulator: Emulator, client: Client, method: str) -> None:
    mine, others = (Datasets(emulator, client, whose) for whose in (token("t1.known"), CI))
    theirs = others.create(folder_id="b1gother")
    fields = {"dataset_id": [theirs] if method == "ListOperationsIds" else theirs}
    assert mine.refused(method, **fields) == f"PERMISSION_DENIED: {denied('b1gother')}"
    assert others.ask("Describe", dataset_id=theirs).dataset.folder_id == "b1gother"
    if method == "Describe":
        assert mine.ask(method, dataset_id=mine.create()).dataset.folder_id == "b1gtest"
        assert mine.refused(method, dataset_id="fds00000000000000000").startswith("NOT_FOUND")


def test_a_batch_over_a_dataset_of_another_folder_is_refused_and_so_is_a_look_at_its_task(
    emulator: Emulator, client: Client
) -> None:
    others = Datasets(emulator, client, CI)
    theirs = others.create(folder_id="b1gother")
    others.upload(theirs, lines("Привет"))
    validation = others.ask("Validate", dataset_id=theirs)
    assert others.ask("Describe", dataset_id=theirs).dataset.created_by_id == ACCOUNT
    refused = client.call(OPERATION, GetOperationRequest(operation_id=validation.id), token("t1.known"))
    assert (refused.code, refused.text) == ("PERMISSION_DENIED", denied("b1gother"))
    emulator.clock.advance("5m")
    run = BatchCompletionRequest(model_uri="gpt://b1gtest/gemma-3-12b-it", source_dataset_id=theirs)
    refused = client.call(BATCH, run, token("t1.known"))
    assert (refused.code, refused.text) == ("PERMISSION_DENIED", denied("b1gother"))
    run.model_uri = "gpt://b1gother/gemma-3-12b-it"
    begun = BatchCompletionMetadata()
    client.call(BATCH, run, CI).only.metadata.Unpack(begun)
    for name in ("Describe", "Cancel", "Delete"):
        request = TASKS[name](task_id=begun.task_id)
        refused = client.call(f"BatchInferenceService/{name}", request, token("t1.known"))
        assert (refused.code, refused.text) == ("PERMISSION_DENIED", denied("b1gother"))
    assert client.call("BatchInferenceService/Describe", TASKS["Describe"](task_id=begun.task_id), CI).code == "OK"


def test_a_key_without_an_account_creates_as_the_sessions_account(
    emulator: Emulator, client: Client, serve: Serve, connect: Connect
) -> None:
    begun = client.call(ASYNC, asking("Привет"), key("AQVN-anyone")).only
    open_ = connect(serve()).call(ASYNC, asking("Привет")).only
    assert begun.created_by == open_.created_by == emulator.sessions.default.account


# -- the journal


def test_the_journal_tells_who_called_and_never_with_what(emulator: Emulator, client: Client) -> None:
    client.complete(asking("Привет"), metadata=CI)
    create = CreateIamTokenRequest(yandex_passport_oauth_token="y0_known")
    issued = client.call("IamTokenService/Create", create).only.iam_token
    client.complete(asking("Привет"), metadata=token(issued))
    client.call("IamTokenService/Create", CreateIamTokenRequest(jwt="eyJ.very.secret"))
    client.call("IamTokenService/Revoke", RevokeIamTokenRequest(iam_token=issued))
    client.call("IamTokenService/Create", b"\x0a\x08y0_known")  # no message: shorter than it says
    client.call("/yandex.cloud.iam.v1.ApiKeyService/Create", b"\x0a\x08y0_known")  # nobody knows what it holds
    calls = emulator.calls()
    assert calls[0].account == ACCOUNT
    assert calls[1].account == calls[2].account != ""
    assert calls[1].request.yandex_passport_oauth_token == "****"
    assert calls[1].replies[0].iam_token == "t1.9****"
    assert calls[1].replies[0].HasField("expires_at")
    told = Controller(client).do("ListCalls", messages=True)
    assert told.calls[0].account == ACCOUNT
    for secret in ("AQVN-ci-0123456789", "y0_known", "very.secret", issued):
        assert secret not in str(told)
        assert not [call for call in calls if secret.encode() in call.entry.request]


# -- layers, sessions, snapshots


def test_a_layer_over_the_files_shuts_and_opens(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"reply": {"text": "Да."}}]})
    client = connect(emulator)

    def code(shown: str = "") -> str:
        return client.complete(asking("?"), metadata=key(shown) if shown else []).code

    assert code() == "OK"
    with emulator.add({"auth": {"api_keys": ["AQVN-test"]}}):
        assert [code(), code("AQVN-test")] == ["UNAUTHENTICATED", "OK"]
        with emulator.add("auth: open\n"):
            assert code() == "OK"
        files = {"auth.yaml": b"auth:\n  api_keys: [AQVN-control]\n"}
        Controller(client).do("AddRules", fixtures={"files": files})
        assert [code("AQVN-test"), code("AQVN-control")] == ["UNAUTHENTICATED", "OK"]
        Controller(client).do("RemoveRules")
    assert code() == "OK"


def test_a_reload_swaps_the_section(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"auth": {"api_keys": ["AQVN-old"]}}))
    assert client.complete(asking("?"), metadata=key("AQVN-old")).code == "OK"
    files = {"auth.yaml": b"auth:\n  api_keys: [AQVN-new]\n"}
    Controller(client).do("ReplaceRules", fixtures={"files": files}, shared=True)
    codes = [client.complete(asking("?"), metadata=key(f"AQVN-{name}")).code for name in ("old", "new")]
    assert codes == ["UNAUTHENTICATED", "OK"]


def test_sessions_have_keys_of_their_own(serve: Serve, connect: Connect) -> None:
    emulator = serve({"auth": {"api_keys": ["AQVN-files"]}})
    client = connect(emulator)
    for name in ("job-1", "job-2"):
        emulator.session(name).add({"auth": {"api_keys": [f"AQVN-{name}"]}})

    def code(session: str, shown: str) -> str:
        return client.complete(asking("?"), metadata=[*key(shown), ("x-emulator-session", session)]).code

    assert [code("job-1", "AQVN-job-1"), code("job-2", "AQVN-job-2"), code("", "AQVN-files")] == ["OK"] * 3
    crossed = [code("job-1", "AQVN-job-2"), code("job-2", "AQVN-files"), code("", "AQVN-job-1")]
    assert crossed == ["UNAUTHENTICATED"] * 3


def test_a_token_is_known_in_the_session_that_issued_it(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"auth": {"oauth_tokens": ["y0_known"]}}))
    create = CreateIamTokenRequest(yandex_passport_oauth_token="y0_known")
    issued = {
        name: client.call("IamTokenService/Create", create, [("x-emulator-session", name)]).only.iam_token
        for name in ("job-1", "job-2")
    }
    assert issued["job-1"] != issued["job-2"]
    for name in issued:
        for owner, shown in issued.items():
            reply = client.complete(asking("?"), metadata=[*token(shown), ("x-emulator-session", name)])
            assert reply.code == ("OK" if owner == name else "UNAUTHENTICATED")


def test_a_snapshot_keeps_what_was_issued_and_revoked(serve: Serve, connect: Connect) -> None:
    fixtures = {"auth": {"iam_tokens": ["t1.listed"], "oauth_tokens": ["y0_known"]}}
    first = serve(fixtures, now="2026-01-01T12:00:00Z", frozen=True)
    client = connect(first)
    create = CreateIamTokenRequest(yandex_passport_oauth_token="y0_known")

    def issue(by: Client) -> str:
        return str(by.call("IamTokenService/Create", create).only.iam_token)

    kept, gone = issue(client), issue(client)
    for ended in (gone, "t1.listed"):
        client.call("IamTokenService/Revoke", RevokeIamTokenRequest(iam_token=ended))
    snapshot = first.snapshot()
    following = issue(client)

    second = serve(now="2030-01-01T12:00:00Z", frozen=True)
    second.restore(snapshot)
    other = connect(second)
    codes = [other.complete(asking("?"), metadata=token(t)).code for t in (kept, gone, "t1.listed", following)]
    assert codes == ["OK", *["UNAUTHENTICATED"] * 3]
    assert issue(other) == following
    assert json.loads(second.snapshot())["iam_tokens"] == json.loads(first.snapshot())["iam_tokens"]
    second.clock.advance("12h")
    assert other.complete(asking("?"), metadata=token(kept)).code == "UNAUTHENTICATED"
    first.reset("iam_tokens")
    assert client.complete(asking("?"), metadata=token(kept)).code == "UNAUTHENTICATED"
    assert issue(client) == kept


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda found: found["iam_tokens"]["kept"][0].pop("account"),
        lambda found: found["iam_tokens"]["kept"][0].update(expires=-1),
        lambda found: found["iam_tokens"].update(issued="many"),
        lambda found: found["clock"].update(began=-5),
    ],
)
def test_a_snapshot_whose_tokens_can_not_be_is_refused(
    emulator: Emulator, client: Client, spoilt: Callable[[Any], Any]
) -> None:
    create = CreateIamTokenForServiceAccountRequest(service_account_id=ACCOUNT)
    issued = client.call("IamTokenService/CreateForServiceAccount", create, CI).only.iam_token
    found = json.loads(emulator.snapshot())
    spoilt(found)
    code, text = Controller(client).refused("Restore", snapshot=json.dumps(found).encode())
    assert (code, "no snapshot that can be restored" in text) == ("INVALID_ARGUMENT", True)
    assert client.complete(asking("?"), metadata=token(issued)).code == "OK"
