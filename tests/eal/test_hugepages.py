# SPDX-License-Identifier: BSD-3-Clause
"""Which memory is chosen and why: on machines made of files, and with the hugepages this machine has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pollmode.eal import backing, hugepages
from pollmode.eal.backing import Backing, choose
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.hugepages import HugepagePool, available_memory, format_size, hugepage_pools
from pollmode.eal.memory import Memory
from pollmode.eal.options import EalOptions, parse

MIB = 1 << 20
GIB = 1 << 30

Pools = Callable[..., None]


@pytest.fixture
def pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pools:
    """Make the machine have these hugepages: `pools((kB, total, free, promised), ...)`."""

    def make(*described: tuple[int, int, int, int]) -> None:
        root = tmp_path / "hugepages"
        root.mkdir()
        for kilobytes, total, free, promised in described:
            folder = root / f"hugepages-{kilobytes}kB"
            folder.mkdir()
            for name, value in (("nr", total), ("free", free), ("resv", promised)):
                (folder / f"{name}_hugepages").write_text(f"{value}\n")
        monkeypatch.setattr(hugepages, "_POOLS", root)

    return make


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes and page sizes of the memfds that are asked for; none is made of hugepages, which may not be there."""
    asked: list[tuple[int, int]] = []

    def make(name: str, size: int, page_size: int, kind: str) -> Backing:
        asked.append((size, page_size))
        return Backing(os.open("/dev/null", os.O_RDWR), size, page_size, kind)

    monkeypatch.setattr(backing, "_memfd", make)
    return asked


def kind_of(options: EalOptions) -> str:
    chosen = choose(options)
    chosen.remove()
    return chosen.kind


def test_pools_are_read_largest_pages_first_and_promised_pages_are_not_free(pools: Pools) -> None:
    pools((2048, 100, 60, 10), (1048576, 4, 3, 0))
    assert hugepage_pools() == [HugepagePool(GIB, 4, 3), HugepagePool(2 * MIB, 100, 50)]


def test_a_kernel_without_hugepages_has_no_pools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hugepages, "_POOLS", tmp_path / "none")
    assert hugepage_pools() == []


def test_ordinary_memory_is_taken_when_no_hugepages_are_free(pools: Pools, taken: list[tuple[int, int]]) -> None:
    pools((2048, 8, 0, 0))
    assert kind_of(EalOptions()) == "ordinary memory (no hugepages are free)"
    assert taken == [(2 * GIB, 4096)]


def test_half_of_the_free_hugepages_is_taken(pools: Pools, taken: list[tuple[int, int]]) -> None:
    pools((2048, 800, 700, 0))
    assert kind_of(EalOptions()) == "2 MiB hugepages (memfd)"
    assert taken == [(700 * MIB, 2 * MIB)]


def test_no_more_than_a_gibibyte_of_hugepages_is_taken_unasked(pools: Pools, taken: list[tuple[int, int]]) -> None:
    pools((2048, 50000, 50000, 0))
    choose(EalOptions()).remove()
    assert taken == [(GIB, 2 * MIB)]


def test_few_hugepages_are_left_alone_and_it_says_so(pools: Pools, taken: list[tuple[int, int]]) -> None:
    pools((2048, 100, 100, 0))
    assert kind_of(EalOptions()) == "ordinary memory (100 hugepages of 2 MiB are too few without -m)"


def test_the_size_asked_for_is_rounded_up_to_pages(pools: Pools, taken: list[tuple[int, int]]) -> None:
    pools((2048, 100, 100, 0))
    choose(EalOptions(memory_mb=99)).remove()
    assert taken == [(100 * MIB, 2 * MIB)]


def test_the_largest_pages_that_hold_enough_are_taken(pools: Pools, taken: list[tuple[int, int]]) -> None:
    pools((1048576, 1, 1, 0), (2048, 1100, 1100, 0))
    choose(EalOptions(memory_mb=1024)).remove()
    choose(EalOptions(memory_mb=2048)).remove()
    assert taken == [(GIB, GIB), (2 * GIB, 2 * MIB)]


