# SPDX-License-Identifier: BSD-3-Clause
"""This Python and what some imports load, as files for a guest: no image, no package, no network.

An emulated CPU takes seconds to import what a program needs. So one process in the guest imports it once, and each
program runs in a fork of that.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from support.guest import Guest
from support.initramfs import libraries

TELL = """
import json, os, sys
loaded = [module for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
print(json.dumps([sys.path, [[module.__file__, getattr(module, "__cached__", None)] for module in loaded]]))
"""


SERVE = """
import importlib, os, pkgutil, runpy, shlex, sys

while True:
    with open("/tmp/asked") as asked:
        words = shlex.split(asked.read())
    child = os.fork()
    if not child:
        break
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open("/tmp/told", "w") as told:
        print(code, file=told)
for number, path in ((1, "/tmp/out"), (2, "/tmp/err")):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
sys.argv = words
if words[0].startswith("/"):
    runpy.run_path(words[0], run_name="__main__")
else:
    importlib.import_module(f"{words[0]}.__main__").main()
"""
START = "mkfifo /tmp/asked /tmp/told; {python} /serve.py </dev/null >/dev/console 2>&1 &"
"""The line of shell that starts it; `run_in_guest` then asks it."""


def run_in_guest(guest: Guest, words: str) -> tuple[int, str, str]:
    """Run a package's command or, by its path, a script; return its exit code, and what it printed on both outputs."""
    guest.run(f"echo {shlex.quote(words)} >/tmp/asked")
    text = guest.run("read code </tmp/told; echo $code; cat /tmp/out; echo @errors; cat /tmp/err")
    code, _, rest = text.partition("\n")
    printed, _, errors = rest.partition("@errors\n")
    return int(code), printed, errors


def python_files(imports: str) -> tuple[str, dict[str, bytes]]:
    """Return the line of shell that starts the process in the guest, and the files it needs.

    `imports` is a program that loads all that will be used there; it prints nothing.
    """
    tell = f"import pkgutil, runpy, shlex\n{imports}{TELL}"
    told = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout
    path, modules = json.loads(told)
    program = str(Path(sys.executable).resolve())
    files = {program: Path(program).read_bytes(), "/serve.py": (imports + SERVE).encode()}
    shared = {program}
    for file, cached in modules:
        if not Path(file).exists():
            continue
        files[file] = Path(file).read_bytes()
        if file.endswith(".so"):
            shared.add(file)
        if cached and Path(cached).exists():
            code = Path(cached).read_bytes()  # PEP 552: magic, flags, time, size; a guest's files are of time 0
            files[cached] = code[:8] + bytes(4) + code[12:]
    for binary in shared:
        files.update((library, Path(library).read_bytes()) for library in libraries(binary))
    used = [folder for folder in path if folder and any(name.startswith(f"{folder}/") for name in files)]
    python = f"PYTHONUTF8=1 PYTHONHOME={sys.base_prefix} PYTHONPATH={':'.join(used)} {program} -S"
    return START.format(python=python), {name.lstrip("/"): content for name, content in files.items()}
