"""Predictions of networks of finite width trained by gradient flow, at order 1/n."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import Array
from lightning_landscape.theory.wide_networks.prediction import Prediction, gradient_descent
from lightning_landscape.theory.wide_networks.several_inputs.training_tensors import TrainingTensors

__all__ = ["gradient_flow_first_order"]


def gradient_flow_first_order(tensors: TrainingTensors, targets: Array, width: int) -> Prediction:
    r"""Return the prediction of gradient flow on the squared loss, run to its end, at order 1/n.

    Let z be the outputs at the start, e = z - y on the training inputs, H = Theta + h the tangent
    kernel at the start, Omega_xab its derivative by the flow, -dH_xa/dt = Omega_xab e_b, and
    Xi_xabc the derivative of Omega. In the basis i, j, k of training inputs in which Theta_AA is
    diagonal, with eigenvalues t_i, and with the prediction of the kernel, Theta_xA Theta_AA^-1,
    subtracted in the test index x of every tensor, the answer at the end is

    .. math:: f_x = z_x - H_{xA} H_{AA}^{-1} e + \frac{\Omega_{xij} e_i e_j}{t_i (t_i + t_j)}
              - \frac{\Xi_{xijk} e_i e_j e_k}{t_i (t_i + t_j) (t_i + t_j + t_k)}.

    It is expanded to second order in h and averaged over initialisations, whose cumulants at order
    1/n are in `TrainingTensors`. Mean and covariance are no longer those of the kernel: the mean is
    cubic in the targets, and the covariance depends on them.

    Valid for L << n, one output, and for gradient descent with small steps. Where Theta_AA has
    small eigenvalues, only at large n. Cost: some P^5 products.

    Source: derived here, checked by sampling and by trained networks; Roberts, Yaida & Hanin 2021,
    arXiv:2106.10165, chapter "infinity".

    Args:
        tensors: of A training inputs, then M test inputs; see `training_tensors`.
        targets: y, shape (A,).
        width: n.

    Raises:
        UsageError: there are as many targets as inputs or more, or Theta_AA is singular.
    """
    shape = f"of shape {targets.shape}"
    require(targets.ndim == 1, "targets", shape, "must be those of one output")
    leading = gradient_descent(tensors.K, tensors.tangent, targets)
    mean, covariance = _corrections(_cumulants(tensors), tensors.tangent, targets)
    return Prediction(leading.mean + mean / width, leading.covariance + covariance / width)


class _Cumulants(NamedTuple):
    """Of one output at the start, times n; indices are inputs.

    Attributes:
        K: <z_a z_b>, at infinite width.
        G1: <z_a z_b> - K_ab.
        T1: <h_ab>.
        hh: <h_ab h_cd>.
        zzh: <z_a z_b h_cd>.
        z_omega: <z_d Omega_abc>, shape (d, a, b, c).
        xi: <Xi_abcd>.
    """

    K: Array
    G1: Array
    T1: Array
    hh: Array
    zzh: Array
    z_omega: Array
    xi: Array


def _corrections(cumulants: _Cumulants, theta: Array, targets: Array) -> tuple[Array, Array]:
    """Return n times the corrections of mean and covariance, in the basis of the formula.

    All is linear in every index, so that a basis is a matrix: eigenvectors in the first rows, what
    the kernel leaves of the test inputs in the others.
    """
    A = len(targets)
    t, vectors = eigh(theta[:A, :A])
    answer = theta[A:, :A] @ (vectors / t) @ vectors.T
    basis = np.block([[vectors.T, np.zeros((A, len(answer)))], [-answer, np.eye(len(answer))]])
    found = []
    for each in cumulants:
        for _ in range(each.ndim):  # the first axis comes last, rotated; in the end all have
            each = np.tensordot(each, basis, (0, 1))
        found.append(each)
    rotated, y = _Cumulants(*found), vectors.T @ targets
    parts = _static(rotated, t, y), _moving(rotated, t, y)
    mean, covariance = (first + second for first, second in zip(*parts, strict=True))
    return mean, covariance


def _cumulants(x: TrainingTensors) -> _Cumulants:
    hh = x.A + x.B.transpose(0, 2, 1, 3) + x.B.transpose(0, 2, 3, 1)
    zzh = x.D + x.F.transpose(0, 2, 1, 3) + x.F.transpose(0, 2, 3, 1)
    zzh = zzh + np.multiply.outer(x.K, x.tangent1)
    z_dH = x.P + x.Q.transpose(0, 2, 3, 1) + x.Q.transpose(0, 2, 1, 3)  # <z_d dH(a; bc)>
    third = x.R + x.R.transpose(0, 2, 1, 3) + x.R.transpose(0, 2, 3, 1)
    second = x.S + x.T + x.U
    half = third + second + second.transpose(0, 2, 1, 3)  # the derivative of dH(a; bc) along d
    omega, xi = z_dH + z_dH.transpose(0, 2, 1, 3), half + half.transpose(1, 0, 2, 3)
    return _Cumulants(x.K, x.G1, x.tangent1, hh, zzh, omega, xi)


def _static(n: _Cumulants, t: Array, y: Array) -> tuple[Array, Array]:
    """Return mean and covariance, times n, of z_x - H_xA H_AA^-1 e."""
    A = len(y)
    a, x = slice(0, A), slice(A, None)
    twice = np.einsum("xiik,i->xk", n.hh[x, a, a, a], 1 / t) / t
    mean = n.T1[x, a] @ (y / t) - twice @ y
    errors = (n.K[a, a] + np.outer(y, y)) / np.outer(t, t)
    mixed = n.K[x, a] @ twice.T - np.einsum("xiwi,i->xw", n.zzh[x, a, x, a], 1 / t)
    both = np.einsum("xiwj,ij->xw", n.hh[x, a, x, a], errors)
    return mean, n.G1[x, x] + both + mixed + mixed.T


def _moving(n: _Cumulants, t: Array, y: Array) -> tuple[Array, Array]:
    """Return mean and covariance, times n, of the terms with Omega and Xi."""
    A = len(y)
    a, x = slice(0, A), slice(A, None)
    two = t[:, None] + t
    three = two[:, :, None] + t
    K, Ku, errors = n.K[a, a], n.K[x, a], n.K[a, a] + np.outer(y, y)
    omega = n.z_omega[:, x, a, a] / (t[:, None] * two)
    xi = n.xi[x, a, a, a] / ((t[:, None] * two)[:, :, None] * three)
    first, last = np.einsum("ixij->xj", omega[a]), np.einsum("jxij->xi", omega[a])
    mean = -(first + last) @ y
    mean += np.einsum("xijk,i,j,k->x", xi, y, y, y)
    pairs = [np.einsum(f"xijk,{ij}->x{k}", xi, K) for ij, k in (("ij", "k"), ("ik", "j"))]
    pairs.append(np.einsum("xijk,jk->xi", xi, K))
    mean += sum(pairs) @ y
    mixed = np.einsum("wxij,ij->wx", omega[x], errors) + Ku @ (first + last).T
    for ij, k in (("ij", "k"), ("ik", "j"), ("jk", "i")):
        mixed -= Ku @ np.einsum(f"xijk,{ij}->x{k}", xi, errors).T
    return mean, mixed + mixed.T
