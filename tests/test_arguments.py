from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_recurring._arguments import NO_ARGUMENTS, Signature, read_arguments
from flask_recurring._arguments import signature as arguments
from flask_recurring._arguments.result import MAX_RESULT_BYTES, encode_result, read_result
from flask_recurring.errors import ArgumentError, ConfigurationError

if TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found]

T = TypeVar("T")
BERLIN = ZoneInfo("Europe/Berlin")


class JobContext:
    """Stands in for the class that the extension gives."""


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Status(enum.StrEnum):
    OPEN = "open"


class Level(enum.IntEnum):
    HIGH = 3


class Fraction(enum.Enum):
    HALF = 0.5


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Line:
    item: str
    price: Decimal
    tags: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class DiscountedLine(Line):
    percent: int = 0


@dataclasses.dataclass(eq=False)
class Order:
    lines: list[Line]
    placed: datetime
    parent: Order | None = None


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


@dataclasses.dataclass
class Attachment:
    path: Path | None = None


@dataclasses.dataclass
class Loose:
    data: Any


@dataclasses.dataclass
class Positive:
    value: int

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise LookupError("not positive")


@dataclasses.dataclass
class Dangling:
    other: NotDefinedAnywhere  # type: ignore[name-defined]  # noqa: F821


class Point(NamedTuple):
    x: int
    when: date


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Packet(msgspec.Struct):
    kind: str
    body: bytes


class Cat(msgspec.Struct, tag=True):
    name: str


class Dog(msgspec.Struct, tag=True):
    name: str
    age: int = 1


class Markup(str):
    __slots__ = ()


class FakeDatetime(datetime):
    pass


class FakeDate(date):
    pass


class Client:
    """Something that can't travel."""


class Scared:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def signature_for(annotation: Any) -> Signature:
    def task(value):  # type: ignore[no-untyped-def]
        pass

    task.__annotations__ = {"value": annotation}
    return Signature(task, JobContext)


def there_and_back(annotation: Any, value: Any) -> Any:
    signature = signature_for(annotation)
    args, kwargs = signature.unpack(signature.pack((value,), {}))
    assert not kwargs
    (back,) = args
    args, kwargs = signature.unpack(signature.pack((), {"value": value}))
    assert not args
    assert type(kwargs["value"]) is type(back)
    return back


def simple(a: int, b: str = "x", *, c: float = 1.0) -> None: ...
def nothing() -> None: ...
def with_context(context: JobContext, a: int, b: int = 2) -> None: ...
def untyped(a, b=None): ...  # type: ignore[no-untyped-def]
def items(first: int, *rest: date, **others: Decimal) -> None: ...
def only(a: int, b: int = 2, /, c: int = 3, *, d: int, e: int = 5) -> None: ...


# The shape of a call


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "text"),
    [
        (nothing, (), {}, "[[],{}]"),
        (simple, (1,), {}, "[[1],{}]"),
        (simple, (1, "y"), {"c": 2.5}, '[[1,"y"],{"c":2.5}]'),
        (simple, (), {"b": "ä\0", "a": 1}, '[[],{"b":"ä\\u0000","a":1}]'),
        (with_context, (1,), {"b": 3}, '[[1],{"b":3}]'),
        (only, (1,), {"d": 4}, '[[1],{"d":4}]'),
        (only, (1, 2, 3), {"d": 4, "e": 6}, '[[1,2,3],{"d":4,"e":6}]'),
        (untyped, (None, [1, {"k": [True]}]), {}, '[[null,[1,{"k":[true]}]],{}]'),
        (
            items,
            (1, date(2024, 1, 2), date(2024, 2, 3)),
            {"x": Decimal("1.10")},
            '[[1,"2024-01-02","2024-02-03"],{"x":"1.10"}]',
        ),
    ],
)
def test_a_call_keeps_its_shape(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], text: str
) -> None:
    signature = Signature(function, JobContext)
    assert signature.pack(args, kwargs) == text
    back_args, back_kwargs = signature.unpack(text)
    assert (tuple(back_args), back_kwargs) == (args, kwargs)
    assert list(back_kwargs) == list(kwargs)


