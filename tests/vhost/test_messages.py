# SPDX-License-Identifier: BSD-3-Clause
"""Golden bytes of the messages, both ways, and their text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.vhost.faults import MalformedMessage
from pollmode.vhost.handlers import HANDLERS
from pollmode.vhost.messages import (
    NEEDS,
    REFUSED,
    RULES,
    RegionEntry,
    Request,
    describe,
    pack_region,
    pack_table,
    protocol_names,
    request_name,
    unpack_region,
    unpack_table,
)

ONE = RegionEntry(0x1122334455667788, 0x1000, 0x7F0000000000, 0x2000)
ONE_BYTES = bytes.fromhex("8877665544332211 0010000000000000 00000000007f0000 0020000000000000")


def test_memory_table_has_count_padding_and_32_bytes_a_region():
    assert pack_table([ONE]) == bytes.fromhex("01000000 00000000") + ONE_BYTES
    assert unpack_table(pack_table([ONE, ONE])) == [ONE, ONE]


def test_single_region_follows_eight_bytes_of_padding():
    assert pack_region(ONE) == bytes(8) + ONE_BYTES
    assert unpack_region(pack_region(ONE)) == ONE


@pytest.mark.parametrize("payload", [bytes(8), b"\x09" + bytes(7 + 32 * 9), b"\x02" + bytes(39), b"\xff" * 40])
def test_table_whose_count_is_not_its_size_is_malformed(payload):
    with pytest.raises(MalformedMessage, match="memory regions in a payload"):
        unpack_table(payload)


def test_every_message_is_served_or_refused_by_name():
    assert set(HANDLERS) == set(RULES)
    assert set(HANDLERS) | set(REFUSED) == set(Request)
    assert not set(HANDLERS) & set(REFUSED)
    assert set(NEEDS) <= set(RULES)


@pytest.mark.parametrize(
    ("request_", "payload", "text"),
    [
        (Request.SET_VRING_NUM, "0100000000010000", "SET_VRING_NUM(index=1, num=256)"),
        (Request.SET_VRING_KICK, "0301000000000000", "SET_VRING_KICK(index=3, no fd)"),
        (Request.SET_VRING_CALL, "0300000000000000", "SET_VRING_CALL(index=3)"),
        (Request.SET_FEATURES, "0000000001000000", "SET_FEATURES(0x100000000)"),
        (Request.GET_FEATURES, "", "GET_FEATURES()"),
        (99, "00", "request 99(00)"),
    ],
)
def test_messages_are_decoded_for_people(request_, payload, text):
    assert describe(request_, 1, bytes.fromhex(payload), 0) == text


def test_description_tells_addresses_descriptors_and_flags():
    text = describe(Request.SET_MEM_TABLE, 9, pack_table([ONE]), 1)
    assert "count=1" in text
    assert "guest 0x1122334455667788" in text
    assert text.endswith("fds=1 need_reply")


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1), st.binary(max_size=300), st.integers(0, 9))
def test_description_never_fails(request_, flags, payload, fds):
    assert request_name(request_) in describe(request_, flags, payload, fds)


@given(st.sampled_from(sorted(RULES)), st.binary(min_size=8, max_size=264))
def test_description_never_fails_for_known_messages(request_, payload):
    assert describe(request_, 1, payload, 0).startswith(Request(request_).name)


def test_protocol_features_are_named():
    assert protocol_names(0b1001 | 1 << 40) == "MQ REPLY_ACK bit40"
    assert protocol_names(0) == "none"
