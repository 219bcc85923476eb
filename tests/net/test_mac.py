# SPDX-License-Identifier: BSD-3-Clause
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal.errors import ConfigError
from pollmode.net import mac

ADDRESS = bytes.fromhex("0123456789ab")


@pytest.mark.parametrize(
    "text",
    [
        "01:23:45:67:89:AB",
        "01:23:45:67:89:ab",
        "1:23:45:67:89:ab",
        "01-23-45-67-89-ab",
        "0123:4567:89ab",
        "0123.4567.89AB",
    ],
)
def test_every_form_of_dpdk_is_read(text):
    assert mac.parse(text) == ADDRESS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "01:23:45:67:89",
        "01:23:45:67:89:ab:cd",
        "01:23:45:67:89:ab:",
        ":01:23:45:67:89:ab",
        "01:23:45:67:89:ag",
        "001:23:45:67:89:ab",
        "01:23-45:67:89:ab",
        "01.23.45.67.89.ab",
        "0123-4567-89ab",
        "0123:4567.89ab",
        "123:4567:89ab",
        "0123:4567",
        "0123456789ab",
        " 01:23:45:67:89:ab",
        "01:23:45:67:89:ab\n",
        "01:23:45:67:89:٣b",
        "-1:23:45:67:89:ab",
    ],
)
def test_anything_else_is_named_in_the_error(text):
    with pytest.raises(ConfigError) as raised:
        mac.parse(text)
    assert repr(text) in str(raised.value)
    assert "xx:xx:xx:xx:xx:xx" in str(raised.value)


def test_written_as_dpdk_writes_it():
    assert mac.format(ADDRESS) == "01:23:45:67:89:AB"


@given(st.binary(min_size=6, max_size=6))
def test_text_and_word_lead_back(address):
    assert mac.parse(mac.format(address)) == address
    assert mac.parse(address.hex("-")) == address
    assert mac.from_word(mac.word(address)) == address


def test_word_has_the_first_byte_lowest():
    assert mac.word(ADDRESS) == 0xAB8967452301


@pytest.mark.parametrize("address", [b"", b"12345", b"1234567"])
@pytest.mark.parametrize("function", [mac.format, mac.word, mac.is_multicast])
def test_other_sizes_are_refused(function, address):
    with pytest.raises(ConfigError, match=f"6 bytes, not {len(address)}"):
        function(address)


@pytest.mark.parametrize("value", [-1, 1 << 48])
def test_word_of_more_than_48_bits_is_refused(value):
    with pytest.raises(ConfigError, match="48 bits"):
        mac.from_word(value)


def test_group_bit_is_the_lowest_of_the_first_byte():
    assert mac.is_multicast(mac.BROADCAST)
    assert mac.is_multicast(mac.parse("01:00:5e:00:00:01"))
    assert not mac.is_multicast(mac.parse("02:00:00:00:00:01"))


def test_random_address_is_a_local_station():
    drawn = {mac.random_local() for _ in range(32)}
    assert len(drawn) > 1
    assert all(len(address) == 6 and address[0] & 3 == 2 for address in drawn)
