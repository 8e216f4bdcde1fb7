"""What loops over windows of images need beside vectors of floats: integers, bytes, and branches."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from asyncrl.kernels.llvm import LANES, Emitter, Pointer, Value

WIDTH = 64
"""Bytes that are compared at once."""

_BYTE, _INT = ir.IntType(8), ir.IntType(64)
_BYTES, _FEW_BYTES = ir.VectorType(_BYTE, WIDTH), ir.VectorType(_BYTE, LANES)
_INDEX = ir.IntType(32)


class IntegerEmitter(Emitter):
    """An emitter that also computes with integers."""

    def single(self, pointer: Pointer) -> Value:
        """Loads a single float."""
        return self._builder.load(pointer)

    def put_single(self, number: Value, pointer: Pointer) -> None:
        """Stores a single float."""
        self._builder.store(number, pointer)

    def number(self, pointer: Pointer) -> Value:
        """Loads a byte or an integer as an integer."""
        value = self._builder.load(pointer)
        return self._builder.zext(value, _INT) if value.type == _BYTE else value

    def put(self, number: Value | int, pointer: Pointer) -> None:
        """Stores an integer."""
        self._builder.store(self._integer(number), pointer)

    def put_flag(self, flag: Value, pointer: Pointer) -> None:
        """Stores whether something is true, as a byte that is 0 or 1."""
        self._builder.store(self._builder.zext(flag, _BYTE), pointer)

    def plus(self, x: Value, y: Value | int) -> Value:
        """The integer x + y."""
        return self._builder.add(x, self._integer(y))

    def minus(self, x: Value, y: Value) -> Value:
        """The integer x - y."""
        return self._builder.sub(x, y)

    def product_of(self, x: Value, y: Value) -> Value:
        """The integer x · y."""
        return self._builder.mul(x, y)

    def parts(self, x: Value, size: int) -> Value:
        """The number of parts of a size that an integer x has, the last one perhaps smaller; at least 1."""
        whole = self._builder.udiv(self.plus(x, size - 1), self.constant(size))
        return self._builder.select(self.is_less(whole, 1), self.constant(1), whole)

    def smaller(self, x: Value, y: Value | int) -> Value:
        """The smaller one of two integers."""
        return self._builder.select(self.is_less(x, y), x, self._integer(y))

    def larger(self, x: Value, y: Value | int) -> Value:
        """The larger one of two integers."""
        return self._builder.select(self.is_less(x, y), self._integer(y), x)

    def is_less(self, x: Value, y: Value | int) -> Value:
        """Whether an integer x is less than y."""
        return self._builder.icmp_signed("<", x, self._integer(y))

    def one_if_not_zero(self, number: Value) -> Value:
        """The integer 1 if a single float is not zero, NaN included, and else 0."""
        differs = self._builder.fcmp_unordered("!=", number, ir.Constant(ir.FloatType(), 0.0))
        return self._builder.zext(differs, _INT)

    def either(self, condition: Value, this: Callable[[], None], that: Callable[[], None]) -> None:
        """Emits a branch: `this` is done where the condition is true, otherwise `that`."""
        with self._builder.if_else(condition) as (then, otherwise):
            with then:
                this()
            with otherwise:
                that()

    def any_differs(self, one: list[Pointer], other: list[Pointer], size: int) -> Value:
        """Whether any of the bytes at some pointers differ from those at others; `size` bytes from each pointer."""
        word = ir.IntType(8 * size)
        different = ir.Constant(word, 0)
        for pair in zip(one, other, strict=True):
            left, right = (self._builder.load(self._builder.bitcast(each, word.as_pointer()), align=1) for each in pair)
            different = self._builder.or_(different, self._builder.xor(left, right))
        return self._builder.icmp_unsigned("!=", different, ir.Constant(word, 0))

    def any_flag(self, pointers: list[Pointer]) -> Value:
        """Whether any of the flags at some pointers is set, as a flag."""
        value = self._builder.load(pointers[0])
        for pointer in pointers[1:]:
            value = self._builder.or_(value, self._builder.load(pointer))
        return value

    def bytes_at(self, pointer: Pointer) -> Value:
        """Loads a vector of `WIDTH` bytes."""
        return self._builder.load(self._builder.bitcast(pointer, _BYTES.as_pointer()), align=1)

    def put_bytes(self, values: Value, pointer: Pointer) -> None:
        """Stores a vector of `WIDTH` bytes."""
        self._builder.store(values, self._builder.bitcast(pointer, _BYTES.as_pointer()), align=1)

    def no_bytes(self) -> Value:
        """A vector of `WIDTH` zeros."""
        return ir.Constant(_BYTES, [0] * WIDTH)

    def repeated(self, pointer: Pointer) -> Value:
        """Loads a byte and repeats it in all places of a vector of 16 bytes."""
        undefined = ir.Constant(_FEW_BYTES, ir.Undefined)
        single = self._builder.insert_element(undefined, self._builder.load(pointer), ir.Constant(_INDEX, 0))
        return self._builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))

    def masked(self, pointer: Pointer, mask: Value) -> Value:
        """Loads 16 bytes, and keeps the bits that are set in a mask."""
        values = self._builder.load(self._builder.bitcast(pointer, _FEW_BYTES.as_pointer()), align=1)
        return self._builder.and_(values, mask)

    def interleaved(self, rows: list[Value]) -> Value:
        """The first bytes of four vectors of 16, then their second bytes, and so on: a vector of 64 bytes."""
        wide, order = ir.VectorType(_INDEX, 2 * LANES), range(LANES)
        halves = [
            self._builder.shuffle_vector(one, other, ir.Constant(wide, [*range(2 * LANES)]))
            for one, other in (rows[:2], rows[2:])
        ]
        places = [n + LANES * row for n in order for row in range(len(rows))]
        return self._builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(_INDEX, WIDTH), places))

    def vote(self, candidates: Value, leads: Value, votes: Value) -> tuple[Value, Value]:
        """A round of the majority vote of Boyer and Moore on each byte: candidates and their leads after it."""
        builder = self._builder
        one, minus_one = (ir.Constant(_BYTES, [number] * WIDTH) for number in (1, 255))
        undecided = builder.icmp_unsigned("==", leads, self.no_bytes())
        candidates = builder.select(undecided, votes, candidates)
        agrees = builder.icmp_unsigned("==", candidates, votes)
        return candidates, builder.add(leads, builder.select(agrees, one, minus_one))

    def _integer(self, number: Value | int) -> Value:
        return self.constant(number) if isinstance(number, int) else number