def test_no_arguments_is_one_constant() -> None:
    signature = Signature(nothing)
    assert signature.pack((), {}) is NO_ARGUMENTS
    one = signature.unpack(NO_ARGUMENTS)
    one[1]["mine"] = 1
    assert signature.unpack(NO_ARGUMENTS) == ([], {})


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "message"),
    [
        (simple, (), {}, r"^simple\(\) misses a value for parameter 'a'$"),
        (only, (), {}, r"misses a value for parameter 'a', 'd'$"),
        (simple, (1, "x", 2.0), {}, r"takes 2 positional arguments \(a, b\), but 3 were given"),
        (nothing, (1,), {}, r"^nothing\(\) takes 0 positional arguments, but 1 were given$"),
        (simple, (1,), {"d": 1}, r"no parameter 'd' that takes a keyword; those it has: a, b, c"),
        (simple, (1,), {"a": 1}, r"several values for parameter 'a'"),
        (only, (), {"a": 1, "d": 1}, r"no parameter 'a' that takes a keyword"),
        (with_context, (1,), {"context": 1}, r"'context', which is filled in with the context"),
        (with_context, (1, 2, 3), {}, r"takes 2 positional arguments \(a, b\)"),
        (items, (), {"x": Decimal(1)}, r"misses a value for parameter 'first'"),
        (items, (1, "2024-01-02"), {}, r"parameter '\*rest' can't be '2024-01-02' \(str\)"),
        (items, (1,), {"x": 1}, r"parameter '\*\*others' can't be 1 \(int\)"),
    ],
)
def test_a_call_that_does_not_fit(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    signature = Signature(function, JobContext)
    with pytest.raises(ArgumentError, match=message):
        signature.pack(args, kwargs)


def test_a_positional_only_name_may_be_a_keyword_of_the_others() -> None:
    def task(a: int, /, **others: int) -> None: ...

    signature = Signature(task)
    assert signature.unpack(signature.pack((1,), {"a": 2})) == ([1], {"a": 2})


def test_the_message_bears_the_tasks_own_name() -> None:
    with pytest.raises(ArgumentError, match=r"^mail\.send\(\) misses"):
        Signature(simple, name="mail.send").pack((), {})


def test_shapes_without_end_are_not_kept() -> None:
    signature = Signature(items)
    for number in range(1000):
        signature.pack((1,), {f"key{number}": Decimal(number)})
    assert len(signature._plans) <= arguments._MOST_PLANS


def test_the_text_is_taken_at_the_call() -> None:
    def task(values: list[int]) -> None: ...

    values = [1]
    text = Signature(task).pack((values,), {})
    values.append(2)
    assert Signature(task).unpack(text) == ([[1]], {})


# Values that travel


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 5),
        (int, -(2**63)),
        (int, 2**64 - 1),
        (int, Level.HIGH),
        (str, ""),
        (str, 'ä \U0001f600 \0 " \\'),
        (str, Status.OPEN),
        (bool, True),
        (float, 0.1),
        (float, 5e-324),
        (None, None),
        (Optional[int], None),  # noqa: UP045
        (int | None, 5),
        (int | str | None, "x"),
        (int | float, 3),
        (int | float, 3.0),
        (datetime, datetime(2024, 5, 1, 12, 30, 15, 123456)),
        (datetime, datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        (datetime, datetime(2024, 5, 1, 12, 30, tzinfo=BERLIN)),
        (datetime, datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)),
        (datetime, datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))),
        (datetime, datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))),
        (datetime, FakeDatetime(2024, 5, 1, 12, tzinfo=UTC)),
        (date, date(2024, 2, 29)),
        (date, FakeDate(2024, 2, 29)),
        (date | None, None),
        (time, time(1, 2, 3, 4)),
        (time, time(1, 2, 3, tzinfo=timezone(timedelta(hours=2)))),
        (timedelta, timedelta(days=-1, microseconds=1)),
        (timedelta, timedelta.max),
        (timedelta, timedelta.min),
        (UUID, UUID(int=7)),
        (Decimal, Decimal("1.10")),
        (Decimal, Decimal("1E+3")),
        (bytes, b"\x00\xff"),
        (bytearray, bytearray(b"x")),
        (Colour, Colour.RED),
        (Status, Status.OPEN),
        (Level, Level.HIGH),
        (Rights, Rights.READ | Rights.WRITE),
        (Literal["a", "b"], "b"),
        (Literal[1, 2], 2),
        (list[int], [1, 2]),
        (list[datetime], [datetime(2024, 1, 1, tzinfo=UTC)]),
        (list, [1, "x", [None]]),
        (Sequence[int], [1, 2]),
        (Mapping[str, int], {"a": 1}),
        (tuple[int, str], (1, "x")),
        (tuple[date, ...], (date(2024, 1, 1),)),
        (tuple, (1, "x")),
        (set[int], {1, 2}),
        (frozenset[UUID], frozenset({UUID(int=1)})),
        (dict[str, int], {"a": 1}),
        (dict[str, Any], {"a": [1, {"b": None}]}),
        (dict[str, object], {"a": [1, {"b": None}]}),
        (dict[int, str], {1: "x"}),
        (dict[date, Decimal], {date(2024, 1, 1): Decimal("0.1")}),
        (dict[Colour, int], {Colour.RED: 1}),
        (dict[Colour, Any], {Colour.RED: [1], Colour.BLUE: None}),
        (dict[int, Any], {2: "x", 1: "y"}),
        (dict[str, int], {Status.OPEN: 1}),
        (Box[date], Box(date(2024, 1, 1))),
        (dict[str, int], collections.OrderedDict(a=1)),
        (dict[str, list[Line]], {"x": [Line("a", Decimal("1.0"), {"t"})]}),
        (Line, Line("a", Decimal("2.50"))),
        (Line | None, None),
        (Loose, Loose({"a": [1.5]})),
        (Point, Point(1, date(2024, 1, 1))),
        (Movie, {"title": "x"}),
        (Movie, {"title": "x", "year": 1999}),
        (Packet, Packet("k", b"\x00")),
        (Cat | Dog, Dog("x", 3)),
        (Annotated[int, msgspec.Meta(ge=0)], 0),
        (Annotated[datetime, "a note"], datetime(2024, 1, 1)),
        (str, Markup("<b>")),
        (object, {"a": 1}),
    ],
)
def test_a_value_comes_back_as_it_was(annotation: Any, value: Any) -> None:
    back = there_and_back(annotation, value)
    if isinstance(value, datetime) and value.tzinfo:
        assert back.tzinfo is not None
        # Not ``==``: between two zones that is always false in the hour that occurs twice.
        assert not back - value
    else:
        assert back == value
    assert isinstance(value, type(back))


