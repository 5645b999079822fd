"""Which kinds are known, what an unknown one has, and that a failure is one sentence."""

import pytest
import xarray

from lightning_landscape.results import registry
from lightning_landscape.results.exact import with_exact
from lightning_landscape.results.registry import Result, guarded, kind_of, kinds, look_up, register


@pytest.fixture(autouse=True)
def unchanged():
    """Forget the kinds that a test registers."""
    kinds()  # which loads those of the package
    before = dict(registry._known)
    yield
    registry._known.clear()
    registry._known.update(before)


def record(kind="", **variables):
    return xarray.Dataset(variables, attrs={"probe": kind} if kind else {})


def test_the_kinds_of_the_package_come_first_and_in_the_order_of_a_comparison():
    class Later(Result):
        pass

    register("Later")(Later)
    order = kinds()
    own = [
        "EnergyRelaxation", "AgingCorrelation", "LinearResponse", "FieldResponse",
        "DamageSpreading", "HessianSpectrum", "NoiseSpectrum", "Stationarity",
        "TemperatureFluctuations", "Equilibration", "LearningCoefficient", "FiniteSize",
    ]  # fmt: skip
    places = [order.index(kind) for kind in own]
    assert places == sorted(places)
    assert order[-1] == "Later"


def test_a_kind_is_that_of_its_attribute():
    assert kind_of(record("EnergyRelaxation")) == "EnergyRelaxation"
    assert kind_of(record()) == ""


def test_an_unknown_kind_has_nothing_and_keeps_its_record():
    dataset, result = record("Nobody", x=1.0), look_up("Nobody")
    assert list(result.rows(dataset)) == [] and result.panels(dataset) == []
    assert result.exact(dataset) is dataset and not result.charts(dataset, {})
    assert not result.estimates(dataset, {})
    assert with_exact(dataset) is dataset


def test_one_result_can_be_that_of_several_kinds_and_the_last_of_a_name_counts():
    class First(Result):
        pass

    class Second(Result):
        pass

    register("Mine", "Also mine")(First)
    assert look_up("Mine") is not look_up("Also mine")
    assert type(look_up("Also mine")) is First
    register("Mine")(Second)
    assert type(look_up("Mine")) is Second


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ArithmeticError("no root"), "no exact curve for Mine: no root"),
        (KeyError("mixture"), "no exact curve for Mine: KeyError: 'mixture'"),
    ],
)
def test_a_curve_that_cannot_be_computed_costs_the_curve_only(caplog, error, sentence):
    @register("Mine")
    class Failing(Result):
        def exact(self, dataset):
            raise error

    dataset = record("Mine", x=1.0)
    assert with_exact(dataset) is dataset
    assert caplog.messages == [sentence]


def test_a_failure_inside_a_guard_is_told_and_an_interrupt_is_not_caught(caplog):
    with guarded(record("Mine"), "figure"):
        raise ValueError("no axis")
    assert caplog.messages == ["no figure of Mine: ValueError: no axis"]
    with pytest.raises(KeyboardInterrupt), guarded(record("Mine"), "figure"):
        raise KeyboardInterrupt
