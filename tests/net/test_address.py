# SPDX-License-Identifier: BSD-3-Clause
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal.errors import ConfigError
from pollmode.net import address


@given(st.integers(0, 0xFFFFFFFF))
def test_ipv4_text_leads_back_and_is_what_the_c_library_writes(number):
    text = address.format_ipv4(number)
    assert text == socket.inet_ntoa(number.to_bytes(4, "big"))
    assert address.parse_ipv4(text) == number


def test_ipv4_first_octet_is_highest():
    assert address.parse_ipv4("198.18.0.1") == 0xC6120001


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.-4", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", "::1"]
)
def test_ipv4_anything_else_is_named(text):
    with pytest.raises(ConfigError) as raised:
        address.parse_ipv4(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("number", [-1, 1 << 32])
def test_ipv4_number_out_of_range_is_refused(number):
    with pytest.raises(ConfigError, match="32 bits"):
        address.format_ipv4(number)


@given(st.binary(min_size=16, max_size=16))
def test_ipv6_text_leads_back(octets):
    text = address.format_ipv6(octets)
    assert address.parse_ipv6(text) == octets
    assert socket.inet_pton(socket.AF_INET6, text) == octets


def test_ipv6_with_ipv4_tail_is_read():
    assert address.parse_ipv6("::ffff:198.18.0.1") == bytes(10) + b"\xff\xff\xc6\x12\x00\x01"


@pytest.mark.parametrize("text", ["", "1.2.3.4", ":::", "2001:db8", "fe80::1%eth0", "12345::", "::1/64"])
def test_ipv6_anything_else_is_named(text):
    with pytest.raises(ConfigError) as raised:
        address.parse_ipv6(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("size", [0, 4, 15, 17])
def test_ipv6_other_sizes_are_refused(size):
    with pytest.raises(ConfigError, match=f"not {size}"):
        address.format_ipv6(bytes(size))