@pytest.mark.parametrize("value", [None, True, 1, -1.5, "x", [], {}, [1, [2, {"a": None}]]])
def test_what_json_has_travels_without_an_annotation(value: Any) -> None:
    signature = Signature(untyped)
    (back,), _ = signature.unpack(signature.pack((value,), {}))
    assert back == value
    assert type(back) is type(value)


def test_a_tuple_comes_back_as_a_list_where_nothing_says_tuple() -> None:
    assert there_and_back(Any, (1, (2, 3))) == [1, [2, 3]]
    assert there_and_back(Sequence[int], (1, 2)) == [1, 2]


def test_an_int_serves_as_a_float() -> None:
    back = there_and_back(float, 3)
    assert back == 3.0
    assert type(back) is float


def test_decimal_nan_travels() -> None:
    assert there_and_back(Decimal, Decimal("NaN")).is_nan()


def test_a_dataclass_without_equality_travels() -> None:
    order = Order([Line("a", Decimal(1))], datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1))
    order.parent = Order([], datetime(2024, 1, 1))
    back = there_and_back(Order, order)
    assert back.lines == order.lines
    assert back.placed - order.placed == timedelta(0)
    assert back.parent.placed == datetime(2024, 1, 1)
    assert back.parent.parent is None


# Values that don't


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, "5", r"can't be '5' \(str\): Expected `int`, got `str`. It takes int$"),
        (int, True, r"can't be True \(bool\): Expected `int`, got `bool`"),
        (int, 2.0, r"Expected `int`, got `float`"),
        (int, None, r"can't be None: Expected `int`, got `null`"),
        (int, 2**64, r"more than 64 bits"),
        (list[int], [2**64], r"value\[0\] is .* more than 64 bits"),
        (bool, 1, r"Expected `bool`, got `int`"),
        (float, math.nan, r"can't be nan .*JSON has no nan and no infinity"),
        (float, -math.inf, r"JSON has no nan and no infinity"),
        (list[float], [1.0, math.inf], r"`value\[1\]` \(JSON has no nan and no infinity\)"),
        (float, True, r"Expected `float`, got `bool`"),
        (float, 2**53 + 1, r"would come back as"),
        (float, Decimal("1.5"), r"Expected `float`, got `str`"),
        (str, 5, r"Expected `str`, got `int`"),
        (str, "\udc80", r"lone surrogate"),
        (list[str], ["a\ud800"], r"lone surrogate"),
        (str, UUID(int=1), r"would come back as '0{8}-"),
        (str, Colour.RED, r"would come back as 'red' \(str\)"),
        (str | None, datetime(2024, 1, 1), r"would come back as '2024-01-01T00:00:00' \(str\)"),
        (datetime, "2024-01-01T00:00:00", r"can't be '2024.*would come back as .*\(datetime\)"),
        (datetime, date(2024, 1, 1), r"Invalid RFC3339 encoded datetime"),
        (date, datetime(2024, 1, 1), r"Invalid RFC3339 encoded date"),
        (
            datetime,
            datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=1))),
            r"would come back as",
        ),
        (datetime, datetime(2024, 10, 27, 2, 30, fold=1), r"would come back as"),
        (time, time(1, 2, tzinfo=BERLIN), r"would come back as datetime.time\(1, 2\)"),
        (timedelta, 5, r"can't be 5 \(int\)"),
        (timedelta, "PT5S", r"would come back as datetime.timedelta"),
        (UUID, str(UUID(int=1)), r"would come back as UUID"),
        (UUID, "x", r"Invalid UUID"),
        (Decimal, 1, r"would come back as Decimal"),
        (Decimal, 1.5, r"would come back as Decimal"),
        (bytes, "eA==", r"would come back as b'x'"),
        (bytes, bytearray(b"x"), r"would come back as b'x'"),
        (Colour, "red", r"would come back as <Colour.RED"),
        (Colour, Status.OPEN, r"Invalid enum value"),
        (Status, "open", r"would come back as <Status.OPEN"),
        (Literal["a"], "b", r"Invalid enum value 'b'"),
        (list[int], ["1"], r"Expected `int`, got `str` - at `value\[0\]`"),
        (list[int], {1, 2}, r"would come back as \[1, 2\]"),
        (list[int], 5, r"Expected `array`, got `int`"),
        (list[int], Point(1, date(2024, 1, 1)), r"Expected `int`, got `str`"),
        (list[int], range(3), r"Encoding objects of type range|range has no form in JSON"),
        (tuple[int, int], [1, 2], r"would come back as \(1, 2\)"),
        (tuple[int, int], (1, 2, 3), r"Expected `array` of length 2"),
        (set[int], [1], r"would come back as \{1\}"),
        (frozenset[int], {1}, r"would come back as frozenset"),
        (dict[str, int], {1: 1}, r"would come back as \{'1': 1\}"),
        (dict[int, int], {"1": 1}, r"would come back as \{1: 1\}"),
        (dict[str, Any], {"when": datetime(2024, 1, 1)}, r"value\['when'\] is datetime"),
        (dict[str, Any], collections.Counter(a=1), r"would come back as \{'a': 1\}"),
        (dict[str, object], {"a": Colour.RED}, r"value\['a'\] is <Colour.RED"),
        (dict[str, Any], {"a": Client()}, r"Client has no form in JSON"),
        (Loose, Loose([Status.OPEN]), r"value.data\[0\] is <Status.OPEN"),
        (Movie, {"title": "x", "extra": 1}, r"would come back as \{'title': 'x'\}"),
        (Movie, {}, r"missing required field `title`"),
        (Point, (1, date(2024, 1, 1)), r"would come back as Point\("),
        (Line, DiscountedLine("a", Decimal(1), set(), 5), r"would come back as Line\("),
        (Line, {"item": "a", "price": "1"}, r"would come back as Line\("),
        (Packet, {"kind": "a", "body": ""}, r"would come back as Packet\("),
        (Positive, Positive.__new__(Positive), r"parameter 'value' can't be"),
        (Annotated[int, msgspec.Meta(ge=0)], -1, r"Expected `int` >= 0"),
        (int, Scared(), r"can't be <Scared instance"),
    ],
)
def test_a_value_that_would_not_come_back(annotation: Any, value: Any, message: str) -> None:
    signature = signature_for(annotation)
    for args, kwargs in (((value,), {}), ((), {"value": value})):
        with pytest.raises(ArgumentError, match=message) as caught:
            signature.pack(args, kwargs)
        assert str(caught.value).startswith("task(): parameter 'value' ")


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 1, 1),
        date(2024, 1, 1),
        timedelta(1),
        uuid4(),
        Decimal(1),
        b"x",
        {1},
        Colour.RED,
        Status.OPEN,
        Level.HIGH,
        Point(1, date(2024, 1, 1)),
        Line("a", Decimal(1)),
        Client(),
        Client,
        nothing,
        math.nan,
        [math.inf],
        2**64,
        [-(2**63) - 1],
        {1: 1},
        {True: 1},
        {"a": {None: 1}},
        {Status.OPEN: 1},
        {1.5: 1},
        "\udfff",
        {"\udfff": 1},
        Markup("x"),
        (1, {2}),
        collections.defaultdict(list),
    ],
)
def test_without_an_annotation_only_json_travels(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^untyped\(\): parameter 'b' .*annotate it"):
        Signature(untyped).pack((1, value), {})


def test_an_int_of_more_digits_than_python_writes_out() -> None:
    large = 10**5000
    values: list[tuple[Any, Any, str]] = [
        (int, large, "<int of 16,610 bits> (int)"),
        (float, -large, "<int of 16,610 bits> (int)"),
        (str, large, "<int of 16,610 bits> (int)"),
        (list[int], [1, large], "[1, <int of 16,610 bits>] (list)"),
        (dict[int, int], {large: 1}, "{<int of 16,610 bits>: 1} (dict)"),
        (Any, {"a": [large]}, "{'a': [<int of 16,610 bits>]} (dict)"),
    ]
    for annotation, value, shown in values:
        with pytest.raises(ArgumentError) as caught:
            signature_for(annotation).pack((value,), {})
        assert f"parameter 'value' can't be {shown}: an int of more than 64" in str(caught.value)


def test_cycles_and_depths_are_refused() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    mapping: dict[str, Any] = {}
    mapping["self"] = mapping
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (cycle, mapping, deep):
        with pytest.raises(ArgumentError, match="nested too deeply, or contains itself"):
            Signature(untyped).pack((value,), {})
        with pytest.raises(ValueError, match="nested too deeply, or contains itself"):
            encode_result(value)
    # Taken apart by hand: freeing so deep a list would overflow the stack of older Pythons.
    while deep:
        deep = deep.pop()


def test_too_large_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    signature = Signature(untyped)
    frame = len('[["",1],{}]')
    assert len(signature.pack(("x" * (arguments.MAX_BYTES - frame), 1), {})) == arguments.MAX_BYTES
    with pytest.raises(ArgumentError, match=r"1,048,577 bytes .* parameter 'a' takes .*1,048,576"):
        signature.pack(("x" * (arguments.MAX_BYTES - frame + 1), 1), {})
    monkeypatch.setattr(arguments, "MAX_BYTES", 20)
    with pytest.raises(ArgumentError, match=r"parameter 'b' takes 20"):
        signature.pack(("x",), {"b": "ä" * 9})


def test_a_lone_surrogate_in_a_keywords_name() -> None:
    def task(**others: int) -> None: ...

    with pytest.raises(ArgumentError, match="a keyword's name holds a lone surrogate"):
        Signature(task).pack((), {"\udc80": 1})


def test_a_default_that_cannot_travel_may_stay_unused() -> None:
    def task(a: int, client: Client | None = None) -> None: ...

    signature = Signature(task)
    assert signature.pack((1,), {}) == "[[1],{}]"
    for client in (Client(), None):
        with pytest.raises(ArgumentError, match=r"'client' is annotated .*Client.*can't travel"):
            signature.pack((1, client), {})
    with pytest.raises(ArgumentError, match=r"'client' is annotated .*Client.*can't travel"):
        signature.unpack("[[1,2],{}]")


def test_a_union_that_cannot_be_told_apart() -> None:
    with pytest.raises(ArgumentError, match=r"'value' is annotated datetime.datetime \| str.*more"):
        signature_for(datetime | str).pack(("x",), {})


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Attachment, r"Attachment, which can't travel as JSON: pathlib\..*Path"),
        (list[Path], r"Path has no form in JSON"),
        (complex, r"complex has no form in JSON"),
        (Callable[[], None], r"can't travel as JSON"),
        (Fraction, r"can't travel as JSON"),
    ],
)
def test_an_annotation_that_cannot_travel(annotation: Any, reason: str) -> None:
    for value in (None, 1, Attachment()):
        with pytest.raises(ArgumentError, match=rf"^task\(\): parameter 'value' is .*{reason}"):
            signature_for(annotation).pack((value,), {})


