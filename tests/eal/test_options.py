# SPDX-License-Identifier: BSD-3-Clause
"""The EAL's command line: grammar, every option, exclusions, and what a wrong word is answered with."""

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal import options
from pollmode.eal.coremap import parse_coremap
from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.eal.grammar import Option
from pollmode.eal.logs import DEBUG, LevelRule
from pollmode.eal.option_table import EXCLUSIONS, OPTIONS


def cpus(text: str) -> dict[int, set[int]]:
    return {lcore: set(on) for lcore, on in parse_coremap(text)}


def test_an_empty_line_gives_the_defaults() -> None:
    parsed = options.parse([])
    assert parsed == options.EalOptions()
    assert (parsed.file_prefix, parsed.proc_type, parsed.lcores, parsed.memory_mb) == ("rte", "primary", None, None)


@pytest.mark.parametrize(
    "words", [["-l", "0-1"], ["-l0-1"], ["--lcores", "0-1"], ["--lcores=0-1"], ["-c", "0x3"], ["-c3"]]
)
def test_every_form_of_a_value_is_read(words: list[str]) -> None:
    assert options.parse(words).lcores == ((0, frozenset({0})), (1, frozenset({1})))


def test_all_supported_options_reach_their_fields() -> None:
    line = (
        "-l 2,3 --main-lcore 3 -n 4 -r2 -m 512 --in-memory --huge-dir /mnt/huge --single-file-segments --iova-mode va "
        "--base-virtaddr 0x100000001 --file-prefix one --proc-type auto --no-pci --no-hpet --no-shconf --no-telemetry "
        "--vdev net_null0,size=64 --vdev=net_null1 -a net_ring0"
    )
    parsed = options.parse(line.split())
    assert parsed.main_lcore == 3
    assert (parsed.memory_channels, parsed.memory_ranks, parsed.memory_mb) == (4, 2, 512)
    assert parsed.in_memory
    assert parsed.single_file_segments
    assert parsed.no_pci
    assert parsed.no_shconf
    assert parsed.telemetry is False
    assert (parsed.huge_dir, parsed.iova_mode, parsed.file_prefix, parsed.proc_type) == (
        "/mnt/huge",
        "va",
        "one",
        "auto",
    )
    assert parsed.base_virtaddr == 0x100000000  # aligned down to 16 MiB
    assert parsed.vdevs == ("net_null0,size=64", "net_null1", "net_ring0")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0-3,8", {0: {0}, 1: {1}, 2: {2}, 3: {3}, 8: {8}}),
        ("(0,1)@2", {0: {2}, 1: {2}}),
        ("0@3", {0: {3}}),
        ("(0-2)@(4-6)", {0: {4, 5, 6}, 1: {4, 5, 6}, 2: {4, 5, 6}}),
        # the example of DPDK's own guide
        (
            "1,2@(5-7),(3-5)@(0,2),(0,6),7-8",
            {0: {0, 6}, 1: {1}, 2: {5, 6, 7}, 3: {0, 2}, 4: {0, 2}, 5: {0, 2}, 6: {0, 6}, 7: {7}, 8: {8}},
        ),
        ("3-1", {1: {1}, 2: {2}, 3: {3}}),
        ("0,0", {0: {0}}),
    ],
)
def test_lcore_syntax(text: str, wanted: dict[int, set[int]]) -> None:
    assert cpus(text) == wanted


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "cannot read ''"),
        ("0,", "cannot read ''"),
        ("a", "cannot read 'a'"),
        ("0-3;8", "cannot read ';8'"),
        ("(0,1", r"cannot read '\(0,1'"),
        ("(,)", "cannot read"),
        ("0@", "cannot read ''"),
        ("128", "lcore 128 is out of range"),
        ("0@1024", "cpu 1024 is out of range"),
        ("0@1,0@2", "lcore 0 is given two different"),
    ],
)
def test_a_wrong_lcore_list_names_the_part_that_is_wrong(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_coremap(text)


@given(st.text(alphabet="0123456789,-@() x", max_size=16))
def test_any_lcore_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        found = parse_coremap(text)
        assert found
        assert all(0 <= lcore < 128 and on for lcore, on in found)


@given(st.sets(st.integers(0, 127), min_size=1))
def test_a_mask_and_a_list_of_the_same_cores_agree(cores: set[int]) -> None:
    mask = options.parse(["-c", hex(sum(1 << core for core in cores))])
    listed = options.parse(["-l", ",".join(map(str, cores))])
    assert mask.lcores == listed.lcores


def test_remapped_lcores_keep_their_cpus() -> None:
    assert options.parse(["-l", "4-5", "-R"]).lcores == ((0, frozenset({4})), (1, frozenset({5})))
    assert options.parse(["-l", "4-5", "--remap-lcore-ids=8"]).lcores == ((8, frozenset({4})), (9, frozenset({5})))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--vdevs net_null0", r"unknown argument --vdevs! \(did you mean '--vdev'\?\)"),
        ("-w 0000:03:00.0", "unknown argument -w! It is called -a"),
        ("--master-lcore 1", "It is called --main-lcore now"),
        ("-l 0 -l 1", "argument -l should not occur multiple times!"),
        ("--no-huge=1", "argument --no-huge should not take value!"),
        ("-m", "argument -m doesn't have value!"),
        ("--huge-dir=", "argument --huge-dir doesn't have value!"),
        ("-m many", "expect an integer value"),
        ("-m 0", "out of range"),
        ("-n 0", "invalid memory channel parameter: it must be 1 to 256, not 0"),
        ("-r 17", "invalid rank parameter: it must be 1 to 16, not 17"),
        ("-c 0xg", "invalid coremask syntax"),
        ("-c 0", "invalid coremask syntax"),
        (f"-c {1 << 128:x}", "lcores are 0 to 127"),
        ("--main-lcore 3 -l 0,1", "Error: Main lcore is not enabled for DPDK"),
        ("--iova-mode pv", "Invalid IOVA mode 'pv', it must be one of pa, va"),
        ("--proc-type primry", r"invalid process type: 'primry'.*did you mean 'primary'"),
        ("--base-virtaddr here", "invalid parameter"),
        ("--base-virtaddr 0x800000000000", "must be below"),
        ("--file-prefix a%b", "must not contain"),
        ("--huge-unlink=maybe", "one of existing, always, never"),
        ("--log-level shout", "Invalid log level"),
        ("--log-level 0", "Invalid log level: '0', levels are 1"),
        ("--log-level lib.eal:9", r"Invalid log level: 'lib.eal:9', levels are 1 \(emergency\) to 8 \(debug\)"),
        ("net_null0", "unexpected argument 'net_null0'"),
        ("-", "unexpected argument '-'"),
        ("--vdev net_null0 --vdev net_null0,size=64", "net_null0 is given twice"),
        ("--vdev ,size=64", "it has no name"),
        ("-R", "needs -l"),
        ("-a 03:00.0 -a 03:00.0,x=1", "device 03:00.0 is given twice"),
        ("--vdev 0000:03:00.0", "that is a PCI device; name it with -a"),
        ("--pci-host quemu:device=vmxnet3", "must be kernel or begin with qemu:"),
        ("-l (0,1)@2 -R", "cannot be used with groups"),
        ("-l 0-3 -R=126", "pass the last id 127"),
    ],
)
def test_a_wrong_word_is_named_in_one_line(line: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as raised:
        options.parse(line.split())
    assert "\n" not in str(raised.value)


VALUES = {
    "lcores": "0",
    "coremask": "1",
    "allow": "net_null0",
    "block": "net_null0",
    "memory-size": "64",
    "numa-mem": "64",
    "pci-host": "kernel",
}


@pytest.mark.parametrize(("one", "other"), [pair for pair in EXCLUSIONS if "auto-probing" not in pair])
def test_options_that_exclude_each_other(one: str, other: str) -> None:
    words = [word for key in (one, other) for word in (f"--{key}", *([VALUES[key]] if key in VALUES else []))]
    with pytest.raises(ConfigError, match=f"Options '{one}' and '{other}' can't be used at the same time"):
        options.parse(words)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.lacking], ids=lambda option: option.key)
