"""Both engines, asked the same: what a client sees of the one is what it sees of the other."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

import grpc
import pytest
from robustness.frames import DATA, END_HEADERS, END_STREAM, HEADERS, RawClient, frame

from emulator import Emulator
from emulator.api import METHODS, GetOperationRequest, HealthCheckRequest, message_class
from emulator.config import ENGINES
from emulator.errors import UsageError

from .client import Client, Reply, asking, drawing, eventually, path, tokenizing

T = TypeVar("T")
Check = Callable[[Emulator, Client], T]
COMPLETION = path("TextGenerationService/Completion")
TOKENIZE = path("TokenizerService/Tokenize")
WATCH = path("grpc.health.v1.Health/Watch")
WORDS = "раз два три четыре пять"
RULES: dict[str, Any] = {
    "rules": [
        {"when": {"question": "поток"}, "reply": {"text": WORDS, "stream": {"words": 1}}},
        {
            "when": {"question": "обрыв"},
            "reply": {
                "text": WORDS,
                "stream": {
                    "words": 1,
                    "stop": {"after": 2, "error": {"code": "UNAVAILABLE", "message": "100 % «всё»"}},
                },
            },
        },
        {
            "when": {"question": "квота"},
            "reply": {"error": {"code": "RESOURCE_EXHAUSTED", "message": "позже, 50%\n…", "retry_after": "2s"}},
        },
        {
            "when": {"question": "метаданные"},
            "reply": {"text": "да", "headers": {"x-first": "a b"}, "trailers": {"x-last": "z"}},
        },
        {
            "when": {"question": "вечно"},
            "reply": {"text": WORDS, "stream": {"words": 1, "stall": {"after": 1, "for": "forever"}}},
        },
        {
            "when": {"question": "много"},
            "reply": {"text": {"generate": {"tokens": 3000}}, "stream": {"tokens": 10}},
        },
        {"call": "tokenize", "when": {"text": "медленно"}, "reply": {"tokens": ["a"], "delay": "1h"}},
        {"call": "tokenize", "when": {"text": "скоро"}, "reply": {"tokens": ["a"], "delay": "300ms"}},
        {
            "call": "tokenize",
            "when": {"text": "никак"},
            "reply": {"error": {"code": "ABORTED", "message": "нет"}, "trailers": {"x-last": "z"}},
        },
    ]
}


class Both:
    """An emulator of each engine, made alike, and a client of each."""

    def __init__(self, stack: ExitStack, **options: Any) -> None:
        settings = {"fixtures": RULES, "now": "2026-01-31T12:00:00Z", **options}
        self.emulators = [stack.enter_context(Emulator(engine=engine, **settings)) for engine in ENGINES]
        self.clients = [stack.enter_context(Client(emulator.target)) for emulator in self.emulators]

    def see(self, check: Check[T]) -> T:
        """What `check` gives, of both engines the same."""
        one, other = (check(*pair) for pair in zip(self.emulators, self.clients, strict=True))
        assert one == other
        return one


@pytest.fixture
def both() -> Iterator[Both]:
    with ExitStack() as stack:
        yield Both(stack)


def noted(emulator: Emulator) -> tuple[Any, ...]:
    """What the journal has of the last call, but for the client's port and the times."""
    entry = list(emulator.sessions.default.journal)[-1]
    eventually(lambda: entry.code is not None)
    return entry.method, entry.code, entry.message, entry.metadata, entry.peer.rpartition(":")[0], entry.rule