# Reading what an older version of the code stored


@pytest.mark.parametrize(
    ("function", "text", "message"),
    [
        (simple, NO_ARGUMENTS, r"misses a value for parameter 'a'"),
        (simple, '[["1"],{}]', r"parameter 'a' no longer fits .*Expected `int`, got `str`"),
        (simple, '[[1],{"b":5}]', r"parameter 'b' no longer fits .*Expected `str`, got `int`"),
        (simple, '[[1],{"gone":5}]', r"no parameter 'gone'"),
        (simple, '[[1,"x",2.0],{}]', r"takes 2 positional arguments"),
        (items, '[[1,"2024-01-02","2024-13-02"],{}]', r"parameter '\*rest' no longer fits"),
        (simple, "[[1]]", r"not of the form"),
        (simple, '{"a":1}', r"not of the form"),
        (simple, "[[1],{}", r"not of the form"),
        (simple, "", r"not of the form"),
    ],
)
def test_stored_arguments_that_no_longer_fit(function: Any, text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Signature(function).unpack(text)


def test_a_dataclass_that_no_longer_accepts_its_values() -> None:
    signature = signature_for(list[Positive])
    assert signature.unpack(signature.pack(([Positive(1)],), {})) == ([[Positive(1)]], {})
    with pytest.raises(ArgumentError, match=r"'value' no longer fits .*not positive"):
        signature.unpack('[[[{"value":0}]],{}]')


# The context


def optional_context(a: int, context: JobContext | None = None) -> None: ...
def old_optional_context(context: Optional[JobContext], a: int) -> None: ...  # noqa: UP045
def annotated_context(context: Annotated[JobContext, "x"]) -> None: ...
def keyword_context(a: int = 1, *, context: JobContext) -> None: ...
def positional_context(a: int = 1, context: JobContext = None, /) -> None: ...  # type: ignore[assignment]
def context_then_rest(a: int, context: JobContext, *rest: int) -> None: ...
def two_contexts(one: JobContext, two: JobContext) -> None: ...
def many_contexts(*contexts: JobContext) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (simple, None),
        (with_context, "context"),
        (optional_context, "context"),
        (old_optional_context, "context"),
        (annotated_context, "context"),
        (keyword_context, "context"),
        (positional_context, "context"),
    ],
)
def test_the_contexts_parameter(function: Any, name: str | None) -> None:
    assert Signature(function, JobContext).context_parameter == name


