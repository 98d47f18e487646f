"""Memory and waiting, as LLVM IR: what kernels do with bare addresses, and what threads tell each other.

Addresses are those of NumPy arrays and tensors that the engine keeps alive.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

I32, I64 = ir.IntType(32), ir.IntType(64)


def load(b: ir.IRBuilder, address: ir.Value, kind: ir.Type, align: int) -> ir.Value:
    value = b.load(b.inttoptr(address, ir.PointerType(kind)))
    value.align = align
    return value


def store(b: ir.IRBuilder, value: ir.Value, address: ir.Value, align: int) -> None:
    b.store(value, b.inttoptr(address, ir.PointerType(value.type))).align = align


def function(b: ir.IRBuilder, name: str, kind: ir.Type, arguments: int) -> ir.Function:
    """A function on so many arguments of the type that it returns, declared once."""
    signature = ir.FunctionType(kind, [kind] * arguments)
    return cgutils.get_or_insert_function(b.module, signature, name)


@intrinsic
def pointer(typing, address):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """An address as a pointer, for `carray`."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:  # noqa: ARG001
        return b.inttoptr(values[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@intrinsic
def copy_bytes(typing, to, source, size):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """memcpy between addresses."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        to, source, size = values
        places = (b.inttoptr(address, cgutils.voidptr_t) for address in (to, source))
        cgutils.raw_memcpy(b, *places, size, 1)
        return context.get_dummy_value()

    return types.void(to, source, size), generate


@intrinsic
def clear_bytes(typing, to, size):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Zeros from an address on."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        cgutils.memset(b, b.inttoptr(values[0], cgutils.voidptr_t), values[1], 0)
        return context.get_dummy_value()

    return types.void(to, size), generate


@intrinsic
def take(typing, counter):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The number at an address, which becomes one more; what was written before is then seen by others."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:  # noqa: ARG001
        place = b.inttoptr(values[0], ir.PointerType(I64))
        return b.atomic_rmw("add", place, I64(1), "acq_rel")

    return types.int64(counter), generate


@intrinsic
def look(typing, counter):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The number at an address, and with it what its writer had written before."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:  # noqa: ARG001
        return b.load_atomic(b.inttoptr(values[0], ir.PointerType(I64)), "acquire", 8)

    return types.int64(counter), generate


def emit_pause(b: ir.IRBuilder, triple: str) -> None:
    """The instruction by which a processor waits a moment, and lets its other hyperthread work."""
    nothing = ir.VoidType()
    if triple.startswith(("x86_64", "i686")):
        kind = ir.FunctionType(nothing, [])
        b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.x86.sse2.pause"), [])
    elif triple.startswith(("aarch64", "arm64")):
        kind = ir.FunctionType(nothing, [I32])
        b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.aarch64.hint"), [I32(1)])


@intrinsic
def pause(typing):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """See `emit_pause`."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:  # noqa: ARG001
        emit_pause(b, cpu_target.target_context.codegen().magic_tuple()[0])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def doze(typing, microseconds):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Sleep for about so long: C's usleep."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        usleep = cgutils.get_or_insert_function(b.module, ir.FunctionType(I32, [I32]), "usleep")
        b.call(usleep, [b.trunc(values[0], I32)])
        return context.get_dummy_value()

    return types.void(microseconds), generate
