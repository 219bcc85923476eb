# SPDX-License-Identifier: BSD-3-Clause
"""The answers of telemetry: what DPDK's clients may rely on, whatever they send."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError
from pollmode.eal.telemetry import MAX_OUTPUT, Telemetry


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    commands = Telemetry()
    commands.register("/echo", lambda parameters: parameters, "Returns its parameters")
    return commands


def ask(telemetry: Telemetry, request: str) -> Any:
    (value,) = json.loads(telemetry.answer(request.encode())).values()
    return value


def answered(value: object) -> Any:
    commands = Telemetry()
    commands.register("/x", lambda _: value, "")
    return ask(commands, "/x")


def test_commands_are_listed_by_name_with_their_helps(telemetry: Telemetry) -> None:
    assert ask(telemetry, "/") == ["/", "/echo", "/help", "/info"]
    assert ask(telemetry, "/help,/echo") == {"/echo": "Returns its parameters"}
    assert ask(telemetry, "/help") == "Returns help text for a command. Parameters: string command"
    assert ask(telemetry, "/help,/nope") is None


def test_the_greeting_tells_who_answers(telemetry: Telemetry) -> None:
    info = json.loads(telemetry.greeting())
    assert info == ask(telemetry, "/info")
    assert list(info) == ["version", "pid", "max_output_len"]
    assert info["pid"] == os.getpid()
    assert info["max_output_len"] == 16384


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"/echo", b'{"/echo":null}'),
        (b"/echo,", b'{"/echo":null}'),
        (b"/echo,0", b'{"/echo":"0"}'),
        (b"/echo,0,a=b", b'{"/echo":"0,a=b"}'),
        (b"/echo,,0", b'{"/echo":",0"}'),
        (b",,/echo,0", b'{"/echo":"0"}'),
        (b"/echo,0\0/info", b'{"/echo":"0"}'),
        (b"hello", b'{"hello":null}'),
        (b"/Echo", b'{"/Echo":null}'),
        (b"\0", b'{"none":null}'),
        (b"/" + b"x" * 2000, b'{"/' + b"x" * 55 + b'":null}'),
        (b'"}\\', b'{"\\"}\\\\":null}'),
    ],
)
def test_requests_are_read_as_dpdk_reads_them(telemetry: Telemetry, request_bytes: bytes, answer: bytes) -> None:
    assert telemetry.answer(request_bytes) == answer


@given(st.binary(max_size=3000))
def test_any_bytes_have_a_well_formed_answer(telemetry: Telemetry, request_bytes: bytes) -> None:
    for each in (request_bytes, b"/echo," + request_bytes):
        answer = telemetry.answer(each)
        assert len(answer) < MAX_OUTPUT
        assert len(json.loads(answer)) == 1


def test_values_keep_to_dpdks_limits() -> None:
    assert answered({"k" * 200: "v" * 200}) == {"k" * 127: "v" * 127}
    assert answered("s" * 9000) == "s" * 8191
    assert answered(list(range(600))) == list(range(512))
    assert list(answered({f"k{n}": n for n in range(300)})) == [f"k{n}" for n in range(256)]
    assert answered([[1, 2], ["a"], {"x": [3]}]) == [[1, 2], ["a"], {"x": [3]}]


def test_integers_of_any_kind_are_numbers() -> None:
    assert answered([np.int64(7), True, np.uint64(2**64 - 1), -1]) == [7, 1, 2**64 - 1, -1]


@pytest.mark.parametrize("value", [1.5, object(), {"x": 0.5}, [b"bytes"]])
def test_what_is_no_plain_value_is_null(value: object) -> None:
    assert answered(value) is None


def test_a_command_that_fails_is_null() -> None:
    commands = Telemetry()

    def fail(_: str | None) -> object:
        raise LookupError("it was detached")

    commands.register("/fails", fail, "")
    assert commands.answer(b"/fails,0") == b'{"/fails":null}'


def test_an_answer_that_is_too_long_loses_what_finds_no_room() -> None:
    values = {f"key{n:03}": "v" * 127 for n in range(200)} | {"tail": 1}
    commands = Telemetry()
    commands.register("/x", lambda _: values, "")
    answer = commands.answer(b"/x")
    told = json.loads(answer)["/x"]
    assert MAX_OUTPUT - 200 < len(answer) < MAX_OUTPUT
    # The first ones, and the short one at the end, which still fits.
    assert list(told) == [*list(values)[: len(told) - 1], "tail"]
    assert 100 < len(told) < 200


def test_a_nested_value_fits_or_is_left_out_as_a_whole() -> None:
    told = answered({"a": ["x" * 127] * 100, "b": ["y" * 127] * 100, "c": 3})
    assert told == {"a": ["x" * 127] * 100, "c": 3}


@pytest.mark.parametrize("name", ["echo", "", "/a b", "/a-b", "/é", "/" + "x" * 55])
def test_a_name_that_dpdk_refuses_is_refused(telemetry: Telemetry, name: str) -> None:
    with pytest.raises(ConfigError, match="telemetry command"):
        telemetry.register(name, lambda _: None, "")
    assert name not in ask(telemetry, "/")


@pytest.mark.parametrize(
    ("line", "application"),
    [
        (["/bin/testpmd", "WORDS", "--", "-i", "--rxq=2"], ["-i", "--rxq=2"]),
        (["/bin/testpmd", "--verbose", "WORDS", "--", "-i"], ["-i"]),
        (["/bin/testpmd", "WORDS"], []),
        (["/bin/pytest", "tests", "--", "-x"], []),
    ],
)
def test_the_command_line_is_told(monkeypatch: pytest.MonkeyPatch, line: list[str], application: list[str]) -> None:
    words = ["--in-memory", "--no-huge", "-m", "16", "--no-telemetry"]
    at = line.index("WORDS") if "WORDS" in line else len(line)
    monkeypatch.setattr(sys, "argv", [*line[:at], *(words if at < len(line) else []), *line[at + 1 :]])
    with Environment.start(words) as environment:
        assert ask(environment.telemetry, "/eal/params") == [os.path.basename(line[0]), *words]
        assert ask(environment.telemetry, "/eal/app_params") == application


def test_lcores_are_told(environment: Environment) -> None:
    telemetry = environment.telemetry
    assert ask(telemetry, "/eal/lcore/list") == [0, 1]
    cpus = sorted(os.sched_getaffinity(0))
    assert ask(telemetry, "/eal/lcore/info,1") == {"lcore_id": 1, "socket": 0, "role": "RTE", "cpuset": cpus}
    assert ask(telemetry, "/eal/lcore/usage") == {
        "lcore_ids": [],
        "total_cycles": [],
        "busy_cycles": [],
        "usage_ratio": [],
    }
    for wrong in ("/eal/lcore/info", "/eal/lcore/info,2", "/eal/lcore/info,128", "/eal/lcore/info,x"):
        assert ask(telemetry, wrong) is None


def test_cycles_of_an_lcore_that_counts_them_are_told(environment: Environment) -> None:
    record = environment.lcores[1].record
    record["total_cycles"], record["busy_cycles"] = 800, 300
    told = ask(environment.telemetry, "/eal/lcore/info,1")
    assert (told["total_cycles"], told["busy_cycles"], told["usage_ratio"]) == (800, 300, "37.50%")
    assert ask(environment.telemetry, "/eal/lcore/usage") == {
        "lcore_ids": [1],
        "total_cycles": [800],
        "busy_cycles": [300],
        "usage_ratio": ["37.50%"],
    }


def test_the_heap_adds_up(environment: Environment) -> None:
    telemetry, memory = environment.telemetry, environment.memory
    zones = [memory.reserve(f"zone{n}", 8192) for n in range(3)]
    before = ask(telemetry, "/eal/heap_info,0")
    memory.free(zones[1])
    heap = ask(telemetry, "/eal/heap_info,0")
    assert heap["Heap_size"] == heap["Free_size"] + heap["Alloc_size"] == memory.regions()[0].size
    assert heap["Alloc_size"] == sum(zone.size for zone in memory.zones()) == before["Alloc_size"] - 8192
    assert heap["Free_count"] == before["Free_count"] + 1
    assert heap["Alloc_count"] == len(memory.zones())
    assert ask(telemetry, "/eal/heap_list") == [0]
    assert ask(telemetry, "/eal/heap_info,1") is None
    assert ask(telemetry, "/eal/heap_info") is None


def test_every_zone_is_told_under_a_number_that_stays(environment: Environment) -> None:
    telemetry, memory = environment.telemetry, environment.memory
    first, second = memory.reserve("first", 4096), memory.reserve("second", 5000)
    numbers = ask(telemetry, "/eal/memzone_list")
    names = {ask(telemetry, f"/eal/memzone_info,{number}")["Name"]: number for number in numbers}
    assert list(names) == [zone.name for zone in memory.zones()]
    memory.free(first)
    told = ask(telemetry, f"/eal/memzone_info,{names['second']}")
    assert (told["Name"], told["Length"], told["Address"]) == ("second", second.size, hex(second.address))
    base, size = int(told["Hugepage_base"], 16), told["Hugepage_size"]
    assert base <= second.address < base + size
    assert base + size * told["Hugepage_used"] >= second.address + second.size
    assert ask(telemetry, f"/eal/memzone_info,{names['first']}") is None
    assert ask(telemetry, "/eal/memzone_info") is None


def test_pages_that_zones_are_on_are_told(environment: Environment) -> None:
    telemetry, memory = environment.telemetry, environment.memory
    page = memory.regions()[0].page_size
    zone = memory.reserve("zone", 3 * page, page)
    pages = ask(telemetry, "/eal/memseg_list_info,0")
    assert pages == sorted(set(pages))
    index = (zone.address - memory.regions()[0].address) // page
    assert {index, index + 1, index + 2} <= set(pages)
    told = ask(telemetry, f"/eal/memseg_info,0,{index}")
    assert (told["Start_addr"], told["End_addr"]) == (hex(zone.address), hex(zone.address + page))
    assert ask(telemetry, f"/eal/memseg_info,0,{pages[-1] + 1000}") is None
    assert ask(telemetry, f"/eal/memseg_info,1,{index}") is None
    assert ask(telemetry, "/eal/memseg_info,0") is None