# -- calls


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        (COMPLETION, asking("привет")),
        (COMPLETION, asking("поток", stream=True)),
        (COMPLETION, asking("обрыв", stream=True)),
        (COMPLETION, asking("много", stream=True)),
        (COMPLETION, asking("квота")),
        (COMPLETION, asking("квота", stream=True)),
        (COMPLETION, asking("метаданные")),
        (COMPLETION, asking("метаданные", stream=True)),
        (COMPLETION, asking()),
        (COMPLETION, b"\xff\xff"),
        (COMPLETION, b""),
        (COMPLETION, b"x" * (5 << 20)),
        (TOKENIZE, tokenizing()),
        (TOKENIZE, tokenizing("никак")),
        (TOKENIZE, b"\xff\xff"),
        (TOKENIZE, b"x" * (5 << 20)),
        ("TextGenerationAsyncService/Completion", asking("привет")),
        ("ImageGenerationAsyncService/Generate", drawing()),
        ("OperationService/Get", GetOperationRequest(operation_id="fbvnone")),
        ("grpc.health.v1.Health/Check", HealthCheckRequest()),
        ("grpc.health.v1.Health/Check", HealthCheckRequest(service="no.Such")),
        ("emulator.v1.ControlService/ListCalls", METHODS["/emulator.v1.ControlService/ListCalls"].input()),
        ("/yandex.cloud.ai.foundation_models.v1.TokenizerService/Tokenise", tokenizing()),
        ("/no.such.Service/Method", b"anything"),
        ("/no.such.Service/Method%20?a=b", b""),
        ("/", b""),
    ],
    ids=lambda value: value.rpartition(".")[2] if isinstance(value, str) else repr(value)[:30],
)
def test_a_call_is_answered_the_same(both: Both, method: str, request_: Any) -> None:
    def check(emulator: Emulator, client: Client) -> tuple[Reply, Any]:
        reply = client.call(method, request_)
        return reply, None if method.startswith(("grpc", "emulator")) else noted(emulator)

    both.see(check)


def test_an_operation_is_the_same_to_its_end(both: Both) -> None:
    def check(emulator: Emulator, client: Client) -> list[bytes]:
        begun = client.call("TextGenerationAsyncService/Completion", asking("привет")).only
        return [emulator.clock.advance("1h"), client.operation(begun.id).response.value]

    assert both.see(check)[1]


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-client-request-id", "6f1d2b1e-0000-4000-8000-000000000001")],
        [("x-twice", "a"), ("x-twice", "b"), ("authorization", "Bearer secret")],
        [("x-data-bin", b"\x00\xff\xfe"), ("x-data-bin", b""), ("x-more-bin", "да".encode())],
        [("x-much", "a" * 60_000)],
        [(f"x-{i}", "a" * 50) for i in range(100)],
    ],
    ids=lambda pairs: pairs[0][0],
)
def test_metadata_arrives_the_same(both: Both, metadata: list[tuple[str, Any]]) -> None:
    def check(emulator: Emulator, client: Client) -> tuple[Reply, Any]:
        return client.complete(asking("?"), metadata=metadata), noted(emulator)

    assert both.see(check)[0].code == "OK"


