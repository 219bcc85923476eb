# SPDX-License-Identifier: BSD-3-Clause
"""Verbs that ask the kernel, as compiled code; `_calls_twins` holds them for plain Python."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pollmode.eal.jit._calls_twins import CLOCK_REALTIME
from pollmode.eal.jit._native import I8, I32, I64

NANOSECONDS = 1_000_000_000


def _function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def _or_errno(builder: Any, result: Any) -> Any:
    """Return a call's result, or minus the errno where it is negative."""
    # glibc and musl alike: errno is *__errno_location().
    errno = builder.load(builder.call(_function(builder, "__errno_location", I32.as_pointer()), []), typ=I32)
    failed = builder.icmp_signed("<", result, I64(0))
    return builder.select(failed, builder.neg(builder.sext(errno, I64)), result)


@intrinsic
def send_bytes(typingctx, fd, address, count, flags):
    def codegen(context, builder, signature, args):
        send = _function(builder, "send", I64, I32, I8.as_pointer(), I64, I32)
        fd, address, count, flags = args
        words = [builder.trunc(fd, I32), builder.inttoptr(address, I8.as_pointer()), count, builder.trunc(flags, I32)]
        return _or_errno(builder, builder.call(send, words))

    return types.int64(*[types.int64] * 4), codegen


@intrinsic
def write_bytes_at(typingctx, fd, address, count, offset):
    def codegen(context, builder, signature, args):
        pwrite = _function(builder, "pwrite", I64, I32, I8.as_pointer(), I64, I64)
        fd, address, count, offset = args
        words = [builder.trunc(fd, I32), builder.inttoptr(address, I8.as_pointer()), count, offset]
        return _or_errno(builder, builder.call(pwrite, words))

    return types.int64(*[types.int64] * 4), codegen


@intrinsic
def realtime(typingctx):
    def codegen(context, builder, signature, args):
        timespec = cgutils.alloca_once(builder, ir.ArrayType(I64, 2))
        start = builder.bitcast(timespec, I64.as_pointer())
        builder.call(_function(builder, "clock_gettime", I32, I32, I64.as_pointer()), [I32(CLOCK_REALTIME), start])
        seconds = builder.load(start, typ=I64)
        rest = builder.load(
            builder.inttoptr(builder.add(builder.ptrtoint(start, I64), I64(8)), I64.as_pointer()), typ=I64
        )
        return builder.add(builder.mul(seconds, I64(NANOSECONDS)), rest)

    return types.int64(), codegen