@pytest.mark.parametrize("function", [two_contexts, many_contexts])
def test_one_place_for_the_context(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="takes its JobContext more than once"):
        Signature(function, JobContext).resolve()


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "expected"),
    [
        (simple, (1,), {}, ((1,), {})),
        (with_context, (1, 2), {}, (["C", 1, 2], {})),
        (with_context, (), {"a": 1}, (["C"], {"a": 1})),
        (optional_context, (1,), {}, ([1, "C"], {})),
        (optional_context, (), {"a": 1}, ((), {"a": 1, "context": "C"})),
        (keyword_context, (1,), {}, ((1,), {"context": "C"})),
        (positional_context, (), {}, ([1, "C"], {})),
        (positional_context, (5,), {}, ([5, "C"], {})),
        (context_then_rest, (1, 2, 3), {}, ([1, "C", 2, 3], {})),
        (context_then_rest, (), {"a": 1}, ((), {"a": 1, "context": "C"})),
    ],
)
def test_the_context_is_put_in_its_place(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], expected: Any
) -> None:
    assert Signature(function, JobContext).with_context(args, kwargs, "C") == expected


def test_with_the_context_every_call_that_fits_can_be_made() -> None:
    seen: list[tuple[object, ...]] = []
    context = JobContext()

    def task(a: int, context: JobContext, b: int = 2, *rest: int, c: int = 3) -> None:
        seen.append((a, context, b, rest, c))

    signature = Signature(task, JobContext)
    for args, kwargs in (((1,), {}), ((1, 5, 6), {"c": 7}), ((), {"b": 8, "a": 1})):
        values, keywords = signature.unpack(signature.pack(args, kwargs))
        values, keywords = signature.with_context(values, keywords, context)  # type: ignore[assignment]
        task(*values, **keywords)
    assert seen == [(1, context, 2, (), 3), (1, context, 5, (6,), 7), (1, context, 8, (), 3)]


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "brought"),
    [
        (simple, (1,), {}, False),
        (with_context, (1,), {}, False),
        (with_context, (1, 2), {}, False),
        (with_context, (JobContext(), 1), {}, True),
        (with_context, (JobContext(),), {"a": 1}, True),
        (with_context, (), {"a": 1, "context": None}, True),
        (with_context, ("stand-in", 1, 2), {}, True),
        (with_context, ("stand-in",), {"a": 1, "b": 2}, True),
        (optional_context, (1, None), {}, True),
        (optional_context, (1,), {}, False),
        (keyword_context, (1,), {}, False),
        (annotated_context, ("stand-in",), {}, True),
        (context_then_rest, (1, 2), {}, False),
        (context_then_rest, (1, JobContext()), {}, True),
    ],
)
def test_whether_a_plain_call_brings_its_context(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], brought: bool
) -> None:
    assert Signature(function, JobContext).has_context(args, kwargs) is brought