def test_too_few_hugepages_for_m_is_an_error_with_the_command(pools: Pools) -> None:
    pools((2048, 130, 100, 0))
    with pytest.raises(HostError) as caught:
        choose(EalOptions(memory_mb=512))
    assert str(caught.value).startswith(
        "not enough hugepages: 512 MiB are needed and 100 hugepages of 2 MiB are free; "
    )
    assert "echo 286 | sudo tee " in str(caught.value)
    assert "--no-huge" in str(caught.value)


def test_m_without_any_hugepages_takes_ordinary_memory(pools: Pools, taken: list[tuple[int, int]]) -> None:
    pools((2048, 0, 0, 0))
    choose(EalOptions(memory_mb=64)).remove()
    assert taken == [(64 * MIB, 4096)]


def test_no_huge_leaves_hugepages_alone(pools: Pools, taken: list[tuple[int, int]]) -> None:
    pools((2048, 5000, 5000, 0))
    assert kind_of(EalOptions(no_huge=True)) == "ordinary memory (--no-huge)"


@pytest.mark.parametrize("path", ["/nonexistent", "/proc/self/status"])
def test_a_huge_dir_that_is_no_directory_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=f"--huge-dir {path}: no such directory"):
        choose(parse(["--huge-dir", path]))


@pytest.mark.parametrize(
    ("mounts", "told"),
    [
        ("proc /proc proc rw 0 0\n", "is no mounted hugetlbfs; run: sudo mkdir -p /dev/hugepages && sudo mount"),
        ("none /proc hugetlbfs rw 0 0\n", "is no mounted hugetlbfs, there is /proc"),
    ],
)
def test_a_huge_dir_that_is_no_hugetlbfs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, told: str
) -> None:
    (tmp_path / "mounts").write_text(mounts)
    monkeypatch.setattr(hugepages, "_MOUNTS", tmp_path / "mounts")
    with pytest.raises(HostError) as caught:
        choose(parse(["--huge-dir", str(tmp_path)]))
    assert told in str(caught.value)


def test_huge_unlink_without_a_hugetlbfs_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text("proc /proc proc rw 0 0\n")
    monkeypatch.setattr(hugepages, "_MOUNTS", tmp_path / "mounts")
    with pytest.raises(HostError, match="--huge-unlink=never needs a hugetlbfs and none is mounted; run: sudo mkdir"):
        choose(parse(["--huge-unlink=never"]))


# Available memory


