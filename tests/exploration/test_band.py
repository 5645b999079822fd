"""Elastic bands and paths: over the known saddles, and nowhere lower."""

import pytest
import torch

from lightning_landscape.data import XOR
from lightning_landscape.energies import (
    FullyConnected,
    LennardJones,
    MuellerBrown,
    NetworkEnergy,
    SphericalPSpin,
    WithL2,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.exploration import (
    Explorer,
    Landscape,
    connect,
    eigenvector_following,
    elastic_band,
    find_path,
    quench,
)

A, M, B = torch.tensor(
    [[-0.558224, 1.441726], [-0.050011, 0.466694], [0.623499, 0.028038]]
).double()


@pytest.fixture
def surface():
    return Landscape(MuellerBrown(dtype="float64"))


@pytest.mark.parametrize("images", [5, 11])
def test_the_saddles_of_mueller_brown(surface, images):
    bands = elastic_band(surface, torch.stack([A, M]), torch.stack([M, B]), images)
    assert bands.converged.all()
    tops = [bands.energy[b, i].item() for b, i in bands.maxima()]
    assert tops == pytest.approx([-40.66484, -72.24894], abs=1e-5)


def test_a_converged_band_is_a_minimum_energy_path(surface):
    """The gradient is along the path: across it, it vanishes with the distance of the images."""
    across = []
    for images in (7, 21):
        band = elastic_band(surface, A[None], M[None], images, steps=1000)
        g = surface.value_and_gradient(band.x[0, 1:-1])[1]
        tau = band.x[0, 2:] - band.x[0, :-2]
        tau = tau / tau.norm(dim=1, keepdim=True)
        rest = g - torch.linalg.vecdot(g, tau).unsqueeze(1) * tau
        share = rest.norm(dim=1) / g.norm(dim=1)
        share[band.energy[0, 1:-1].argmax()] = 0  # at the saddle there is no gradient
        across.append(share.max().item())
    assert across[0] < 0.4 and across[1] < 0.6 * across[0]


def test_without_climbing_images_are_equally_spaced(surface):
    band = elastic_band(surface, B[None], M[None], 9, climb=False, steps=1000)
    spacing = band.x[0].diff(dim=0).norm(dim=1)
    assert band.converged.all() and spacing.max() / spacing.min() < 1.02
    assert band.energy.max() < -72.24894 + 1e-6
    assert band.arc_length[0, -1] == pytest.approx(spacing.sum().item())


def test_bands_of_a_batch_do_not_know_of_each_other(surface):
    together = elastic_band(surface, torch.stack([A, M]), torch.stack([M, B]), 7, steps=60)
    for k, (start, end) in enumerate(((A, M), (M, B))):
        alone = elastic_band(surface, start[None], end[None], 7, steps=60)
        torch.testing.assert_close(together.x[k], alone.x[0], rtol=0, atol=1e-9)


def test_a_band_over_two_saddles_has_the_minimum_between_them(surface):
    band = elastic_band(surface, A[None], B[None], 21, steps=1000)
    tops = [band.energy[b, i].item() for b, i in band.maxima()]
    assert len(tops) == 2
    assert tops[0] == pytest.approx(-40.66484, abs=1e-5)
    assert -74 < tops[1] < -72.24894  # an image beside the lower saddle, along the path
    (_, first), (_, second) = band.maxima()
    between = band.x[0, first:second]
    assert (between - M).norm(dim=1).min() < 0.05


def test_the_transition_states_of_seven_atoms():
    """From the minima at the two sides of a transition state the band leads back over it."""
    landscape = Landscape(LennardJones(7, dtype="float64"))
    minima = quench(landscape, landscape.starts(0, 0, 10), 0.4).x
    ends = eigenvector_following(landscape, minima + 0.4 * landscape.starts(1, 0, 10), 0.4)
    spectrum = landscape.spectrum(ends.x)
    states = ends.converged & (spectrum[:, 0] < 0) & (spectrum[:, 1] > 0) & (ends.energy < -14.7)
    x, E = ends.x[states], ends.energy[states]
    first, second = connect(landscape, x, landscape.lowest_mode(x))
    bands = elastic_band(landscape, first.x, second.x, 9)
    assert len(x) >= 4 and bands.converged.all()
    torch.testing.assert_close(bands.energy.amax(1)[bands.converged], E[bands.converged])


def scrambled(x, seed):
    """Copies of seven atoms: other numbers of the atoms, turned or reflected, and shifted."""
    generator = torch.Generator().manual_seed(seed)
    atoms = x.view(-1, 7, 3)[:, torch.randperm(7, generator=generator)]
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator).double()).Q
    return (atoms @ turn + 1).flatten(1)


