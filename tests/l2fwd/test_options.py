# SPDX-License-Identifier: BSD-3-Clause
import subprocess
import sys

import pytest

from pollmode.eal.errors import ConfigError
from pollmode.l2fwd.cli import command_line
from pollmode.l2fwd.options import Options, read_options


def read(mask=None, queues=None, period=None, portmap=None):
    return read_options(mask, queues, period, portmap)


def test_nothing_said_is_dpdks_default():
    assert read() == Options(mask=0, promiscuous=False, queues=1, period=10, mac_updating=True, portmap=None)


@pytest.mark.parametrize(("text", "mask"), [("1", 1), ("0x3", 3), ("0XF", 15), ("ff", 255), ("10", 16)])
def test_mask_is_hexadecimal(text, mask):
    assert read(mask=text).mask == mask


@pytest.mark.parametrize("text", ["", "0", "0x0", "0x", "g", "-1", "3 ", "1.0"])
def test_mask_of_another_kind_is_refused(text):
    with pytest.raises(ConfigError, match="Invalid L2FWD arguments: invalid portmask") as raised:
        read(mask=text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("number", [1, 15])
def test_queue_number_within_bounds(number):
    assert read(queues=str(number)).queues == number


@pytest.mark.parametrize("text", ["0", "16", "-1", "x", "", "1.5"])
def test_queue_number_of_another_kind_is_refused(text):
    with pytest.raises(ConfigError, match=r"invalid queue number.*1 to 15"):
        read(queues=text)


@pytest.mark.parametrize("number", [0, 1, 86399])
def test_period_within_bounds(number):
    assert read(period=str(number)).period == number


@pytest.mark.parametrize("text", ["86400", "-1", "", "1s"])
def test_period_of_another_kind_is_refused(text):
    with pytest.raises(ConfigError, match=r"invalid timer period.*86399"):
        read(period=text)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("(0,1)", ((0, 1),)), ("(0,3),(1,2)", ((0, 3), (1, 2))), (" ( 5 , 5 ) ", ((5, 5),)), ("(0,31)", ((0, 31),))],
)
def test_portmap(text, pairs):
    assert read(portmap=text).portmap == pairs


@pytest.mark.parametrize("text", ["", "0,1", "(0,1", "(0)", "(0,1,2)", "(0,1)(2,3)", "(0,1),", "(a,b)", "(-1,0)"])
def test_portmap_of_another_form_is_refused(text):
    with pytest.raises(ConfigError, match="Invalid config"):
        read(portmap=text)


def test_portmap_beyond_the_port_table_is_refused():
    with pytest.raises(ConfigError, match="names port 32, ports are 0 to 31"):
        read(portmap="(0,32)")


def test_portmap_with_more_pairs_than_ports_is_refused():
    with pytest.raises(ConfigError, match="exceeded max number of port pair params: 17, at most 16"):
        read(portmap=",".join(["(0,1)"] * 17))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--", "--no-mac-update"], "--no-mac-updating"),
        (["--", "-p"], "requires an argument"),
        (["--", "-p", "3", "extra"], "extra"),
        (["--", "-p", "3", "-p", "1"], "-p should not occur multiple times"),
        (["--", "-T", "1", "-T", "1"], "-T should not occur multiple times"),
        (["--", "-P=1"], "No such option"),
    ],
)
def test_wrong_words_are_named(words, told):
    with pytest.raises(ConfigError, match="Invalid L2FWD arguments") as raised:
        command_line(words)
    assert told in str(raised.value)


def test_own_options_before_the_dashes_are_told_where_they_belong():
    with pytest.raises(ConfigError, match=r"unknown argument -p!.*stand behind --"):
        command_line(["-p", "3"])


def test_eal_options_are_checked_before_anything_is_made():
    with pytest.raises(ConfigError, match=r"unknown argument --no-hug!.*--no-huge"):
        command_line(["--no-hug", "--", "-p", "3"])


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--", "--help"], ["--help", "--", "-p", "3"]])
def test_help_names_every_option_and_ends_well(words, capsys):
    assert command_line(words) == 0
    page = capsys.readouterr().out
    for option in ("-p MASK", "-P", "-q NQ", "-T SECONDS", "--no-mac-updating", "--portmap", "--vdev", "--no-huge"):
        assert option in page


def test_help_does_not_load_the_compiler():
    code = (
        "import sys; from pollmode.l2fwd.cli import command_line; command_line(['--help']);"
        "sys.exit('numba' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, stdout=subprocess.DEVNULL)
    assert done.returncode == 0
