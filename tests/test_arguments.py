"""What public constructors and functions do with arguments of a wrong kind: name them."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike

from lightning_landscape.arguments import Checked, checked, is_a
from lightning_landscape.errors import UsageError


class HasSize(Protocol):
    size: int

    def grow(self): ...


class Sized:
    size = 3

    def grow(self):
        pass


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (int, [3, 3.0, np.int64(3), torch.tensor(3)], [2.5, math.nan, math.inf, True, "3", None]),
        (float, [3, 2.5, math.inf, np.float32(1), torch.tensor(1.0)], [math.nan, False, "1", 1j]),
        (complex, [1j, 2], ["1", None]),
        (bool, [True, np.bool_(False)], [1, None, "no"]),
        (str, ["a"], [1, None]),
        (int | None, [1, None], ["a", 1.5]),
        (Literal["train", "eval"], ["eval"], ["evil", None, 3]),
        (Sequence[float], [[1, 2.0], (), torch.ones(3), range(3)], ["ab", 1.0, [None], [math.nan]]),
        (Sequence[float], [np.ones(2)], [torch.tensor([math.nan]), np.float64(1), {1: 2}]),
        (tuple[float, float], [(1, 2), torch.ones(2)], [(1,), (1, "a"), torch.ones(3), 1.0]),
        (tuple[int, ...], [(1, 2, 3), ()], [(1, "a"), 3]),
        (Iterable[int], [iter([1])], [3, "abc"]),
        (Callable[[int], int], [abs, Sized], [3, "abs", None]),
        (Mapping[str, int], [{}], [[], 3]),
        (torch.Tensor, [torch.ones(1)], [np.ones(1), [1.0], None]),
        (ArrayLike, [1.0, [1, math.nan], np.ones(2)], [None, "a", object(), [math.nan]]),
        (ArrayLike, [torch.ones(2)], [torch.tensor([math.nan])]),
        (ArrayLike | None, [None, [[1.0]]], ["a", object(), math.nan]),
        (HasSize, [Sized()], [3, object()]),
        (Any, [3, None], []),
        (object, [3, None], []),
    ],
)
def test_values_are_of_a_kind_or_not(kind, right, wrong):
    assert all(is_a(value, kind) for value in right)
    assert not any(is_a(value, kind) for value in wrong)


class Base(Checked):
    def __init__(self, name: str | None = None) -> None:
        self.name = name


class Derived(Base):
    def __init__(self, *sizes: int, how: Literal["mean", "sum"] = "mean", **options: Any) -> None:
        super().__init__(**options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"how": "men"}, 'how = men: must be "mean" or "sum" (did you mean mean?)'),
        ({"how": torch.ones(1)}, 'how = Tensor: must be "mean" or "sum"'),
        ({"name": 3}, "name = 3: must be a text or None"),  # an option of the base
    ],
)
def test_the_sentence_names_argument_value_and_what_is_right(options, sentence):
    with pytest.raises(UsageError) as error:
        Derived(**options)
    assert str(error.value) == sentence


def test_wrong_names_are_left_to_python_and_defaults_need_not_be_of_their_kind():
    with pytest.raises(TypeError, match="unexpected keyword"):
        Derived(nme="a")

    @checked
    def default(x: int = None) -> Any:  # noqa: RUF013
        return x

    assert default() is default(None) is None
    assert inspect.signature(default).parameters.keys() == {"x"}


ROOMS = ["callbacks", "curvature", "data", "dynamics", "energies", "exploration", "observables"]
BAD = [None, "abc", math.nan, object(), torch.full((2, 3), math.nan)]
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# what is made by the package itself, and functions with checks of their own
NOT_CHECKED = {
    "Alignment", "Balance", "Eigenpairs", "Minimum", "Moments", "SpectralQuadrature",
    "Bands", "Database", "Points", "Saddles", "StationaryPoints",
}  # fmt: skip


def public():
    for room in ROOMS:
        module = import_module(f"lightning_landscape.{room}")
        for name in module.__all__:
            thing = getattr(module, name)
            is_protocol = getattr(thing, "_is_protocol", False)
            if callable(thing) and not is_protocol and not inspect.isabstract(thing):
                yield f"{room}.{name}", thing


@pytest.mark.parametrize(("name", "thing"), list(public()))
def test_a_public_name_refuses_arguments_of_a_wrong_kind(name, thing):
    """All required arguments at once, or else one after the other; the sentence names one."""
    is_class = isinstance(thing, type)
    guarded = issubclass(thing, Checked) if is_class else hasattr(thing, "__wrapped__")
    if not guarded:
        assert name.partition(".")[2] in NOT_CHECKED
        return
    signature = inspect.signature(thing.__init__ if is_class else thing)
    known = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if name != "self"
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    required = [name for name, parameter in known.items() if parameter.default is parameter.empty]
    calls = [required] if required else [[name] for name in known]
    for names in calls:
        with pytest.raises(UsageError) as error:
            thing(**dict.fromkeys(names, object()))
        assert str(error.value).split(" = ")[0].split(".")[0] in known
        if names == ["folder"]:  # a place that downloads data would be taken
            continue
        for bad in BAD:
            try:
                thing(**dict.fromkeys(names, bad))
            except UsageError as refused:
                assert "\n" not in str(refused)
            except Exception as bare:
                raise AssertionError(f"{names} = {bad!r}: {type(bare).__name__}: {bare}") from bare
