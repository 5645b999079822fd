import pytest
import torch

from lightning_landscape.curvature import hessian_of
from lightning_landscape.data import RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.jamming import effective_parameters, part_spectra, split_of


def network(activation="relu", widths=(6, 7, 7, 1), samples=300, replicas=2, dtype="float64"):
    """Orthogonal weights would be no different: what is asked holds at any point."""
    architecture = FullyConnected(
        list(widths), activation, replicas, seed=3, bias_variance=0.1, dtype=dtype
    )
    data = RandomData(samples, widths[0], test_samples=1, seed=5)
    return NetworkEnergy(architecture, data, "quadratic_hinge", margin=0.8)


def zeros(eigenvalues):
    return (eigenvalues.abs() <= 1e-12 * eigenvalues.abs().amax(-1, keepdim=True)).sum(-1)


def gradients_of_gaps(energy, r):
    """The Jacobian of the unsatisfied gaps of one replica, by one backward pass each."""
    gaps = energy.margin - energy.targets[:, 0] * energy.architecture(energy.inputs[None])[r, :, 0]
    parameters = list(energy.parameters())
    rows = [
        torch.cat([g[r].flatten() for g in torch.autograd.grad(gap, parameters, retain_graph=True)])
        for gap in gaps[gaps > 0]
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_parts_are_the_hessian_by_autograd(activation):
    energy = network(activation)
    H0, Hp = (part.dense() for part in split_of(energy))
    H = hessian_of(energy).dense()
    torch.testing.assert_close(H0 + Hp, H, rtol=1e-10, atol=1e-12)
    assert Hp.abs().max() > 1e-3 * H.abs().max()
    for r in range(2):
        J = gradients_of_gaps(energy, r)
        torch.testing.assert_close(H0[r], J.T @ J / 300, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("samples", [25, 300])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_rank_of_H0_is_at_most_the_number_of_unsatisfied_patterns(activation, samples):
    """It is that number, or where there are more patterns the number of effective parameters."""
    energy = network(activation, samples=samples)
    _, H0, _ = part_spectra(energy)
    N_Delta = (energy.gaps() > 0).sum(1)
    effective = effective_parameters(energy.architecture, [6])
    rank = energy.N - zeros(H0)
    assert (N_Delta > 5).all() and (rank <= N_Delta).all()
    assert torch.equal(rank, torch.minimum(N_Delta, effective))


def test_the_trace_of_Hp_vanishes_for_relu():
    H, H0, Hp = part_spectra(network("relu"))
    assert (Hp.sum(-1).abs() < 1e-12 * Hp.abs().sum(-1)).all()
    assert (H0 > -1e-13 * H0.amax(-1, keepdim=True)).all()
    torch.testing.assert_close(H.sum(-1), H0.sum(-1), rtol=1e-10, atol=0)


def test_the_spectrum_of_Hp_is_symmetric_for_one_hidden_layer_of_relu():
    """Hp couples W^1 and W^2 only, so the sign of one of them changes its own; not so for three."""
    of_one, of_two = (part_spectra(network(widths=w))[2] for w in ((6, 7, 1), (6, 7, 7, 1)))
    assert ((of_one + of_one.flip(-1)).abs().amax(-1) < 1e-12 * of_one.abs().sum(-1)).all()
    assert ((of_two + of_two.flip(-1)).abs().amax(-1) > 1e-3 * of_two.amax(-1)).all()


def test_the_trace_of_Hp_does_not_vanish_for_tanh():
    Hp = part_spectra(network("tanh"))[2]
    size = Hp.abs().sum(-1)
    assert (Hp.sum(-1).abs() > 1e-2 * size).all()
    assert ((Hp + Hp.flip(-1)).abs().amax(-1) > 1e-2 * Hp.amax(-1)).all()


@pytest.mark.parametrize(
    "activation, widths, lost",
    [
        ("linear", (6, 1), 0),  # all of it: 6 weights and a bias
        ("linear", (6, 4, 1), 4 * 7 + 5 - 7),  # a linear function of 6 inputs and 1
        ("relu", (6, 7, 1), 7),
        ("relu", (12, 12, 12, 1), 24),  # wide enough that no neuron is always on or off
        ("relu", (12, 12, 12, 3), 24),
        ("tanh", (6, 7, 1), 0),
    ],
)
def test_effective_parameters_are_those_that_move_the_function(activation, widths, lost):
    """Known for linear networks; for ReLU one is lost with each hidden neuron."""
    architecture = FullyConnected(list(widths), activation, replicas=2, dtype="float64")
    N = sum(p[0].numel() for p in architecture.parameters())
    assert effective_parameters(architecture, widths[:1]).tolist() == [N - lost] * 2


def test_a_dead_neuron_is_of_no_effect():
    architecture = FullyConnected([6, 7, 1], replicas=2, dtype="float64")
    with torch.no_grad():
        architecture.biases[0][1, 0] = -100.0
    # its 7 weights and bias, and the one that leads on: 6 + 1 + 1 instead of the 1 of its symmetry
    assert effective_parameters(architecture, [6]).tolist() == [50, 43]


def test_zero_modes_are_not_sought_in_single_precision():
    with pytest.raises(UsageError, match=r"float32.*dtype: float64"):
        part_spectra(network(dtype="float32"))