def test_a_context_is_never_stored() -> None:
    with pytest.raises(ArgumentError, match="'a' can't be"):
        Signature(with_context, JobContext).pack((JobContext(),), {})
    with pytest.raises(ArgumentError, match="which is filled in"):
        Signature(with_context, JobContext).unpack('[[1],{"context":1}]')


# Annotations


def forward(value: Later) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_a_forward_reference_is_resolved_at_the_first_use() -> None:
    signature = Signature(forward)
    with pytest.raises(ConfigurationError, match=r"^forward\(\): the annotation 'Later' of para"):
        signature.pack((1,), {})
    globals()["Later"] = Decimal
    try:
        assert signature.pack((Decimal("1.0"),), {}) == '[["1.0"],{}]'
    finally:
        del globals()["Later"]
    assert signature.pack((Decimal("2.0"),), {}) == '[["2.0"],{}]'


def test_a_name_that_only_type_checkers_know() -> None:
    def task(a: int, value: Missing) -> None: ...

    signature = Signature(task)
    for use in (
        lambda: signature.pack((1, 2), {}),
        lambda: signature.unpack("[[1,2],{}]"),
        lambda: signature.context_parameter,
        signature.resolve,
    ):
        with pytest.raises(ConfigurationError, match=r"'Missing' of parameter 'value' can't be re"):
            use()