def test_copies_of_a_cluster_are_laid_over_it():
    landscape = Landscape(LennardJones(7, dtype="float64"))
    x = quench(landscape, landscape.starts(0, 0, 5), 0.4).x
    for seed in range(2):
        found = landscape.nearest_copy(scrambled(x, seed), x)
        torch.testing.assert_close(found, x, rtol=0, atol=1e-6)
    other = landscape.nearest_copy(scrambled(x[:4], 0), x[1:])
    assert ((other - x[1:]).norm(dim=1) <= (x[:4] - x[1:]).norm(dim=1)).all()
    before, after = (landscape.value_and_gradient(rows)[0] for rows in (x[:4], other))
    torch.testing.assert_close(before, after)


def test_the_path_between_copies_of_two_clusters():
    """The band to the nearest copy leads over the lowest transition state between the two."""
    landscape = Landscape(LennardJones(7, dtype="float64"))
    explorer = Explorer(landscape, least_binding=0.5)
    minima = explorer.run(20, 0).sorted().minima
    ends = torch.from_numpy(minima.x[:2])
    database = explorer.empty()
    path = find_path(explorer, database, ends[0], scrambled(ends[1:], 5)[0])
    assert path is not None and database.searches == 0
    assert database.transition_states.energy[path[1]].max() == pytest.approx(-15.444734, abs=1e-6)


def test_on_a_sphere_the_band_stays_there():
    landscape = Landscape(SphericalPSpin(10, seed=2, dtype="float64"))
    minima = quench(landscape, landscape.starts(0, 0, 20), 0.4)
    order = minima.energy.argsort()
    low = minima.x[order[0]]
    other = next(x for x in minima.x[order] if (x - low).norm() > 1e-3)
    band = elastic_band(landscape, low[None], other[None], 7, max_step=0.2)
    torch.testing.assert_close(band.x.square().sum(2), torch.full((1, 9), 10.0).double())
    top = band.x[:, band.energy[0].argmax()]
    assert band.converged.all() and landscape.value_and_gradient(top)[1].norm() < 1e-3
    assert landscape.spectrum(top)[0, 0] < 0


def test_the_path_of_mueller_brown_is_found_in_pieces(surface):
    explorer = Explorer(surface, max_step=0.1)
    database = explorer.empty()
    minima, states = find_path(explorer, database, A, B, images=7)
    assert database.minima.energy[minima] == pytest.approx(
        [-146.69952, -80.76782, -108.16672], abs=1e-5
    )
    assert database.transition_states.energy[states] == pytest.approx(
        [-40.66484, -72.24894], abs=1e-5
    )
    assert find_path(explorer, database, A, A) == ([minima[0]], [])


def test_the_barrier_between_two_minima_of_xor():
    net = FullyConnected([2, 2, 2], "tanh", dtype="float64")
    landscape = Landscape(WithL2(NetworkEnergy(net, XOR()), 1e-3))
    explorer = Explorer(landscape, width=2.0, kick=1.5, max_step=0.5, flat=1e-5)
    minima = explorer.run(10, 0).sorted().minima
    ends = torch.from_numpy(minima.x[[0, 2]])
    database = explorer.empty()
    path = find_path(explorer, database, *ends)
    assert path is not None
    along = database.minima.energy[path[0]]
    assert along[[0, -1]] == pytest.approx([0.083558, 0.399091], abs=1e-6)
    states = database.transition_states.energy[path[1]]
    assert states.max() == pytest.approx(0.40741, abs=1e-5)
    assert (states > along[:-1]).all() and (states > along[1:]).all()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"images": 0}, "images"),
        ({"max_step": 0.0}, "max_step"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"steps": 0}, "steps"),
        ({"end": A[None]}, "end"),
        ({"end": torch.zeros(2, 2).double()}, "shapes of start and end"),
    ],
)
def test_what_is_wrong_is_refused_by_name(surface, options, name):
    with pytest.raises(UsageError, match=f"^{name} ="):
        elastic_band(**({"landscape": surface, "start": A[None], "end": B[None]} | options))
