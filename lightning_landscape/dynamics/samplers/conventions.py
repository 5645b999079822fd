r"""How others write the same dynamics, and what their settings are here.

Ours: x <- x - lr \nabla E + sqrt(2 lr T) xi, which samples exp(-E/T). Physical time is lr times
steps. Below E is what ``loss.backward()`` differentiates: for a network the mean over P data.

=====================  ===========================================  ============  ==============
who                    one step: x <- x - ...                       our lr        our T
=====================  ===========================================  ============  ==============
posteriors             -lr \nabla log p - sqrt(2 lr T) xi           lr            T
torch-sgld             lr \nabla E - sqrt(2 lr T) xi                lr            T
Lightning UQ Box       lr \nabla E - noise_factor sqrt(2 lr) xi     lr            noise_factor^2
devinterp              (lr/2) nbeta \nabla E - noise_level          lr nbeta / 2  noise_level^2
                       sqrt(lr) xi                                                / nbeta
Welling and Teh        -(eps/2) \nabla log posterior                eps P / 2     1 / P
                       - sqrt(eps) xi
=====================  ===========================================  ============  ==============

with log p = -E and log posterior = -P E.

Three traps. devinterp and Welling-Teh put half of their step size into the drift, so that their
time runs in other units. A temperature belongs to its energy: for the sum over data instead of
their mean it is P times larger. And posteriors' and torch-sgld's T multiplies the noise of the log
posterior given: with the mean log posterior, T = 1 is P times hotter than the posterior.

The functions return keyword arguments: ``Langevin(params, **from_devinterp(lr=1e-4, nbeta=30))``,
``SGMCMC.sgld(params, **to_devinterp(lr=0.01, temperature=0.1))``. posteriors and torch-sgld
need none.

Sources: Welling and Teh, "Bayesian learning via stochastic gradient Langevin dynamics", ICML
2011, eq. 4; Lau et al., arXiv:2308.12108 (devinterp); the packages' own code, versions posteriors
0.1.3, torch-sgld 0.1.0, devinterp 2.0.1, against which the tests compare these functions.
"""

from __future__ import annotations

from lightning_landscape.errors import require

__all__ = [
    "from_devinterp",
    "from_noise_factor",
    "from_welling_teh",
    "to_devinterp",
    "to_welling_teh",
]


def from_devinterp(lr: float, nbeta: float, noise_level: float = 1.0) -> dict[str, float]:
    """Return our ``lr`` and ``temperature`` for devinterp's step size and inverse temperature.

    >>> from_devinterp(lr=0.02, nbeta=10)
    {'lr': 0.1, 'temperature': 0.1}
    """
    require(nbeta > 0, "nbeta", nbeta, "must be > 0")
    return {"lr": lr * nbeta / 2, "temperature": noise_level**2 / nbeta}


def to_devinterp(lr: float, temperature: float) -> dict[str, float]:
    """Return devinterp's ``lr`` and ``nbeta`` for ours; it has no T = 0.

    >>> to_devinterp(lr=0.25, temperature=0.5)
    {'lr': 0.25, 'nbeta': 2.0}
    """
    require(temperature > 0, "temperature", temperature, "must be > 0, for nbeta = 1 / T")
    return {"lr": 2 * lr * temperature, "nbeta": 1 / temperature}


def from_welling_teh(epsilon: float, data: int) -> dict[str, float]:
    """Return our ``lr`` and ``temperature``, E being the mean over ``data`` samples.

    >>> from_welling_teh(epsilon=0.001, data=100)
    {'lr': 0.05, 'temperature': 0.01}
    """
    require(data >= 1, "data", data, "must be at least 1 sample")
    return {"lr": epsilon * data / 2, "temperature": 1 / data}


def to_welling_teh(lr: float, temperature: float) -> dict[str, float]:
    """Return their ``epsilon`` and the factor of E that makes it a minus log posterior.

    >>> to_welling_teh(lr=0.05, temperature=0.01)
    {'epsilon': 0.001, 'energy_factor': 100.0}
    """
    require(temperature > 0, "temperature", temperature, "must be > 0, for a posterior exp(-E/T)")
    return {"epsilon": 2 * lr * temperature, "energy_factor": 1 / temperature}


def from_noise_factor(lr: float, noise_factor: float) -> dict[str, float]:
    """Return our ``lr`` and ``temperature`` for noise of ``noise_factor * sqrt(2 lr)``.

    >>> from_noise_factor(lr=0.1, noise_factor=0.5)
    {'lr': 0.1, 'temperature': 0.25}
    """
    require(noise_factor >= 0, "noise_factor", noise_factor, "must be at least 0")
    return {"lr": lr, "temperature": noise_factor**2}
