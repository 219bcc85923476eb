# SPDX-License-Identifier: BSD-3-Clause
"""The verbs as compiled code: loads, stores, orderings and copies by address, written in LLVM's terms.

Each verb is a numba intrinsic over int64. `_twins` holds the same verbs for plain Python, with the same names.

llvmlite's `store_atomic` and `load_atomic` want a typed pointer; narrow loads are zero-extended to 64 bits, narrow
stores truncate. Inline assembly is avoided: it aborts the process unless the native parser was set up first.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from pollmode.eal.jit._linking import linked

I64 = ir.IntType(64)
I32 = ir.IntType(32)
I8 = ir.IntType(8)


def _pointer(builder: Any, address: Any, to: Any) -> Any:
    return builder.inttoptr(address, to.as_pointer())


def _widened(builder: Any, value: Any, bits: int) -> Any:
    return builder.zext(value, I64) if bits < 64 else value


def _narrowed(builder: Any, value: Any, bits: int) -> Any:
    return builder.trunc(value, ir.IntType(bits)) if bits < 64 else value


def _load(bits: int, ordering: str | None) -> Any:
    kind = ir.IntType(bits)

    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, args):
            pointer = _pointer(builder, args[0], kind)
            if ordering:
                value = builder.load_atomic(pointer, ordering, bits // 8, typ=kind)
            else:
                value = builder.load(pointer, typ=kind, align=1)
            return _widened(builder, value, bits)

        return types.int64(types.int64), codegen

    return load


def _store(bits: int, ordering: str | None) -> Any:
    kind = ir.IntType(bits)

    @intrinsic
    def store(typingctx, address, value):
        def codegen(context, builder, signature, args):
            pointer = _pointer(builder, args[0], kind)
            narrow = _narrowed(builder, args[1], bits)
            if ordering:
                builder.store_atomic(narrow, pointer, ordering, bits // 8)
            else:
                builder.store(narrow, pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return store


load8, load16, load32, load64 = (_load(bits, None) for bits in (8, 16, 32, 64))
store8, store16, store32, store64 = (_store(bits, None) for bits in (8, 16, 32, 64))
load_acquire16, load_acquire32, load_acquire64 = (_load(bits, "acquire") for bits in (16, 32, 64))
load_relaxed8, load_relaxed16, load_relaxed32, load_relaxed64 = (_load(b, "monotonic") for b in (8, 16, 32, 64))
store_release16, store_release32, store_release64 = (_store(bits, "release") for bits in (16, 32, 64))
store_relaxed16, store_relaxed32, store_relaxed64 = (_store(bits, "monotonic") for bits in (16, 32, 64))


def _fence(ordering: str) -> Any:
    @intrinsic
    def fence(typingctx):
        def codegen(context, builder, signature, args):
            builder.fence(ordering)
            return context.get_dummy_value()

        return types.void(), codegen

    return fence


fence, fence_acquire, fence_release = (_fence(ordering) for ordering in ("seq_cst", "acquire", "release"))


def _compare_exchange(bits: int) -> Any:
    kind = ir.IntType(bits)

    @intrinsic
    def compare_exchange(typingctx, address, old, new):
        def codegen(context, builder, signature, args):
            pointer = _pointer(builder, args[0], kind)
            expected, wanted = (_narrowed(builder, value, bits) for value in args[1:])
            pair = builder.cmpxchg(pointer, expected, wanted, "seq_cst", "seq_cst")
            return builder.zext(builder.extract_value(pair, 1), I64)

        return types.int64(types.int64, types.int64, types.int64), codegen

    return compare_exchange


def _read_modify_write(operation: str, bits: int) -> Any:
    kind = ir.IntType(bits)

    @intrinsic
    def read_modify_write(typingctx, address, value):
        def codegen(context, builder, signature, args):
            pointer = _pointer(builder, args[0], kind)
            old = builder.atomic_rmw(operation, pointer, _narrowed(builder, args[1], bits), "seq_cst")
            return _widened(builder, old, bits)

        return types.int64(types.int64, types.int64), codegen

    return read_modify_write


compare_exchange32, compare_exchange64 = (_compare_exchange(bits) for bits in (32, 64))
exchange32, exchange64 = (_read_modify_write("xchg", bits) for bits in (32, 64))
fetch_add16, fetch_add32, fetch_add64 = (_read_modify_write("add", bits) for bits in (16, 32, 64))


@intrinsic
def pause(typingctx):
    """Tell the core that this is a spin: x86 PAUSE, an ISB-like hint or nothing elsewhere."""

    def codegen(context, builder, signature, args):
        if "x86" in builder.module.triple:
            builder.call(
                cgutils.get_or_insert_function(
                    builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
                ),
                [],
            )
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def yield_cpu(typingctx):
    """Let another thread run on this cpu: sched_yield."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(I32, [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def cycles(typingctx):
    """Read the cycle counter."""

    def codegen(context, builder, signature, args):
        counter = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I64, []), "llvm.readcyclecounter")
        return builder.call(counter, [])

    return types.int64(), codegen