def test_a_name_that_only_type_checkers_know_within_a_dataclass() -> None:
    with pytest.raises(ConfigurationError, match=r"parameter 'value' can't be resolved.*NotDefine"):
        signature_for(Dangling).resolve()


def test_an_annotation_that_is_no_expression() -> None:
    with pytest.raises(ConfigurationError, match=r"task\(\): the annotation 'not a type'"):
        signature_for("not a type").resolve()


def test_the_return_annotation_does_not_matter() -> None:
    def task(a: int) -> Missing: ...

    assert Signature(task).pack((1,), {}) == "[[1],{}]"


def test_the_context_is_known_by_name_under_type_checking() -> None:
    namespace: dict[str, Any] = {}
    exec("def task(context: 'JobContext | None', a: 'int'): ...", namespace)
    signature = Signature(namespace["task"], JobContext)
    assert signature.context_parameter == "context"
    assert signature.pack((1,), {}) == "[[1],{}]"


def test_threads_may_resolve_at_the_same_time() -> None:
    signature = Signature(items)
    barrier = threading.Barrier(8)
    texts: list[str] = []

    def use() -> None:
        barrier.wait(10)
        text = signature.pack((1, date(2024, 1, 1)), {"x": Decimal(1)})
        assert signature.unpack(text)[0] == [1, date(2024, 1, 1)]
        texts.append(text)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert texts == ['[[1,"2024-01-01"],{"x":"1"}]'] * 8


class Service:
    def method(self, when: date) -> None: ...

    @classmethod
    def made(cls, when: date) -> None: ...

    def __call__(self, when: date) -> None: ...


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def dated(when: date) -> None: ...


async def dated_async(when: date) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        dated,
        dated_async,
        decorated(dated),
        functools.partial(dated),
        decorated(functools.partial(dated)),
        Service().method,
        Service.made,
        Service(),
    ],
)
def test_every_kind_of_callable(function: Any) -> None:
    signature = Signature(function, JobContext)
    text = signature.pack((), {"when": date(2024, 1, 2)})
    assert signature.unpack(text) == ([], {"when": date(2024, 1, 2)})


