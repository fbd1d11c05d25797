"""Header compression, held to the examples of RFC 7541, appendix C, and to what it calls errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.transport.http2 import huffman
from emulator.transport.http2.hpack import STATIC, TABLE, Decoder, block, literal

PLAIN = [
    ("828684410f7777772e6578616d706c652e636f6d", 57),
    ("828684be58086e6f2d6361636865", 110),
    ("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", 164),
]
IN_HUFFMANS_CODE = [
    ("828684418cf1e3c2e5f23a6ba0ab90f4ff", 57),
    ("828684be5886a8eb10649cbf", 110),
    ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", 164),
]
REQUESTS = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ],
    [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
]
SMALL = "3fe101"
"""A table of 256 bytes, which the examples of responses have agreed on before."""
RESPONSES = [
    (
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
        "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        222,
    ),
    ("4803333037c1c0bf", "4883640effc1c0bf", 222),
    (
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b"
        "425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af2708"
        "7f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        215,
    ),
]
ANSWERS = [
    [
        (b":status", b"302"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (b"location", b"https://www.example.com"),
    ],
    [
        (b":status", b"307"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (b"location", b"https://www.example.com"),
    ],
    [
        (b":status", b"200"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
        (b"location", b"https://www.example.com"),
        (b"content-encoding", b"gzip"),
        (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
]


@pytest.mark.parametrize("blocks", [PLAIN, IN_HUFFMANS_CODE], ids=["C.3", "C.4"])
def test_requests_in_a_row_are_read_as_the_rfc_has_them(blocks: list[tuple[str, int]]) -> None:
    decoder = Decoder()
    for (raw, size), fields in zip(blocks, REQUESTS, strict=True):
        assert decoder.fields(bytes.fromhex(raw)) == fields
        assert decoder._size == size


@pytest.mark.parametrize("column", [0, 1], ids=["C.5", "C.6"])
def test_fields_go_from_a_small_table_as_the_rfc_has_it(column: int) -> None:
    decoder = Decoder()
    decoder.fields(bytes.fromhex(SMALL))
    for (*raw, size), fields in zip(RESPONSES, ANSWERS, strict=True):
        assert decoder.fields(bytes.fromhex(str(raw[column]))) == fields
        assert decoder._size == size


@pytest.mark.parametrize(
    ("raw", "field", "size"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header"), 55),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path"), 0),
        ("100870617373776f726406736563726574", (b"password", b"secret"), 0),
        ("82", (b":method", b"GET"), 0),
    ],
    ids=["C.2.1", "C.2.2", "C.2.3", "C.2.4"],
)
def test_a_field_of_each_kind_is_read(raw: str, field: tuple[bytes, bytes], size: int) -> None:
    decoder = Decoder()
    assert decoder.fields(bytes.fromhex(raw)) == [field]
    assert decoder._size == size


@pytest.mark.parametrize(
    "raw",
    [
        "80",  # field 0
        "be",  # a field that the table hasn't
        "ff8000",  # the same, of a larger number
        "7e00",  # its name
        "ffffffffffff7f",  # an integer that is too large
        "ff",  # an integer that ends in its middle
        "00",  # no name
        "0003616263",  # no value
        "00036162",  # a name that ends in its middle
        "0001617f",  # a length that does
        "8220",  # a size after a field
        "3fe21f",  # a table of 4,097 bytes
        "0001618100",  # a text whose padding is not of ones
        "00016182ffff",  # of more than 7
        "00016184ffffffff",  # a text with the code that ends texts
    ],
)
def test_what_can_not_be_read_is_an_error(raw: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what exactly is for people
        Decoder().fields(bytes.fromhex(raw))


def test_a_field_larger_than_the_table_empties_it() -> None:
    decoder = Decoder()
    decoder.fields(b"\x40" + literal(b"a", b"b")[1:])
    assert decoder._size == 34
    decoder.fields(b"\x40" + literal(b"a", b"b" * TABLE)[1:])
    assert decoder._size == 0
    with pytest.raises(ValueError, match="names a field"):
        decoder.fields(b"\xbe")


def test_a_table_may_be_made_smaller_and_larger_again() -> None:
    decoder = Decoder()
    decoder.fields(b"\x40" + literal(b"a", b"b")[1:])
    before = decoder.version
    assert decoder.fields(bytes.fromhex("203fe11f82")) == [(b":method", b"GET")]
    assert decoder._size == 0
    assert decoder.version > before


def test_the_version_stays_while_the_table_does() -> None:
    decoder = Decoder()
    decoder.fields(literal(b"a", b"b") + b"\x82")
    assert decoder.version == 0
    decoder.fields(b"\x40" + literal(b"a", b"b")[1:])
    assert decoder.version == 1


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=5))
def test_what_is_written_is_read(fields: list[tuple[bytes, bytes]]) -> None:
    assert Decoder().fields(block(fields)) == fields


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(raw: bytes) -> None:
    decoder = Decoder()
    for _ in range(2):
        try:
            fields = decoder.fields(raw)
        except ValueError:
            return
        assert all(isinstance(name, bytes) and isinstance(value, bytes) for name, value in fields)
        assert decoder._size == sum(len(name) + len(value) + 32 for name, value in decoder._table) <= TABLE


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("", b""),
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        ("9d29ad171863c78f0b97c8e9ae82ae43d3", b"https://www.example.com"),
    ],
)
def test_huffmans_code_is_read(raw: str, text: bytes) -> None:
    assert huffman.decoded(bytes.fromhex(raw)) == text


def test_the_static_table_is_the_rfcs() -> None:
    assert len(STATIC) == 61
    assert STATIC[1] == (b":method", b"GET")
    assert STATIC[15] == (b"accept-encoding", b"gzip, deflate")
    assert STATIC[60] == (b"www-authenticate", b"")
