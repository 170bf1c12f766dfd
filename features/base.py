"""Direct reading of one customer's row of a snapshot, and the one-row batch that is made of it.

A pyarrow batch of some hundred columns costs more to build column by column than everything else a
decision reads. So the row is written as the body of an Arrow IPC message whose layout never
changes, and Arrow makes the whole batch of it in one call.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc

TEXT_BYTES = 64  # longer texts take the slow road
_MARK = 64  # every so many ids one is kept at hand
_WORD = 8
_TEXT_WORDS = 2 + TEXT_BYTES // _WORD  # validity, two offsets, the bytes
_BLOCK_MOST = _TEXT_WORDS * _WORD


@dataclass
class Row:
    """One customer's row while it is rolled: numbers (NaN: null), flags (2: null) and texts."""

    numbers: list[float]
    flags: npt.NDArray[np.int8]
    texts: list[str | None]


class SortedIds:
    """A column of ids, found by bisection in Arrow's own memory. INVARIANT: sorted by their bytes."""

    def __init__(self, column: "pa.ChunkedArray[Any]") -> None:
        ids = _only_chunk(column.cast(pa.string()))  # polars writes large ones, whose offsets are wider
        self._offsets = memoryview(ids.buffers()[1]).cast("i") if len(ids) else memoryview(b"")
        self._bytes = memoryview(ids.buffers()[2] or b"") if len(ids) else memoryview(b"")
        self._n_rows = len(ids)
        self._marks = [self._at(place) for place in range(0, self._n_rows, _MARK)]

    def find(self, customer_id: str) -> int | None:
        """The place of an id; None where it is not among them."""
        wanted, offsets, data = customer_id.encode(), self._offsets, self._bytes
        block = bisect_right(self._marks, wanted)
        low, high = max(block - 1, 0) * _MARK, min(block * _MARK, self._n_rows)
        while low < high:
            middle = (low + high) >> 1
            if bytes(data[offsets[middle] : offsets[middle + 1]]) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < self._n_rows and self._at(low) == wanted else None

    def _at(self, place: int) -> bytes:
        return bytes(self._bytes[self._offsets[place] : self._offsets[place + 1]])


class Base:
    """The rows of one snapshot, found by customer. Arrow's memory is mapped, not copied."""

    def __init__(self, table: pa.Table, numbers: Sequence[str], flags: Sequence[str], texts: Sequence[str]) -> None:
        self._table = table.combine_chunks()
        self._numbers = [_doubles(self._table.column(name)) for name in numbers]
        self._flags = _flag_codes(self._table, flags)
        self._texts = [_coded(self._table.column(name)) for name in texts]
        self._ids = SortedIds(self._table.column("customer_id"))
        self.n_rows = len(self._table)

    def find(self, customer_id: str) -> int | None:
        """The row of a customer; None where the snapshot does not hold him."""
        return self._ids.find(customer_id)

    def read(self, row: int) -> Row:
        """The values of a row, in the order of the names given to the constructor."""
        texts = [words[codes[row]] for codes, words in self._texts]
        return Row([column[row] for column in self._numbers], self._flags[row].copy(), texts)

    def drops(self, row: int) -> list[tuple[int, int, int]]:
        """(window, day, amount) of what leaves the row's windows; see features/carried.py."""
        offsets, window, day, amount = self._drops
        start, end = offsets[row], offsets[row + 1]
        return list(zip(window[start:end], day[start:end], amount[start:end], strict=True)) if end > start else []

    def counted(self, row: int) -> set[str]:
        """Ids of the bookings the row has counted lately."""
        return set(self._table.column("_ids")[row].as_py())

    def expiries(self, row: int) -> list[tuple[int, int]]:
        """(place, instant) of the row's words that run out; see features/expiries.py."""
        offsets, place, at = self._expiries
        start, end = offsets[row], offsets[row + 1]
        return list(zip(place[start:end], at[start:end], strict=True)) if end > start else []

    def shared(self, row: int) -> int:
        """In which currencies an event may be about one of several accounts; see features/carried.py."""
        return int(self._shared[row])

    @cached_property
    def _shared(self) -> memoryview:
        return memoryview(_only_chunk(self._table.column("_shared")).to_numpy())

    @cached_property
    def _expiries(self) -> tuple[Any, Any, Any]:
        lists: Any = _only_chunk(self._table.column("_expiries"))
        place, at = (memoryview(lists.values.field(n).to_numpy(zero_copy_only=False)) for n in ("place", "at"))
        return memoryview(lists.offsets.to_numpy()), place, at

    @cached_property
    def _drops(self) -> tuple[Any, Any, Any, Any]:
        lists: Any = _only_chunk(self._table.column("_drops"))
        values = lists.values
        window, day, amount = (
            memoryview(values.field(n).to_numpy(zero_copy_only=False)) for n in ("window", "day", "amount")
        )
        return memoryview(lists.offsets.to_numpy()), window, day, amount