def test_a_partial_has_the_name_of_its_function() -> None:
    signature = Signature(functools.partial(simple, b="y"))
    with pytest.raises(ArgumentError, match=r"^simple\(\) misses a value for parameter 'a'"):
        signature.pack((), {})
    assert signature.pack((1,), {}) == "[[1],{}]"


class Opaque:
    __signature__ = "unknown"

    def __call__(self) -> None: ...


def test_a_callable_without_known_parameters() -> None:
    with pytest.raises(ConfigurationError, match=r"^Opaque\(\) can't be a task: its parameters"):
        Signature(Opaque()).pack((1,), {})


# Any call that fits comes back whole

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(json_values, json_values)
def test_all_of_json_travels(one: Any, two: Any) -> None:
    signature = Signature(untyped)
    text = signature.pack((one,), {"b": two})
    assert signature.unpack(text) == ([one], {"b": two})
    assert read_arguments(text) == ((one,), {"b": two})


@dataclasses.dataclass
class Everything:
    a: datetime
    b: list[date]
    c: dict[str, timedelta]
    d: tuple[UUID, Decimal]
    e: frozenset[Colour]
    f: bytes | None
    g: time


@given(
    st.builds(
        Everything,
        a=st.datetimes(
            timezones=st.none() | st.sampled_from([UTC, BERLIN, ZoneInfo("Asia/Kabul")])
        ),
        b=st.lists(st.dates()),
        c=st.dictionaries(st.text(), st.timedeltas()),
        d=st.tuples(st.uuids(), st.decimals(allow_nan=False)),
        e=st.frozensets(st.sampled_from(Colour)),
        f=st.none() | st.binary(),
        g=st.times(),
    )
)
def test_what_is_accepted_comes_back_whole(value: Everything) -> None:
    signature = signature_for(Everything)
    try:
        text = signature.pack((value,), {})
    except ArgumentError:
        # The ISO form keeps no seconds of an offset and no fold.
        offset = value.a.utcoffset() or timedelta(0)
        assert offset.total_seconds() % 60 or value.a.fold or value.g.fold
        return
    (back,), _ = signature.unpack(text)
    assert not back.a - value.a
    assert dataclasses.replace(back, a=value.a) == value


# Reading without the task


def test_stored_arguments_as_plain_json() -> None:
    text = Signature(items).pack((1, date(2024, 1, 2)), {"x": Decimal("1.0")})
    assert read_arguments(text) == ((1, "2024-01-02"), {"x": "1.0"})
    assert read_arguments(NO_ARGUMENTS) == ((), {})
    with pytest.raises(ArgumentError, match="not of the form"):
        read_arguments("{}")


# Results


@pytest.mark.parametrize(
    ("value", "text", "read"),
    [
        (None, None, None),
        (5, "5", 5),
        (False, "false", False),
        ("x", '"x"', "x"),
        ({"a": [1.5, None]}, '{"a":[1.5,null]}', {"a": [1.5, None]}),
        (datetime(2024, 1, 1, tzinfo=UTC), '"2024-01-01T00:00:00Z"', "2024-01-01T00:00:00Z"),
        (Line("a", Decimal("1.0")), None, {"item": "a", "price": "1.0", "tags": []}),
        ({1: Colour.RED}, '{"1":"red"}', {"1": "red"}),
        (Markup("x"), '"x"', "x"),
    ],
)
def test_a_result_is_read_as_plain_json(value: Any, text: str | None, read: Any) -> None:
    encoded = encode_result(value)
    if text is not None or value is None:
        assert encoded == text
    assert read_result(encoded) == read


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Client(), r"of type Client, can't be kept as JSON: .*Client has no form.* Return None"),
        ([Client()], r"of type list, can't be kept as JSON"),
        ((n for n in "x"), r"of type generator, can't be kept"),
        (math.nan, "holds nan or infinity"),
        ({"a": [(1, math.inf)]}, "holds nan or infinity"),
        (Loose(math.nan), "holds nan or infinity"),
        ("\udc80", "lone surrogate"),
        ("x" * MAX_RESULT_BYTES, r"65,538 bytes of JSON; at most 65,536 are kept"),
    ],
)
def test_a_result_that_cannot_be_kept(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_result(value)


def test_the_largest_result() -> None:
    assert encode_result("x" * (MAX_RESULT_BYTES - 2)) is not None
