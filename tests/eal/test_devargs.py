# SPDX-License-Identifier: BSD-3-Clause
"""Device arguments: the text's grammar, and what a driver's declared keys make of it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal import devargs
from pollmode.eal.errors import ConfigError, PollmodeError, UnsupportedError

DECLARED = devargs.Parameters(
    {
        "path": devargs.Parameter(devargs.text(107), required=True),
        "queues": devargs.Parameter(devargs.integer(1, 128), default=1),
        "mrg_rxbuf": devargs.Parameter(devargs.flag, default=True),
        "packed_vq": devargs.Parameter(lacking="packed rings are not part of this release"),
    }
)


def read(text: str) -> dict[str, object]:
    return DECLARED.read(devargs.parse(text))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("net_null0", ("vdev", "net_null0", ())),
        ("vdev:net_null0,size=64", ("vdev", "net_null0", (("size", "64"),))),
        ("net_x0,a=1,,b", ("vdev", "net_x0", (("a", "1"), ("b", None)))),
        ("net_x0,list=[a,b],c=", ("vdev", "net_x0", (("list", "[a,b]"), ("c", "")))),
        ("net_x0,path=/a=b", ("vdev", "net_x0", (("path", "/a=b"),))),
        ("0000:03:00.0", ("pci", "0000:03:00.0", ())),
        ("3:00.0,x=1", ("pci", "3:00.0", (("x", "1"),))),
        ("pci:0000:03:00.0", ("pci", "0000:03:00.0", ())),
    ],
)
def test_the_grammar(text: str, wanted: tuple[str, str, tuple[tuple[str, str | None], ...]]) -> None:
    parsed = devargs.parse(text)
    assert (parsed.bus, parsed.name, parsed.arguments) == wanted
    assert parsed.text == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "it has no name"),
        (",a=1", "it has no name"),
        ("net_x0,=1", "'=1' has no key"),
        ("net_x0,a=[1,2", r"a '\[' is not closed"),
        ("usb:x", "bus 'usb' is unknown"),
        ("n" * 64, "64 characters, at most 63"),
        ("net_x0" + ",k=1" * 33, "33 arguments, at most 32"),
    ],
)
def test_a_text_that_cannot_be_read(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        devargs.parse(text)


def test_the_form_in_layers_is_not_supported_yet() -> None:
    with pytest.raises(UnsupportedError, match="not supported yet"):
        devargs.parse("bus=vdev,name=net_null0/class=eth")


@given(st.text(alphabet="ab=,[]:/.0 ", max_size=24))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(PollmodeError):
        assert devargs.parse(text).name


def test_declared_keys_become_values_and_defaults() -> None:
    assert read("net_v0,path=/tmp/s,queues=0x4") == {
        "path": "/tmp/s",
        "queues": 4,
        "mrg_rxbuf": True,
        "packed_vq": None,
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("net_v0,path=/s,quues=1", r"unknown argument 'quues' \(did you mean 'queues'\?\); it takes"),
        ("net_v0,path=/s,queues=1,queues=2", "'queues' is given twice"),
        ("net_v0,path=/s,queues=0", "queues=0 is not valid: it must be from 1 to 128"),
        ("net_v0,path=/s,queues=129", "it must be from 1 to 128"),
        ("net_v0,path=/s,queues=two", "it must be an integer from 1 to 128"),
        ("net_v0,path=/s,mrg_rxbuf=2", "it must be 0 or 1"),
        ("net_v0,path=/s,queues", "'queues' has no value"),
        ("net_v0,path=/s,queues=", "'queues' has no value"),
        ("net_v0", "'path' is needed"),
        ("net_v0,path=/" + "s" * 107, "it has 108 bytes, at most 107 fit"),
    ],
)
def test_a_wrong_argument_is_named_with_its_device(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as raised:
        read(text)
    assert str(raised.value).startswith("net_v0: ")


def test_a_key_that_is_lacking_says_so() -> None:
    with pytest.raises(UnsupportedError, match="net_v0: argument 'packed_vq' is not supported yet: packed rings"):
        read("net_v0,path=/s,packed_vq=1")
