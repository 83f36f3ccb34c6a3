"""What RoI pooling's CPU kernels need and numba cannot say: maxima in vector registers, writes past the cache.

Numba compiles loops over arrays well. Those over a bin would still keep the running maximum in memory, ask a million
times whether two arrays overlap, and write the output through the cache, which fetches 200 MB only to overwrite it. The
loops are spelled out for LLVM here: vectors of channels, which LLVM maps to what the processor has, stay in registers
while the bin's cells go by.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

VECTOR_BYTES = 64
"""Channels are worked on in vectors of this many bytes."""

_INT32 = ir.IntType(32)


def bin_maximum(vectors: int, track: bool = False, stream: bool = False, decode: bool = True) -> Callable[..., None]:
    """Make the function that takes the maximum over a bin, for use in compiled functions.

    The function is ``f(lowest, cells, base, begin, end, y1, y2, x1, x2, step, row, target, at, where)``. For every
    channel from `begin` to `end` it visits the cells (y, x), y = y1, y1 + step, ... and x likewise, in row-major order,
    and writes the largest value above `lowest`, or `lowest`. The last y is moved back to y2 - step, the last x to
    x2 - step, so that cells which are maxima of step x step windows themselves cover just the bin.

    - `lowest` gives the type: float32, float64, uint8, or int16 for half precision, whose bits are put in order
      (`cpu._keys`).
    - `cells` is an array [cells, channels]; cell (y, x) is number base + y * row + x.
    - `target` and `where` are C-contiguous arrays of any shape; channel 0 is their element number `at`.

    Args:
        vectors: how many vectors of channels are worked on at a time; `end` - `begin` is a multiple of it.
        track: also write to `where` which cell, y * row + x, was the first with the largest value; -1 if none was.
        stream: write past the cache; `target` and the vectors in it are then aligned.
        decode: write int16 keys as the bits they stand for.
    """

    @intrinsic
    def maximum(context, lowest, cells, base, begin, end, y1, y2, x1, x2, step, row, target, at, where):
        integers = (types.int64,) * 9  # numba casts what it is given
        signature = types.void(lowest, cells, *integers, target, types.int64, where)

        def generate(codegen, b: ir.IRBuilder, signature, arguments):
            start, array, base, begin, end, y1, y2, x1, x2, step, row, target_, at, where_ = arguments
            source = codegen.make_array(cells)(codegen, b, array)
            pitch = cgutils.unpack_tuple(b, source.shape)[1]
            output = codegen.make_array(target)(codegen, b, target_).data
            argmax = codegen.make_array(where)(codegen, b, where_).data

            signed = getattr(lowest, "signed", True)
            lanes = VECTOR_BYTES * 8 // lowest.bitwidth
            values, places = ir.VectorType(start.type, lanes), ir.VectorType(_INT32, lanes)
            lowest_values, nowhere = _splat(b, start, values), _splat(b, ir.Constant(_INT32, -1), places)
            # LLVM turns these into registers.
            best = [cgutils.alloca_once(b, values) for _ in range(vectors)]
            place = [cgutils.alloca_once(b, places) for _ in range(vectors if track else 0)]
            width = ir.Constant(begin.type, lanes * vectors)

            with cgutils.for_range_slice(b, begin, end, width) as (channel, _):
                for register in best:
                    b.store(lowest_values, register)
                for register in place:
                    b.store(nowhere, register)
                with cgutils.for_range_slice(b, y1, y2, step) as (y, _):
                    row_start = b.mul(_at_most(b, y, b.sub(y2, step)), row)
                    with cgutils.for_range_slice(b, x1, x2, step) as (x, _):
                        cell = b.add(row_start, _at_most(b, x, b.sub(x2, step)))
                        first = b.add(b.mul(b.add(base, cell), pitch), channel)
                        here = _splat(b, b.trunc(cell, _INT32), places) if track else None
                        for v in range(vectors):
                            value = b.load(_vector_at(b, source.data, first, v, values))
                            value.align = 1
                            current = b.load(best[v])
                            larger = _larger(b, value, current, signed)
                            b.store(b.select(larger, value, current), best[v])
                            if track:
                                b.store(b.select(larger, here, b.load(place[v])), place[v])
                out = b.add(at, channel)
                for v in range(vectors):
                    result = b.load(best[v])
                    if decode and lowest == types.int16:
                        result = _bits_of_key(b, result)
                    _write(b, result, _vector_at(b, output, out, v, values), stream)
                    if track:
                        narrow = ir.VectorType(ir.IntType(where.dtype.bitwidth), lanes)
                        index = b.load(place[v])
                        index = index if narrow == places else b.trunc(index, narrow)
                        _write(b, index, _vector_at(b, argmax, out, v, narrow), False)
            return codegen.get_dummy_value()

        return signature, generate

    return maximum


@intrinsic
def prefetch(context, array, at):
    """Begin to load the cache line of element number `at` of a C-contiguous array, which may lie beyond its end."""

    def generate(codegen, b: ir.IRBuilder, signature, arguments):
        data = codegen.make_array(array)(codegen, b, arguments[0]).data
        pointer = b.bitcast(b.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _INT32, _INT32, _INT32])
        function = b.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        read, keep, data_cache = (ir.Constant(_INT32, value) for value in (0, 3, 1))
        b.call(function, [pointer, read, keep, data_cache])
        return codegen.get_dummy_value()

    return types.void(array, types.int64), generate


def _vector_at(b: ir.IRBuilder, array: ir.Value, element: ir.Value, v: int, vector: ir.VectorType) -> ir.Value:
    """Pointer to the v-th vector from an element on."""
    index = b.add(element, ir.Constant(element.type, v * vector.count))
    return b.bitcast(b.gep(array, [index]), vector.as_pointer())


def _write(b: ir.IRBuilder, vector: ir.Value, pointer: ir.Value, stream: bool) -> None:
    instruction = b.store(vector, pointer)
    instruction.align = VECTOR_BYTES if stream else 1
    if stream:
        instruction.set_metadata("nontemporal", b.module.add_metadata([ir.Constant(_INT32, 1)]))


def _splat(b: ir.IRBuilder, value: ir.Value, vector: ir.VectorType) -> ir.Value:
    undefined = ir.Constant(vector, ir.Undefined)
    single = b.insert_element(undefined, value, ir.Constant(_INT32, 0))
    return b.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(_INT32, vector.count), None))


def _at_most(b: ir.IRBuilder, value: ir.Value, limit: ir.Value) -> ir.Value:
    return b.select(b.icmp_signed("<", value, limit), value, limit)


def _larger(b: ir.IRBuilder, value: ir.Value, current: ir.Value, signed: bool) -> ir.Value:
    """Strictly larger, so that the first of equals stays; false for a NaN."""
    if not isinstance(value.type.element, ir.IntType):
        return b.fcmp_ordered(">", value, current)
    return (b.icmp_signed if signed else b.icmp_unsigned)(">", value, current)


def _bits_of_key(b: ir.IRBuilder, key: ir.Value) -> ir.Value:
    """Undo `cpu._keys`: a negative number has all bits but the sign turned round."""
    int16 = key.type.element
    sign = b.ashr(key, _splat(b, ir.Constant(int16, 15), key.type))
    return b.xor(key, b.and_(sign, _splat(b, ir.Constant(int16, 0x7FFF), key.type)))