def test_metadata_without_measure_is_refused(both: Both) -> None:
    assert both.see(lambda _, client: client.complete(asking("?"), metadata=[("x-a", "a" * 300_000)]).code) == (
        "RESOURCE_EXHAUSTED"
    )


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("size", [10, 100_000])
def test_requests_may_be_compressed(both: Both, compression: grpc.Compression, size: int) -> None:
    request = tokenizing("слово " * (size // 6)).SerializeToString()

    def check(emulator: Emulator, client: Client) -> tuple[bytes, Any]:
        call = client.channel.unary_unary(TOKENIZE, None, None)
        return call(request, compression=compression, timeout=20), noted(emulator)

    assert both.see(check)[0]


def test_a_request_that_unpacks_to_more_than_is_taken_is_refused(both: Both) -> None:
    bomb = gzip.compress(bytes(80 << 20))

    def check(emulator: Emulator, _: Client) -> bool:
        client = RawClient(emulator.target)
        head = [(b"grpc-encoding", b"gzip")]
        client.socket.sendall(_headers(TOKENIZE, head) + frame(DATA, END_STREAM, 1, _compressed(bomb)[: 1 << 14]))
        client.close()
        reply = Client(emulator.target)
        with reply:
            call = reply.channel.unary_unary(TOKENIZE, None, None)
            with pytest.raises(grpc.RpcError) as refused:
                call(bytes(80 << 20), compression=grpc.Compression.Gzip, timeout=20)
        return bool(refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED)

    assert both.see(check)


def test_the_control_api_takes_messages_of_64_mebibytes(both: Both) -> None:
    method = METHODS["/emulator.v1.ControlService/Restore"]

    def check(_: Emulator, client: Client) -> list[tuple[str, str]]:
        whole = method.input(snapshot=bytes((64 << 20) - 16)).SerializeToString()
        over = method.input(snapshot=bytes(64 << 20)).SerializeToString()
        replies = [client.call(method.path, raw, timeout=60) for raw in (whole, over)]
        return [(reply.code, reply.text.removeprefix("CLIENT: ").removeprefix("SERVER: ")) for reply in replies]

    taken, refused = both.see(check)
    assert taken[0] == "INVALID_ARGUMENT"
    assert refused[0] == "RESOURCE_EXHAUSTED"


def test_reflection_answers_each_question_as_it_comes(both: Both) -> None:
    request = message_class("grpc.reflection.v1.ServerReflectionRequest")

    def check(_: Emulator, client: Client) -> list[bytes]:
        got: list[bytes] = []

        def asked() -> Iterator[bytes]:
            yield request(list_services="*").SerializeToString()
            eventually(lambda: got)
            yield request(file_containing_symbol="yandex.cloud.operation.Operation").SerializeToString()

        answers = client.bidirectional("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", asked())
        for answer in answers:
            got.append(answer)  # noqa: PERF402 - the second question waits for it
        return got

    assert len(both.see(check)) == 2


# -- how calls end


@pytest.mark.parametrize("method", [COMPLETION, TOKENIZE])
def test_a_deadline_reaches_the_call(both: Both, method: str) -> None:
    request = asking("вечно", stream=True) if method == COMPLETION else tokenizing("медленно")

    def check(emulator: Emulator, client: Client) -> tuple[str, Any]:
        return client.call(method, request, timeout=0.3).code, noted(emulator)[1:3]

    assert both.see(check)[0] == "DEADLINE_EXCEEDED"


def test_a_deadline_that_only_the_server_keeps_is_kept(both: Both) -> None:
    def check(emulator: Emulator, _: Client) -> Any:
        client = RawClient(emulator.target)
        client.begin(TOKENIZE, [tokenizing("медленно").SerializeToString()], [(b"grpc-timeout", b"200m")])
        client.ending()
        client.close()
        return noted(emulator)[1:3]

    assert both.see(check) == ("DEADLINE_EXCEEDED", "the client's deadline passed")


@pytest.mark.parametrize("method", [COMPLETION, TOKENIZE])
def test_a_client_that_leaves_ends_its_call(both: Both, method: str) -> None:
    request = asking("вечно", stream=True) if method == COMPLETION else tokenizing("медленно")

    def check(emulator: Emulator, client: Client) -> Any:
        call = client.begin(method, request)
        eventually(lambda: emulator.clock.sleepers)
        call.cancel()
        return noted(emulator)[1:3]

    assert both.see(check) == ("CANCELLED", "the client left")


def test_a_slow_reader_gets_everything_in_order(both: Both) -> None:
    def check(_: Emulator, client: Client) -> list[bytes]:
        call = client.begin(COMPLETION, asking("много", stream=True))
        first = [next(call) for _ in range(3)]
        return [*first, *call]

    assert len(both.see(check)) > 100


@pytest.mark.parametrize("engine", ENGINES)
def test_calls_under_way_finish_when_it_stops_and_endless_ones_are_ended(engine: str) -> None:
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        with Emulator(RULES, engine=engine) as emulator:
            client = stack.enter_context(Client(emulator.target))
            endless = client.begin(COMPLETION, asking("вечно", stream=True))
            next(endless)
            soon = pool.submit(client.call, TOKENIZE, tokenizing("скоро"))
            watching = client.begin(WATCH, HealthCheckRequest())
            next(watching)
            eventually(lambda: len(emulator.sessions.default.journal) == 2)
        assert soon.result().code == "OK"
        for call in (endless, watching):
            with pytest.raises(grpc.RpcError):
                list(call)
            assert call.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("engine", ENGINES)
def test_a_client_that_never_reads_is_cut_off_by_the_stop(engine: str) -> None:
    emulator = Emulator(
        {"rules": [{"reply": {"text": {"generate": {"tokens": 20000}}, "stream": {"tokens": 10}}}]}, engine=engine
    )
    with ExitStack() as stack:
        stack.enter_context(emulator)
        silent = RawClient(emulator.target, window=10)
        silent.begin(COMPLETION, [asking("?", stream=True).SerializeToString()])
        eventually(lambda: len(emulator.sessions.default.journal))
        stack.pop_all()
    emulator.__exit__(KeyboardInterrupt, None, None)
    (entry,) = emulator.sessions.default.journal
    assert entry.code == "CANCELLED"
    silent.close()


# -- what no library would send


def _headers(method: str, more: list[tuple[bytes, bytes]], type_: bytes = b"application/grpc") -> bytes:
    from robustness.frames import literal

    pairs = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", method.encode()),
        (b":authority", b"localhost"),
        (b"content-type", type_),
        (b"te", b"trailers"),
        *more,
    ]
    return frame(HEADERS, END_HEADERS, 1, b"".join(literal(*pair) for pair in pairs))


def _compressed(raw: bytes) -> bytes:
    return b"\1" + len(raw).to_bytes(4, "big") + raw


@pytest.mark.parametrize(
    ("body", "encoding", "ended"),
    [
        (_compressed(b"no gzip"), b"gzip", b"13"),
        (_compressed(zlib.compress(b"x" * 100)[:-6]), b"deflate", b"13"),
        (_compressed(b"x"), b"snappy", b"12"),
        (_compressed(b"x"), None, b"13"),
        (b"\0\0\0\0\5x", None, b"13"),
        (b"", None, b"13"),
        (b"\0\xff\xff\xff\xff", None, b"8"),
    ],
)
def test_a_message_that_is_none_ends_the_call(body: bytes, encoding: bytes | None, ended: bytes) -> None:
    """On the native engine, where this is ours; grpc.aio has answers of its own."""
    with Emulator(engine="native") as emulator:
        client = RawClient(emulator.target)
        more = [] if encoding is None else [(b"grpc-encoding", encoding)]
        client.socket.sendall(_headers(TOKENIZE, more) + frame(DATA, END_STREAM, 1, body))
        # A header of so few characters is written as it is, with its length before it.
        assert bytes((len(ended),)) + ended in client.ending()
        client.close()
        with Client(emulator.target) as other:
            assert other.call(TOKENIZE, tokenizing()).code == "OK"


def test_a_request_that_is_not_grpc_is_turned_away() -> None:
    with Emulator(engine="native") as emulator:
        client = RawClient(emulator.target)
        client.socket.sendall(_headers("/", [], b"text/html") + frame(DATA, END_STREAM, 1, b""))
        assert b"this port speaks gRPC" in client.ending()
        client.close()


# -- listeners


@pytest.mark.parametrize("engine", ENGINES)
def test_both_loopbacks_are_served_and_the_peer_is_told(engine: str) -> None:
    with Emulator(engine=engine, frozen=True) as emulator:
        for host, peer in (("127.0.0.1", "ipv4:127.0.0.1"), ("[::1]", "ipv6:%5B::1%5D")):
            with Client(f"{host}:{emulator.port}") as client:
                assert client.call(TOKENIZE, tokenizing()).code == "OK"
            assert noted(emulator)[4] == peer


@pytest.mark.parametrize("engine", ENGINES)
def test_a_port_that_is_taken_is_told(engine: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} on 127.0.0.1 is taken"), Emulator(engine=engine, port=port):
            pass


def test_tls_is_the_same() -> None:
    with ExitStack() as stack:
        both = Both(stack, tls=True)

        def check(emulator: Emulator, _: Client) -> tuple[list[bytes], Any]:
            assert emulator.ca is not None
            assert emulator.tls_target is not None
            credentials = grpc.ssl_channel_credentials(emulator.ca.read_bytes())
            with grpc.secure_channel(emulator.tls_target, credentials) as channel:
                call = channel.unary_stream(COMPLETION, None, None)
                raw = asking("поток", stream=True).SerializeToString()
                endpoint = channel.unary_unary(path("ApiEndpointService/List"), None, None)(b"", timeout=20)
                return list(call(raw, timeout=20)), f"localhost:{emulator.tls_port}".encode() in endpoint

        assert both.see(check)[1]
