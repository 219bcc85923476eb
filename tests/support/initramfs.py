# SPDX-License-Identifier: BSD-3-Clause
"""The file system a guest starts from: busybox, ethtool, the kernel's own driver modules and commands from the console.

Not compressed: under an emulated CPU unpacking takes longer than copying.
"""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

READY = "@ready"
"""What the guest prints when it has booted."""
DONE = "@done"
"""What the guest prints, before its exit status, when it has run a line."""

PROGRAMS = ("busybox", "ethtool")
MODULES = ("virtio_pci", "virtio_net")
FOLDERS = ("dev", "proc", "sys", "tmp")

INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
stty -echo
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
ip link set lo up
echo {READY}
while read -r line; do eval "$line" 2>&1; echo {DONE} $?; done
"""


def find_program(name: str) -> str | None:
    """Return the path of an installed program, also of one for administrators."""
    return shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")


def make_initramfs(
    kernel: Path,
    *,
    programs: Sequence[str] = PROGRAMS,
    modules: Sequence[str] = MODULES,
    files: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return the archive for a guest of the unpacked kernel package `kernel`; `files` are further ones by path."""
    files = {"init": INIT.encode(), **(files or {})}
    for name in programs:
        program = find_program(name)
        assert program, f"{name} is not installed"
        files[f"bin/{name}"] = Path(program).read_bytes()
        files.update((library.lstrip("/"), Path(library).read_bytes()) for library in libraries(program))
    images = module_images(kernel, modules)
    files.update((f"modules/{name}.ko", image) for name, image in images.items())
    files["modules/order"] = " ".join(images).encode()
    return _archive(files)


def libraries(program: str) -> list[str]:
    """Return the paths of the shared libraries that a program or a library asks for."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listed)


def module_images(kernel: Path, modules: Sequence[str]) -> dict[str, bytes]:
    """Return modules and what they depend on by name, each behind what it needs."""
    paths = {path.name.split(".")[0].replace("-", "_"): path for path in kernel.glob("**/kernel/**/*.ko*")}
    found: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in found or name not in paths:  # what is not a module is in the kernel itself
            return
        image = paths[name].read_bytes()
        image = lzma.decompress(image) if paths[name].suffix == ".xz" else image
        needs = re.search(rb"\0depends=([^\0]*)\0", image)
        for needed in needs[1].decode().split(",") if needs else []:
            add(needed.replace("-", "_"))
        found[name] = image

    for name in modules:
        add(name)
    return found


def _archive(files: dict[str, bytes]) -> bytes:
    """Return the files, and the folders above them, in the kernel's archive format (cpio, "newc")."""
    folders = {str(folder) for file in files for folder in Path(file).parents} - {"."}
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in sorted(folders | set(FOLDERS))]
    entries += [(name, stat.S_IFREG | 0o755, content) for name, content in files.items()]
    archive = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)
