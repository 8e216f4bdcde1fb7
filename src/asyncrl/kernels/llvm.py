"""A small language for loops over vectors of 16 floats, compiled by LLVM for the processor at hand."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import torch
from llvmlite import ir
from torch import Tensor

LANES = 16
"""Floats of a vector. Processors with shorter vectors take several for each."""

Value = Any  # of llvmlite, which has no types
Pointer = Any

_INT = ir.IntType(64)
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_BYTES = ir.VectorType(ir.IntType(8), LANES)
_KINDS: dict[str, tuple[Any, torch.dtype]] = {
    "float": (_FLOAT, torch.float32),
    "byte": (ir.IntType(8), torch.uint8),
    "integer": (_INT, torch.int64),
}


def registers() -> int:
    """Number of vectors of 16 floats that fit in the processor's registers, with some registers left for operands."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 28
    if features.get("avx2"):
        return 6
    return 7 if platform.machine().lower() in ("arm64", "aarch64") else 3


def check() -> None:
    """Compiles and runs a small function.

    Raises:
        Exception: Code cannot be compiled or run on this machine. The exception can be of any class.
    """
    llvm.check_jit_execution()
    emit = Emitter("check", ["float", "float"])
    source, target = emit.pointers

    def copy(i: Value, _: Sequence[Value]) -> None:
        emit.store(emit.load(emit.at(source, emit.times(i, LANES))), emit.at(target, emit.times(i, LANES)))

    emit.loop(emit.count, copy)
    numbers = torch.arange(float(2 * LANES))
    copied = torch.zeros_like(numbers)
    emit.compile()(numbers, copied, count=2)
    if not torch.equal(numbers, copied):
        raise RuntimeError("compiled code gives wrong results")


class Emitter:
    """Writes the body of one function, whose arguments are pointers and, last, a count of at least 1.

    Args:
        name: Name of the function.
        pointers: Type that each pointer points to, "float", "byte" or "integer". No two may point to the same memory.
    """

    def __init__(self, name: str, pointers: Sequence[str]) -> None:
        self.name, self.kinds, self.module = name, tuple(pointers), ir.Module()
        kinds = [_KINDS[kind][0].as_pointer() for kind in pointers]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [*kinds, _INT]), name)
        *self.pointers, self.count = function.args
        for pointer in self.pointers:
            pointer.add_attribute("noalias")
        self._builder = ir.IRBuilder(function.append_basic_block())
        self._fma = ir.Function(self.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), "llvm.fmuladd.v16f32")
        self._sqrt = ir.Function(self.module, ir.FunctionType(_VECTOR, [_VECTOR]), "llvm.sqrt.v16f32")

    def loop(
        self,
        count: Value | int,
        body: Callable[[Value, Sequence[Value]], Sequence[Value] | None],
        carried: Sequence[Value] = (),
    ) -> list[Value]:
        """Emits a loop of at least one round.

        Args:
            count: Number of rounds.
            body: Emits one round. It takes the index and the carried values, and returns the carried values of the
                next round.
            carried: Values before the first round.

        Returns:
            The carried values after the last round.
        """
        builder, before = self._builder, self._builder.block
        head, after = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_INT)
        index.add_incoming(self.constant(0), before)
        values = [builder.phi(value.type) for value in carried]
        for value, first in zip(values, carried, strict=True):
            value.add_incoming(first, before)
        results = list(body(index, values) or ())
        following = builder.add(index, self.constant(1))
        index.add_incoming(following, builder.block)
        for value, result in zip(values, results, strict=True):
            value.add_incoming(result, builder.block)
        end = self.constant(count) if isinstance(count, int) else count
        builder.cbranch(builder.icmp_signed("<", following, end), head, after)
        builder.position_at_end(after)
        return results

    def constant(self, number: int) -> Value:
        """A constant integer."""
        return ir.Constant(_INT, number)

    def times(self, index: Value, number: int) -> Value:
        """The product of an index and a number."""
        return self._builder.mul(index, self.constant(number))

    def at(self, pointer: Pointer, offset: Value | int) -> Pointer:
        """A pointer to the element `offset` places further on."""
        return self._builder.gep(pointer, [self.constant(offset) if isinstance(offset, int) else offset])

    def load(self, pointer: Pointer) -> Value:
        """Loads a vector of floats."""
        return self._builder.load(self._builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)

    def load_bytes(self, pointer: Pointer) -> Value:
        """Loads 16 bytes as a vector of floats."""
        integers = self._builder.load(self._builder.bitcast(pointer, _BYTES.as_pointer()), align=1)
        return self._builder.uitofp(integers, _VECTOR)

    def broadcast(self, pointer: Pointer) -> Value:
        """Loads one float and repeats it in all places of a vector."""
        index = ir.IntType(32)
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        single = self._builder.insert_element(undefined, self._builder.load(pointer), ir.Constant(index, 0))
        return self._builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(index, LANES), [0] * LANES))

    def store(self, vector: Value, pointer: Pointer) -> None:
        """Stores a vector."""
        self._builder.store(vector, self._builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)

    def zeros(self) -> Value:
        """A vector of zeros."""
        return ir.Constant(_VECTOR, [0.0] * LANES)

    def multiply_add(self, x: Value, y: Value, z: Value) -> Value:
        """The vector x · y + z."""
        return self._builder.call(self._fma, [x, y, z])

    def product(self, x: Value, y: Value) -> Value:
        """The vector x · y."""
        return self._builder.fmul(x, y)

    def sum(self, x: Value, y: Value) -> Value:
        """The vector x + y."""
        return self._builder.fadd(x, y)

    def difference(self, x: Value, y: Value) -> Value:
        """The vector x - y."""
        return self._builder.fsub(x, y)

    def quotient(self, x: Value, y: Value) -> Value:
        """The vector x / y."""
        return self._builder.fdiv(x, y)

    def root(self, x: Value) -> Value:
        """The vector √x."""
        return self._builder.call(self._sqrt, [x])

    def positive_part(self, vector: Value) -> Value:
        """The vector max(x, 0), in which NaN stays NaN."""
        return self._builder.select(self._builder.fcmp_ordered("<=", vector, self.zeros()), self.zeros(), vector)

    def compile(self) -> Compiled:
        """Compiles the function."""
        self._builder.ret_void()
        return Compiled(self.name, str(self.module), self.kinds)


class Compiled:
    """A compiled function of tensors and a count."""

    def __init__(self, name: str, module: str, kinds: Sequence[str]) -> None:
        self._types = [_KINDS[kind][1] for kind in kinds]
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
        )
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(module), machine)  # owns the code
        self._engine.finalize_object()
        signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(kinds), ctypes.c_int64)
        self._call = signature(self._engine.get_function_address(name))

    def __call__(self, *tensors: Tensor, count: int) -> None:
        """Runs the function unless the count is 0. Other Python threads run meanwhile.

        Raises:
            TypeError: A tensor has another type, is not contiguous, or is not on the CPU.
        """
        for tensor, type_ in zip(tensors, self._types, strict=True):
            if tensor.dtype is not type_ or not tensor.is_cpu or not tensor.is_contiguous():
                raise TypeError(f"a contiguous tensor of {type_} on the CPU is needed, not {tensor.dtype}")
        if count:
            self._call(*(tensor.data_ptr() for tensor in tensors), count)
