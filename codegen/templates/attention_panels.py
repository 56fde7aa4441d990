"""Keys and values of a head in scratch memory, in the order in which products read them."""

from __future__ import annotations

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.evaluate import Index
from bireme.codegen.index import consecutive
from bireme.codegen.templates.attention_form import Form
from bireme.codegen.templates.attention_softmax import Stretch, blocks_of, pieces
from bireme.codegen.templates.common import Emission
from bireme.codegen.templates.tiles import COLUMNS
from bireme.codegen.templates.vectors import turned
from bireme.codegen.tir import Expr, const, index, plus, times
from bireme.ir import DType


class Panels:
    """Room for `span` keys and values, a multiple of 16. Of 16 keys the elements stand together, of
    a value the 16 of a block. Without `copies_values` these are read where they are, as far as they
    are whole blocks.
    """

    def __init__(self, e: Emission, form: Form, span: int, copies_values: bool) -> None:
        self._emit, self._form, self._evaluator = e.emit, form, e.evaluator
        self._copies_values = copies_values or form.width % COLUMNS != 0
        key_bytes = span * form.depth * 4
        value_bytes = span * form.value_blocks * COLUMNS * 4
        self.bytes = key_bytes + value_bytes * self._copies_values
        self._keys = workspace_view(e.emit, e.workspace, index(0), DType.F32)
        self._values = workspace_view(e.emit, e.workspace, index(key_bytes), DType.F32)

    def keys_at(self, block: Expr, k: Expr) -> Expr:
        """Element k of the 16 keys of a block."""
        return self._emit.load(self._keys, self._key_place(block, k))

    def values_at(self, at: Stretch, block: Expr, k: Expr) -> Expr:
        """16 elements of value k of a stretch."""
        if not self._copies_values:
            columns = consecutive(times(block, COLUMNS), COLUMNS)
            return self._form.value(self._evaluator, at.batch, plus(at.start, k), columns)
        return self._emit.load(self._values, self._value_place(k, block))

    def fill(self, at: Stretch) -> None:
        """Copies the keys and values of a stretch."""
        copy_keys = self._turn_keys if self._form.keys_are_rows else self._copy_keys
        copy_keys(at.batch, at.start, at.count)
        if self._copies_values:
            self._copy_values(at.batch, at.start, at.count)

    def _key_place(self, block: Expr, k: Expr) -> Expr:
        return consecutive(times(plus(times(block, self._form.depth), k), COLUMNS), COLUMNS)

    def _value_place(self, k: Expr, block: Expr) -> Expr:
        return consecutive(times(plus(times(k, self._form.value_blocks), block), COLUMNS), COLUMNS)

    def _turn_keys(self, batch: Index, start: Expr, count: Expr) -> None:
        """Squares of 16 elements of 16 keys, turned in registers; what is left, one by one. Where
        the last block has fewer keys the last one stands for the others.
        """
        emit, form = self._emit, self._form
        squares, rest = divmod(form.depth, COLUMNS)
        last = emit.bind(plus(start, count) - index(1), "last")
        blocks = blocks_of(emit, count)
        with emit.loop("block", blocks) as block:
            first = emit.bind(plus(start, times(block, COLUMNS)), "first")
            keys = [emit.bind(tirx.min(plus(first, i), last)) for i in range(COLUMNS)]
            with emit.loop("square", index(squares)) as square:
                begin = emit.bind(times(square, COLUMNS))
                along = consecutive(begin, COLUMNS)
                rows = [emit.opaque(form.key(self._evaluator, batch, along, key)) for key in keys]
                for i, row in enumerate(turned(emit, rows)):
                    emit.store(self._keys, self._key_place(block, plus(begin, i)), row)
            if rest:
                with emit.loop("k", index(rest), start=index(squares * COLUMNS)) as k:
                    base = emit.bind(self._key_place(block, k).base)
                    for i, key in enumerate(keys):
                        element = form.key(self._evaluator, batch, k, key)
                        emit.store(self._keys, plus(base, i), element)

    def _copy_keys(self, batch: Index, start: Expr, count: Expr) -> None:
        emit, form = self._emit, self._form
        whole = emit.opaque(tirx.truncdiv(count, index(COLUMNS)), "whole")

        def element(block: Expr, k: Expr, lane: Expr) -> Expr:
            column = plus(emit.bind(plus(start, times(block, COLUMNS))), lane)
            return form.key(self._evaluator, batch, k, column)

        with emit.loop("block", whole) as block, emit.loop("k", index(form.depth)) as k:
            value = element(block, k, consecutive(0, COLUMNS))
            emit.store(self._keys, self._key_place(block, k), value)
        done = emit.bind(whole * index(COLUMNS), "done")
        with emit.when(done < count), emit.loop("k", index(form.depth)) as k:
            place = self._key_place(whole, k)
            emit.store(self._keys, place, const(0.0, "float32"))
            with emit.loop("lane", emit.bind(count - done)) as lane:
                emit.store(self._keys, plus(place.base, lane), element(whole, k, lane))

    def _copy_values(self, batch: Index, start: Expr, count: Expr) -> None:
        emit, form = self._emit, self._form
        whole, rest = divmod(form.width, COLUMNS)
        with emit.loop("value", count) as number:
            key = emit.bind(plus(start, number))

            def element(block: int, lane: Expr) -> Expr:
                column = plus(index(block * COLUMNS), lane)
                return form.value(self._evaluator, batch, key, column)

            for block in range(whole):
                place = self._value_place(number, index(block))
                emit.store(self._values, place, element(block, consecutive(0, COLUMNS)))
            if rest:
                place = self._value_place(number, index(whole))
                emit.store(self._values, place, const(0.0, "float32"))
                for begin, lanes in pieces(rest):
                    spot = plus(place.base, consecutive(begin, lanes))
                    emit.store(self._values, spot, element(whole, consecutive(begin, lanes)))