class OneRow:
    """Makes one-row batches of a schema.

    Columns are numbers, flags, texts and one instant, `as_of`.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self.numbers = [f.name for f in schema if pa.types.is_floating(f.type)]
        self.flags = [f.name for f in schema if pa.types.is_boolean(f.type)]
        self.texts = [f.name for f in schema if pa.types.is_string(f.type)]
        message = _sample(schema).serialize().to_pybytes()
        head = 8 + int.from_bytes(message[4:8], "little")
        # A count of nulls of -1 says: look at the validity bits. (1 row, 1 null) stands once a column.
        told, unknown = _node(1) * len(schema), _node(-1) * len(schema)
        assert message[:head].count(told) == 1, "the layout of an Arrow message has changed"
        self._head = message[:head].replace(told, unknown)
        places, size = _places(schema)
        assert len(message) - head == size * _WORD, "the layout of an Arrow message has changed"
        self._blank = np.zeros(size, np.int64)
        self._number_at = np.array([places[n] for n in self.numbers])
        self._flag_at = np.array([places[n] + word for n in self.flags for word in (0, 1)], dtype=np.intp)
        self._text_at = [places[n] * _WORD for n in self.texts]
        self._as_of_at = places["as_of"]

    def batch(self, row: Row, as_of: int) -> pa.RecordBatch | None:
        """The row as a batch of the schema, as_of in microseconds; None where one of its texts has no room."""
        words = self._blank.copy()
        numbers = np.array(row.numbers[: len(self.numbers)])  # parts of features stand behind them
        words[self._number_at] = numbers == numbers  # noqa: PLR0124  # NaN is null
        words[self._number_at + 1] = numbers.view(np.int64)
        words[self._flag_at] = _FLAG_WORDS[row.flags].ravel()
        words[self._as_of_at], words[self._as_of_at + 1] = 1, as_of
        body = bytearray(words)
        for place, text in zip(self._text_at, row.texts, strict=True):
            if text is not None:
                block = _block(text)
                if len(block) > _BLOCK_MOST:
                    return None
                body[place : place + len(block)] = block
        return ipc.read_record_batch(self._head + body, self._schema)

    @property
    def vector_names(self) -> list[str]:
        """What stands in `vectors`: numbers, then flags."""
        return [*self.numbers, *self.flags]

    def vectors(self, rows: Sequence[Row]) -> npt.NDArray[np.float64]:
        """Numbers and flags of rows, (n_rows, n): flags 0 and 1, NaN null."""
        n_numbers = len(self.numbers)
        found = np.empty((len(rows), n_numbers + len(self.flags)))
        found[:, :n_numbers] = [row.numbers[:n_numbers] for row in rows]
        found[:, n_numbers:] = _FLAGS[np.array([row.flags for row in rows])]
        return found

    def read(self, table: pa.Table | pa.RecordBatch, place: int) -> Row:
        """One row of a table of the schema, as plain values; `batch` says the same the other way."""
        numbers = [math.nan if (v := table.column(name)[place].as_py()) is None else v for name in self.numbers]
        flags = [2 if (v := table.column(name)[place].as_py()) is None else int(v) for name in self.flags]
        return Row(numbers, np.array(flags, np.int8), [table.column(name)[place].as_py() for name in self.texts])


_FLAGS = np.array([0.0, 1.0, np.nan])
_FLAG_WORDS = np.array([[1, 0], [1, 1], [0, 0]])  # validity, value


def _block(text: str, known: dict[str, bytes] = {}) -> bytes:  # noqa: B006  # a memory
    block = known.get(text)
    if block is None:
        data = text.encode()
        block = (1).to_bytes(8, "little") + bytes(4) + len(data).to_bytes(4, "little") + data
        if len(known) < 4096:
            known[text] = block
    return block


def _node(nulls: int) -> bytes:
    return (1).to_bytes(8, "little") + nulls.to_bytes(8, "little", signed=True)


def _places(schema: pa.Schema) -> tuple[dict[str, int], int]:
    """Where each column begins in the body, in words, and the body's length."""
    places: dict[str, int] = {}
    at = 0
    for field in schema:
        places[field.name] = at
        at += _TEXT_WORDS if pa.types.is_string(field.type) else 2
    return places, at


def _sample(schema: pa.Schema) -> pa.RecordBatch:
    """One row of nulls whose buffers are as long as they may become."""
    bits, word, data = (pa.py_buffer(bytes(size)) for size in (1, _WORD, TEXT_BYTES))
    ends = pa.py_buffer(np.array([0, TEXT_BYTES], np.int32))
    arrays = [
        pa.Array.from_buffers(
            f.type, 1, [bits, ends, data] if pa.types.is_string(f.type) else [bits, word], null_count=1
        )
        for f in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _only_chunk(column: "pa.ChunkedArray[Any]") -> "pa.Array[Any]":
    found: Any = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return found if found.offset == 0 else pa.concat_arrays([found])


def _doubles(column: "pa.ChunkedArray[Any]") -> memoryview:
    """The numbers of a column, NaN where null."""
    array = _only_chunk(column)
    if array.null_count:
        array = array.fill_null(float("nan"))
    return memoryview(array.to_numpy(zero_copy_only=False))


def _flag_codes(table: pa.Table, names: Sequence[str]) -> npt.NDArray[np.int8]:
    codes = np.empty((table.num_rows, len(names)), np.int8)
    for place, name in enumerate(names):
        codes[:, place] = table.column(name).cast(pa.int8()).fill_null(2).to_numpy()
    return codes


def _coded(column: "pa.ChunkedArray[Any]") -> tuple[Any, list[str | None]]:
    """Codes of a text column and the words they stand for; the last word is None, for null."""
    array: Any = _only_chunk(column).dictionary_encode()
    words = [*array.dictionary.to_pylist(), None]
    return memoryview(array.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)), words
