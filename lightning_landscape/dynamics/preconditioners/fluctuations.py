"""The Hessian of a minimum from the fluctuations around it."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import require

__all__ = ["covariance", "hessian_from_sgd_noise", "hessian_from_thermal_fluctuations"]


def covariance(x: Tensor, shrinkage: float = 0.0) -> Tensor:
    """Return the covariance (N, N) of rows x, (n, N), shrunk towards its diagonal.

    (1 - s) C + s diag C. With n rows C is singular up to n = N, and its inverse is useful from
    about n = 10 N on; below, shrink it.

    Args:
        x: independent configurations around one minimum, n >= 2.
        shrinkage: s in [0, 1].

    Raises:
        UsageError: fewer than two rows, or a shrinkage out of range.

    >>> covariance(torch.tensor([[0.0, 0.0], [2.0, 2.0]]), shrinkage=0.5).tolist()
    [[2.0, 1.0], [1.0, 2.0]]
    """
    require(x.dim() == 2 and len(x) >= 2, "x.shape", tuple(x.shape), "must be (n >= 2, N)")
    require(0 <= shrinkage <= 1, "shrinkage", shrinkage, "must lie between 0 and 1")
    deviation = x - x.mean(0)
    C = deviation.T @ deviation / (len(x) - 1)
    return torch.lerp(C, torch.diag(C.diagonal()), shrinkage)


def hessian_from_thermal_fluctuations(
    covariance: Tensor, temperature: float, lr: float = 0.0
) -> Tensor:
    r"""Return H, (N, N), of which Langevin dynamics at temperature T has the covariance C.

        C = T [H (1 - \eta H / 2)]^{-1},   H = [1 - (1 - 2 \eta T C^{-1})^{1/2}] / \eta

    for Euler steps of \eta = lr, and C = T H^{-1} for lr = 0. A Newton step is then -C g / T, and
    needed no Hessian. Valid where the well is harmonic at this temperature and \eta \lambda < 1 for
    every eigenvalue \lambda. Cost: N^3 operations.

    Args:
        covariance: C, symmetric and positive definite.
        temperature: T > 0.
        lr: \eta >= 0.

    Raises:
        UsageError: an argument out of range, a covariance that is not positive definite, or one too
            small for this lr: T / C > 1 / (2 \eta).

    Source: the step is that of `Langevin`; its stationary covariance is derived here.

    >>> C = 0.1 * torch.tensor([[1.0]]) / (2.0 * (1 - 0.1 * 2.0 / 2))
    >>> round(hessian_from_thermal_fluctuations(C, temperature=0.1, lr=0.1).item(), 6)
    2.0
    """
    require(temperature > 0, "temperature", temperature, "must be above 0")
    require(lr >= 0, "lr", lr, "must be at least 0")
    c, V = _eigenvalues(covariance, "covariance")
    k = temperature / c
    if lr:
        most = float(2 * lr * k.max())
        remedy = "take more samples, or a smaller lr"
        require(most <= 1, "2 lr T / covariance", most, "must be at most 1", remedy)
        k = (1 - (1 - 2 * lr * k).sqrt()) / lr
    return (V * k) @ V.mT


def hessian_from_sgd_noise(covariance: Tensor, noise: Tensor, lr: float) -> Tensor:
    r"""Return H, (N, N), of which SGD with gradient noise Sigma has the stationary covariance S.

        H S + S H - \eta H S H = \eta \Sigma,   H = (1 - S^{-1/2} A^{1/2} S^{-1/2}) / \eta,
        A = S^{1/2} (S - \eta^2 \Sigma) S^{1/2}:

    the Lyapunov equation of x <- x - \eta (H x + noise), solved for H exactly at any \eta: with
    M = 1 - \eta H it reads M S M = S - \eta^2 \Sigma, of which M is the geometric mean. Valid where
    the well is harmonic, the noise does not depend on x, and \eta \lambda < 1 for every eigenvalue.
    Cost: N^3 operations.

    Args:
        covariance: S of the configurations, symmetric and positive definite.
        noise: Sigma, the covariance of batch gradients.
        lr: \eta > 0.

    Raises:
        UsageError: shapes that differ, lr <= 0, a covariance that is not positive definite, or
            noise that is too large for it: S - \eta^2 Sigma has to be positive.

    Source: Mandt, Hoffman, Blei 2017, arXiv:1704.04289, eq. (13), to first order in \eta; Liu,
    Ziyin, Ueda 2021, arXiv:2012.03636, theorem 1; the solution for H is derived here.

    >>> H, eta, Sigma = torch.tensor([[2.0]]).double(), 0.1, torch.tensor([[3.0]]).double()
    >>> S = eta * Sigma / (H * (2 - eta * H))
    >>> round(hessian_from_sgd_noise(S, Sigma, eta).item(), 9)
    2.0
    """
    require(lr > 0, "lr", lr, "must be above 0")
    same = noise.shape == covariance.shape
    require(same, "noise.shape", tuple(noise.shape), f"must be {tuple(covariance.shape)}")
    s, V = _eigenvalues(covariance, "covariance")
    root, inverse = (V * s.sqrt()) @ V.mT, (V * s.rsqrt()) @ V.mT
    rest = covariance - lr**2 * noise
    a, U = torch.linalg.eigh(root @ ((rest + rest.mT) / 2) @ root)
    remedy = "take more samples, or a smaller lr"
    least = float(a.min())
    require(least > 0, "covariance - lr^2 noise", least, "must be positive definite", remedy)
    M = inverse @ ((U * a.sqrt()) @ U.mT) @ inverse
    return (torch.eye(len(M), dtype=M.dtype, device=M.device) - (M + M.mT) / 2) / lr


def _eigenvalues(matrix: Tensor, name: str) -> tuple[Tensor, Tensor]:
    square = matrix.dim() == 2 and matrix.shape[0] == matrix.shape[1]
    require(square, f"{name}.shape", tuple(matrix.shape), "must be (N, N)")
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    least = float(values.min())
    remedy = "use more samples than parameters, or shrinkage"
    require(least > 0, f"smallest eigenvalue of the {name}", least, "must be above 0", remedy)
    return values, vectors