def test_an_option_that_is_lacking_says_so(option: Option) -> None:
    words = [option.names[0], *(["1"] if option.value and option.absent is None else [])]
    with pytest.raises(UnsupportedError, match=f"{option.names[0]} is not supported yet"):
        options.parse(words)


@pytest.mark.parametrize(
    "line",
    ["--mbuf-pool-ops-name stack", "--numa-mem 64,64"],
)
def test_a_value_that_is_lacking_says_so(line: str) -> None:
    with pytest.raises(UnsupportedError, match="not supported yet"):
        options.parse(line.split())


def test_memory_of_node_zero_is_the_memory() -> None:
    assert options.parse(["--socket-mem", "256"]).memory_mb == 256


def test_a_blocked_virtual_device_is_not_made() -> None:
    parsed = options.parse(["--vdev", "net_null0", "--vdev", "net_null1", "-b", "net_null0"])
    assert parsed.vdevs == ("net_null1",)
    assert parsed.block == ("net_null0",)


def test_pci_devices_are_named_apart_from_virtual_ones() -> None:
    parsed = options.parse(["-a", "0000:03:00.0,x=1", "-a", "net_null0", "--allow=4:00.1", "-A"])
    assert (parsed.allow, parsed.vdevs) == (("0000:03:00.0,x=1", "4:00.1"), ("net_null0",))
    assert parsed.no_auto_probing
    assert options.parse(["-b", "0000:03:00.0", "-b", "net_null0"]).block == ("0000:03:00.0", "net_null0")


def test_hosts_of_pci_devices_are_kept_in_order() -> None:
    assert options.parse(["--pci-host", "kernel"]).pci_hosts == ("kernel",)
    texts = ("qemu:device=vmxnet3,netdev=hub:0", "qemu:device=virtio-net-pci,netdev=hub:0")
    assert options.parse([f"--pci-host={text}" for text in texts]).pci_hosts == texts


def test_log_options() -> None:
    parsed = options.parse(["--log-level=lib.*:debug", "--log-level", "pmd.*,7", "--log-color", "--log-timestamp=iso"])
    assert parsed.log_levels == (LevelRule("lib.*", DEBUG), LevelRule("pmd.*", 7, regex=True))
    assert (parsed.log_color, parsed.log_timestamp) == ("always", "iso")
    assert options.parse(["--log-level", "help"]).list_log_types


def test_help_and_version_win_over_the_rest() -> None:
    assert options.parse(["-l", "0", "--help"]).help
    assert options.parse(["-v"]).version


def test_the_line_is_split_at_the_first_two_dashes() -> None:
    assert options.split(["-l", "0", "--", "-i", "--", "x"]) == (["-l", "0"], ["-i", "--", "x"])
    assert options.split(["-l", "0"]) == (["-l", "0"], [])


def test_parsing_imports_nothing_heavy() -> None:
    code = "import sys; from pollmode.eal import options; options.parse(['-l', '0']); print(sorted(sys.modules))"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"'numba'", "'numpy'", "'structlog'", "'rich'"} & set(listed.strip("[]\n").split(", "))


def test_the_help_page_names_every_supported_option() -> None:
    forms = " ".join(form for form, _ in options.usage())
    assert "-l, --lcores LIST" in forms
    assert "--log-color[=WHEN]" in forms
    assert "--trace-dir" not in forms