def _prefetch(write: int) -> Any:
    @intrinsic
    def prefetch(typingctx, address):
        def codegen(context, builder, signature, args):
            pointer = _pointer(builder, args[0], I8)
            kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(hint, [pointer, I32(write), I32(3), I32(1)])
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    return prefetch


prefetch, prefetch_write = _prefetch(0), _prefetch(1)


def _copy(size: int) -> Any:
    kind = ir.VectorType(I64, size // 8)

    @intrinsic
    def copy(typingctx, destination, source):
        def codegen(context, builder, signature, args):
            block = builder.load(_pointer(builder, args[1], kind), typ=kind, align=1)
            builder.store(block, _pointer(builder, args[0], kind), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return copy


copy16, copy32, copy64 = (_copy(size) for size in (16, 32, 64))


@intrinsic
def fill(typingctx, destination, byte, count):
    """Set `count` bytes."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I8, I64, ir.IntType(1)])
        memset = cgutils.get_or_insert_function(builder.module, kind, "llvm.memset.p0.i64")
        builder.call(memset, [_pointer(builder, args[0], I8), builder.trunc(args[1], I8), args[2], ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


def _byteswap(bits: int) -> Any:
    kind = ir.IntType(bits)

    @intrinsic
    def byteswap(typingctx, value):
        def codegen(context, builder, signature, args):
            swap = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), f"llvm.bswap.i{bits}")
            return _widened(builder, builder.call(swap, [_narrowed(builder, args[0], bits)]), bits)

        return types.int64(types.int64), codegen

    return byteswap


byteswap16, byteswap32, byteswap64 = (_byteswap(bits) for bits in (16, 32, 64))


@intrinsic
def call_burst(typingctx, function, lcore, queue, burst, count):
    """Call the burst function at an address."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(I64, [I64] * 4)
        return builder.call(_pointer(builder, args[0], kind), list(args[1:]))

    return types.int64(*[types.int64] * 5), codegen


@intrinsic
def _call_write(typingctx, function, fd, address, count):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(I64, [I32, I64, I64])
        called = _pointer(builder, args[0], kind)
        return builder.call(called, [builder.trunc(args[1], I32), args[2], args[3]])

    return types.int64(*[types.int64] * 4), codegen


@intrinsic
def _libc_write(typingctx):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(I64, [I32, I64, I64])
        return builder.ptrtoint(cgutils.get_or_insert_function(builder.module, kind, "write"), I64)

    return types.int64(), codegen


@intrinsic
def _stack_word(typingctx, value):
    def codegen(context, builder, signature, args):
        slot = cgutils.alloca_once(builder, I64)
        builder.store(args[0], slot)
        return builder.ptrtoint(slot, I64)

    return types.int64(types.int64), codegen


def write_eventfd(fd):
    return _call_write(_libc_write(), fd, _stack_word(1), 8)


@intrinsic
def as_pointer(typingctx, address):
    """Make an address a void pointer."""

    def codegen(context, builder, signature, args):
        return _pointer(builder, args[0], I8)

    return types.voidptr(types.int64), codegen


def record(address, dtype):
    return carray(as_pointer(address), 1, dtype)[0]


def view(address, count, dtype):
    return carray(as_pointer(address), count, dtype)


write_eventfd = linked(write_eventfd)
record = linked(record, forceinline=True)
view = linked(view, forceinline=True)