def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cgroup: str, mounts: str) -> Path:
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 8388608 kB\n")
    (tmp_path / "cgroup").write_text(cgroup)
    (tmp_path / "mounts").write_text(mounts)
    monkeypatch.setattr(hugepages, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(hugepages, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(hugepages, "_MOUNTS", tmp_path / "mounts")
    return tmp_path


def limit(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def test_memory_without_cgroups_is_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(tmp_path, monkeypatch, "", "")
    assert available_memory() == 8 * GIB


def test_a_limit_of_a_parent_cgroup_v2_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine(tmp_path, monkeypatch, "0::/pod/box\n", f"cgroup2 {tmp_path}/v2 cgroup2 rw 0 0\n") / "v2"
    limit(root / "pod" / "box", memory__max="max", memory__current="5")
    limit(
        root / "pod", memory__max=str(GIB), memory__current=str(300 * MIB), memory__stat=f"anon 1\ninactive_file {MIB}"
    )
    assert available_memory() == GIB - 300 * MIB + MIB


def test_a_limit_of_cgroup_v1_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = f"cgroup {tmp_path}/cpu cgroup rw,cpu 0 0\ncgroup {tmp_path}/v1 cgroup rw,memory 0 0\n"
    root = machine(tmp_path, monkeypatch, "4:memory:/box\n1:cpu:/\n", mounts) / "v1"
    limit(root / "box", memory__limit_in_bytes=str(GIB), memory__usage_in_bytes=str(GIB - MIB))
    assert available_memory() == MIB


def test_a_cgroup_over_its_limit_has_nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine(tmp_path, monkeypatch, "0::/\n", f"cgroup2 {tmp_path}/v2 cgroup2 rw 0 0\n") / "v2"
    limit(root, memory__max=str(MIB), memory__current=str(2 * MIB))
    assert available_memory() == 0


def test_a_container_that_sees_only_its_own_root_finds_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = machine(tmp_path, monkeypatch, "0::/docker/abc\n", f"cgroup2 {tmp_path}/v2 cgroup2 rw 0 0\n") / "v2"
    limit(root, memory__max=str(64 * MIB), memory__current="0")
    assert available_memory() == 64 * MIB


def test_a_limit_below_m_is_an_error_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine(tmp_path, monkeypatch, "0::/\n", f"cgroup2 {tmp_path}/v2 cgroup2 rw 0 0\n") / "v2"
    limit(root, memory__max=str(64 * MIB), memory__current="0")
    with pytest.raises(HostError, match="-m asks for 128 MiB and 64 MiB are available"):
        choose(EalOptions(no_huge=True, memory_mb=128))


@pytest.mark.parametrize(
    ("limit_file", "usage_file"),
    [("max", "current"), ("rsvd.max", "rsvd.current"), ("limit_in_bytes", "usage_in_bytes")],
)
def test_hugepages_a_cgroup_forbids_are_not_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pools: Pools, limit_file: str, usage_file: str
) -> None:
    version = ("cgroup", "rw,hugetlb") if "bytes" in limit_file else ("cgroup2", "rw")
    lines = "7:hugetlb:/pod\n" if version[0] == "cgroup" else "0::/pod\n"
    root = machine(tmp_path, monkeypatch, lines, f"x {tmp_path}/g {version[0]} {version[1]} 0 0\n") / "g"
    limit(root / "pod", **{f"hugetlb.2MB.{limit_file}": str(12 * MIB), f"hugetlb.2MB.{usage_file}": str(4 * MIB)})
    pools((2048, 1000, 1000, 0), (1048576, 4, 4, 0))
    assert hugepage_pools() == [HugepagePool(GIB, 4, 4), HugepagePool(2 * MIB, 1000, 4)]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (300, "300 B"),
        (2 * MIB, "2 MiB"),
        (3 * GIB, "3 GiB"),
        (MIB * 3 // 2, "1.5 MiB"),
        (96 << 10, "96 KiB"),
    ],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


# Hugepages of this machine

SIZE_MB = 32


@pytest.fixture
def real_pool() -> HugepagePool:
    for pool in hugepage_pools():
        if pool.free_bytes >= 2 * SIZE_MB * MIB and pool.page_size <= SIZE_MB * MIB:
            return pool
    pytest.skip(f"needs {2 * SIZE_MB} MiB of free hugepages: echo {SIZE_MB} | sudo tee /proc/sys/vm/nr_hugepages")


@pytest.fixture
def mount(real_pool: HugepagePool, tmp_path: Path) -> Iterator[Path]:
    option = f"pagesize={real_pool.page_size}"
    made = subprocess.run(
        ["mount", "-t", "hugetlbfs", "-o", option, "none", str(tmp_path)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"needs the right to mount a hugetlbfs: {made.stderr.splitlines()[0]}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def use(memory: Memory) -> None:
    zone = memory.reserve("zone", 3 * MIB)
    view = zone.array("u8", 3 * MIB // 8)
    assert not view.any()
    view[:] = 1
    assert int(view.sum()) == 3 * MIB // 8


def test_a_memfd_of_hugepages_holds_zones(real_pool: HugepagePool) -> None:
    with Memory.create(EalOptions(memory_mb=SIZE_MB)) as memory:
        (region,) = memory.regions()
        assert region.page_size > 4096
        assert region.size == SIZE_MB * MIB
        assert region.address % region.page_size == 0
        use(memory)


def test_hugepages_are_zero_after_a_zone_is_freed(real_pool: HugepagePool) -> None:
    with Memory.create(EalOptions(memory_mb=SIZE_MB)) as memory:
        for _ in range(3):
            use(memory)
            memory.free(memory.lookup("zone"))


def test_hugepages_are_promised_at_the_start(real_pool: HugepagePool) -> None:
    with Memory.create(EalOptions(memory_mb=SIZE_MB)):
        smaps = Path("/proc/self/smaps").read_text()
    entry = smaps[smaps.index("pollmode-rte") :].split("VmFlags:")[1].splitlines()[0].split()
    assert "ht" in entry  # hugetlb
    assert "nr" not in entry  # not MAP_NORESERVE


def test_a_file_in_a_hugetlbfs_goes_with_its_process(mount: Path) -> None:
    with Memory.create(parse(["--huge-dir", str(mount), "-m", str(SIZE_MB), "--single-file-segments"])) as memory:
        assert os.listdir(mount) == ["rtemap_0"]
        use(memory)
    assert os.listdir(mount) == []


def test_huge_unlink_takes_the_name_away_at_once(mount: Path) -> None:
    with Memory.create(parse(["--huge-dir", str(mount), "-m", str(SIZE_MB), "--huge-unlink"])) as memory:
        assert os.listdir(mount) == []
        use(memory)


def test_huge_unlink_never_keeps_the_file_and_uses_it_again(mount: Path) -> None:
    words = ["--huge-dir", str(mount), "-m", str(SIZE_MB), "--huge-unlink=never"]
    with Memory.create(parse(words)) as memory:
        use(memory)
    number = (mount / "rtemap_0").stat().st_ino
    with Memory.create(parse(words)) as memory:
        assert (mount / "rtemap_0").stat().st_ino == number
        use(memory)


def test_in_memory_leaves_no_file_in_the_hugetlbfs(mount: Path) -> None:
    with Memory.create(parse(["--huge-dir", str(mount), "-m", str(SIZE_MB), "--in-memory"])) as memory:
        assert os.listdir(mount) == []
        use(memory)


def test_what_a_dead_process_left_is_removed(mount: Path) -> None:
    (mount / "rtemap_0").touch()
    left = (mount / "rtemap_0").stat().st_ino
    with Memory.create(parse(["--huge-dir", str(mount), "-m", str(SIZE_MB)])):
        assert (mount / "rtemap_0").stat().st_ino != left


def test_a_hugepage_file_in_use_is_not_taken(mount: Path) -> None:
    words = ["--huge-dir", str(mount), "-m", str(SIZE_MB)]
    with Memory.create(parse(words)) as memory:
        with pytest.raises(HostError, match="rtemap_0 is in use; choose another --file-prefix"):
            Memory.create(parse(words))
        use(memory)
    with Memory.create(parse(words)):
        pass


def test_a_mount_smaller_than_asked_for_is_an_error_and_no_signal(real_pool: HugepagePool, tmp_path: Path) -> None:
    option = f"pagesize={real_pool.page_size},size={8 * MIB}"
    if subprocess.run(
        ["mount", "-t", "hugetlbfs", "-o", option, "none", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a hugetlbfs: run the tests with sudo")
    try:
        with pytest.raises(HostError, match=f"not enough hugepages: {SIZE_MB} MiB are needed and 4 hugepages of 2 MiB"):
            Memory.create(parse(["--huge-dir", str(tmp_path), "-m", str(SIZE_MB)]))
        with Memory.create(parse(["--huge-dir", str(tmp_path), "-m", "8"])) as memory:
            use(memory)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_hugetlbfs_of_another_user_is_an_error_with_the_command(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: Path, flags: int, mode: int = 0) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", forbid)
    with pytest.raises(HostError, match=rf"hugepage file {mount}/rtemap_0: Permission denied; run: sudo chown"):
        Memory.create(parse(["--huge-dir", str(mount), "-m", str(SIZE_MB)]))


def test_physical_addresses_are_those_of_the_page_map(real_pool: HugepagePool) -> None:
    if os.geteuid():
        with pytest.raises(HostError, match="for root only"):
            Memory.create(EalOptions(memory_mb=SIZE_MB, iova_mode="pa"))
        return
    with Memory.create(EalOptions(memory_mb=SIZE_MB, iova_mode="pa")) as memory:
        zone = memory.reserve("descriptors", 4096, 4096)
        assert zone.iova not in (0, zone.address)
        assert zone.iova % 4096 == 0
        assert memory.iova(zone.address + 100) == zone.iova + 100
