"""The recursion of `first_order` with skip connections."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lightning_landscape.theory.wide_networks.averages import Array, GaussianAverages
from lightning_landscape.theory.wide_networks.layer import Layer

__all__ = ["SkipState"]

_MOST_ORDERS = 256


class SkipState(NamedTuple):
    r"""A layer; h_a are the normalized Hermite polynomials of z / sqrt(K), a = 0, 1, ...

    Without a skip the law of z is even, and the moments of `first_order` are closed. With one a
    neuron remembers how it has contributed to what all others share, so that every Hermite order
    of its z counts. To leading order z' = gamma z + noise turns h_a into rho^a h_a, with
    rho = gamma sqrt(K / K'), and each statistic is a vector over a, sourced by the coefficients of
    s = sigma^2, p = sigma'^2, u = sigma sigma', r = sigma sigma'' and t = sigma' sigma'':

    .. math::
        c'_a &= \rho^a \big[\rho^2 c_a + C_W (s + C s)_a / \sqrt 2 K'\big], \quad a \ne 2 \
        d'_a &= \rho^a \big[(w + C w)_a + \chi d_a\big], \quad a \ne 2, \quad
                w = \lambda_W s + C_W T p, \quad \chi = C_W q + \gamma^2, \quad q = p_0 \
        A'   &= \mathrm{Var}[\lambda_W \sigma^2 + C_W T \sigma'^2] + w C w + 2 \chi w \cdot d
                + \chi^2 A \
        b'_a &= \gamma^2 \rho^a (\chi b_a + C_W T^2 p_a), \quad a > 0 \
        b'_0 &= \chi^2 b_0 + C_W (C_W \langle\sigma'^4\rangle + 2 \gamma^2 q) T^2
                + 2 C_W \chi \textstyle\sum_{a > 0} p_a b_a \
        f'_a &= \gamma \rho^a \big[\gamma \rho f_a + C_W (T u + F u)_a / \sqrt{K'}\big],
                \quad a \ne 1 \
        x'_a &= \gamma^2 \rho^a \big[C_W (T^2 r_a + r_0 b_a) / \sqrt{K'}
                + \chi_\parallel x_a \sqrt{K / K'}\big], \quad a > 0 \
        x'_0 &= C_W \big[\gamma^2 r_0 T^2 + C_W T^2 \langle r \sigma'^2\rangle + \chi\, r \cdot b
                + C_W r_0 \textstyle\sum_{a > 0} p_a b_a\big] / \sqrt{K'}
                + \chi_\parallel \sqrt{K / K'} \big[C_W\, p \cdot x + \gamma^2 x_0\big] \
        y'_a &= \gamma \rho^a \big[\lambda_W (T u + F u)_a + C_W T (T t + F t)_a + \chi y_a\big],
                \quad a \ne 1

    where C is the matrix with c_a in row and column 2, and F the one with f_a in row and column 1:
    neurons are correlated through their common variance, and through the weights that they share
    with the gradient. c_2, d_2, f_1 and y_1 have in addition what these contribute on both sides.
    The means shift by what one neuron has of all this, m_a and e_a: T1' = lambda_W s.m
    + C_W (T p.m + p.e) + chi T1.

    Source: derived here, checked by sampling.

    Attributes:
        K: E z^2 at infinite width.
        T: E H_11 at infinite width.
        c: n E[h_a(z_1) h_2(z_2)].
        f: n E[h_a(z_1) h_1(z_2) H_12].
        d: n E[h_a(z_1) (H_22 - T)].
        b: n E[h_a(z_1) H_12^2].
        A: n Cov(H_11, H_22).
        m: n E h_a(z_1).
        e: n E[h_a(z_1) (H_11 - T)].
        T1: n (E H_11 - T).
        x: n E[dH_{0;11} h_1(z_0) h_a(z_1)].
        y: n E[dH_{0;01} h_a(z_1)].
    """

    K: float
    T: float
    c: Array
    f: Array
    d: Array
    b: Array
    A: float
    m: Array
    e: Array
    T1: float
    x: Array
    y: Array

    @classmethod
    def first(cls, layer: Layer, K: float, T: float) -> SkipState:
        """Return the first layer, in which the neurons are independent."""
        none = np.zeros(_orders(layer.skip))
        return cls(K, T, none, none, none, none, 0.0, none, none, 0.0, none, none)

    def statistics(self) -> dict[str, float]:
        """Return the values of `FirstOrder`."""
        K, root = self.K, math.sqrt(2) * self.K
        return {
            "K": K,
            "V": 2 * K**2 * self.c[2],
            "T3": math.sqrt(K) * root * self.c[1],
            "G1": root * self.m[2],
            "T": self.T,
            "F": K * self.f[1],
            "D": root * self.d[2],
            "B": self.b[0],
            "A": self.A,
            "T1": self.T1,
            "P": math.sqrt(K) * self.x[0],
            "Q": math.sqrt(K) * self.y[1],
        }

    def next(self, layer: Layer, lam_b: float, lam_W: float) -> SkipState:
        """Return the next layer, of the same width."""
        average, orders = GaussianAverages(layer.sigma, self.K), len(self.c)
        C_W, gamma, T, K = layer.weight_variance, layer.skip, self.T, layer.kernel(self.K)
        value, slope, mean = average.value, average.slope, average.mean
        s, p, u = _coefficients(average, [value**2, slope**2, value * slope], orders + 1)
        a, root = np.arange(orders), math.sqrt(self.K)
        # by parts: sigma'' is not needed, nor its delta functions at kinks
        r = np.sqrt(a + 1) * u[1:] / root - p[:-1]  # of sigma sigma''
        t = np.sqrt(a + 1) * p[1:] / (2 * root)  # of sigma' sigma''
        s, p, u = s[:-1], p[:-1], u[:-1]
        g, q = s[0], p[0]
        s[0] = p[0] = 0.0
        chi = C_W * q + gamma**2
        rho = (gamma * math.sqrt(self.K / K)) ** a
        w, source = lam_W * s + C_W * T * p, lam_W * value**2 + C_W * T * slope**2
        Cs, Cw = _product(self.c, 2, s), _product(self.c, 2, w)
        Fu, Ft = T * u + _product(self.f, 1, u), T * t + _product(self.f, 1, t)
        # n times the variance of sigma^2 averaged over neurons, and its covariance with H
        variance = average.square_variance + s @ Cs
        covariance = mean((value**2 - g) * (source - mean(source))) + s @ Cw + chi * (s @ self.d)
        shared = C_W / (math.sqrt(2) * K)  # of h_2 by the common variance
        product = T * mean((value * slope) ** 2) + u @ (Fu - T * u)
        bend = (mean(average.z * value * slope**3) / self.K - mean(slope**4)) / 3
        both = C_W**2 / K * product
        one = gamma * C_W / math.sqrt(K) * rho * Fu

        c = rho * (rho[2] * self.c + shared * (s + Cs))
        c[2] += shared * rho[2] * (s + Cs)[2] + shared**2 * variance
        f = gamma**2 * rho[1] * rho * self.f + one
        f[1] += one[1] + both
        d = rho * (w + Cw + chi * self.d)
        d[2] += shared * covariance
        pb = p @ self.b
        b = gamma**2 * rho * (chi * self.b + C_W * T**2 * p)
        b[0] = chi**2 * self.b[0] + C_W * (C_W * mean(slope**4) + 2 * gamma**2 * q) * T**2
        b[0] += 2 * C_W * chi * pb
        A = mean((source - mean(source)) ** 2) + w @ Cw + 2 * chi * (w @ self.d) + chi**2 * self.A

        lifted = s + Cs
        lifted[0] = s @ self.m
        m, e = rho * self.m, rho * (w + Cw + C_W * q * self.d + gamma**2 * self.e)
        m[2:] += C_W / (2 * K) * (np.sqrt(a * (a - 1.0))[2:] * (rho * lifted)[:-2])
        m[4] += math.sqrt(24) / 8 * (C_W / K) ** 2 * variance
        e[1:] += 2 * np.sqrt(a)[1:] * one[:-1]
        e[2] += shared * covariance + math.sqrt(2) * both
        e[0] = 0.0
        T1 = lam_W * (s @ self.m) + C_W * (T * (p @ self.m) + p @ self.e) + chi * self.T1

        parallel = (C_W * u[1] / root + gamma**2) * math.sqrt(self.K / K)
        scale = C_W / math.sqrt(K)
        x = gamma**2 * rho * (scale * (T**2 * r + r[0] * self.b) + parallel * self.x)
        moved = T**2 * (gamma**2 * r[0] + C_W * bend) + chi * (r @ self.b) + C_W * r[0] * pb
        x[0] = scale * moved + parallel * (C_W * (p @ self.x) + chi * self.x[0])
        y = gamma * rho * (lam_W * Fu + C_W * T * Ft + chi * self.y)
        bent = T * bend + t @ (Fu - T * u)
        y[1] += scale * (lam_W * product + C_W * T * bent + chi * (u @ self.y))
        state = K, lam_b + lam_W * g + chi * T, c, f, d, b, A, m, e, T1, x, y
        return SkipState(*state)


def _orders(gamma: float) -> int:
    """Return after how many Hermite orders the memory of a neuron is lost, gamma^a < 1e-12."""
    return 5 if gamma == 0 else min(_MOST_ORDERS, max(5, math.ceil(-12 / math.log10(gamma))))


def _product(column: Array, index: int, vector: Array) -> Array:
    """Return the product with the symmetric matrix that has this one row and column."""
    found = column * vector[index]
    found[index] = column @ vector
    return found


def _coefficients(average: GaussianAverages, functions: list[Array], orders: int) -> Array:
    """Return <f h_a>, a = 0, 1, ..., of functions given at the nodes, shape (functions, orders)."""
    u = average.z / math.sqrt(average.K)
    h = np.ones((orders, len(u)))
    h[1] = u
    for a in range(1, orders - 1):
        h[a + 1] = (u * h[a] - math.sqrt(a) * h[a - 1]) / math.sqrt(a + 1)
    found: Array = (average.weights * np.array(functions)) @ h.T
    return found
