"""PyHessian compared with our engine on matrices of known spectrum: eigenvalues, errors, traces.

    python examples/pyhessian_comparison.py

Prints the tables of docs/curvature.md. The accuracies take about half a minute; `--speed` adds CPU
times on a larger network, about a minute on an idle machine.
"""

import sys
import time

import torch
from torch import nn

from lightning_landscape.curvature import HessianOperator
from lightning_landscape.curvature.pyhessian.package import hessian


def network(steps):
    """A tanh network of 2058 parameters on 1000 samples, after this many steps of Adam."""
    torch.manual_seed(1)
    x = torch.randn(1000, 20)
    y = (x @ torch.randn(20, 10) + 2 * torch.randn(1000, 10)).argmax(1)
    net = nn.Sequential(
        nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net, nn.functional.cross_entropy, (x, y)


class Matrix(nn.Module):
    """The energy x.Ax/2, whose Hessian is A."""

    def __init__(self, A):
        super().__init__()
        self.A, self.x = A, nn.Parameter(torch.zeros(len(A)))

    def forward(self, inputs):
        return self.x @ self.A @ self.x / 2


def gaussian(N=300, shift=0.0):
    """A GOE matrix: a semicircle on (-2, 2), symmetric about 0, as in a glass at high energy."""
    torch.manual_seed(0)
    A = torch.randn(N, N)
    A = (A + A.T) / (2 * N) ** 0.5 + shift * torch.eye(N)
    return Matrix(A), lambda energy, _: energy, (torch.zeros(1), torch.zeros(1))


def dense(model, criterion, data):
    """Return the Hessian of the model as a matrix in float64."""
    H = HessianOperator(lambda: criterion(model(data[0]), data[1]), model.parameters(), chunk=32)
    return H.dense()[0].double()


def top(problem, backend, k=5, **settings):
    """Return the largest relative error of the top k by modulus, and how many have converged."""
    exact = torch.linalg.eigvalsh(dense(*problem))
    exact = exact[exact.abs().argsort(descending=True)][:k]
    model, criterion, data = problem
    H = hessian(model, criterion, data=data, backend=backend)
    values = torch.tensor(H.eigenvalues(top_n=k, **settings)[0], dtype=torch.float64)
    error = ((values - exact) / exact).abs().max().item()
    return error, int(H.pairs.converged.sum())


def trace(problem, backend):
    """Return the number of samples, the mean, its standard error and the exact trace."""
    model, criterion, data = problem
    samples = torch.tensor(hessian(model, criterion, data=data, backend=backend).trace(tol=1e-2))
    error = samples.std().item() / len(samples) ** 0.5
    return len(samples), samples.mean().item(), error, dense(*problem).trace().item()


def main():
    """Return the table in Markdown."""
    problems = {
        "trained network": network(100),
        "untrained network": network(0),
        "GOE matrix": gaussian(),
    }
    lines = [
        "| top 5 by modulus | settings | PyHessian: error, residuals ≤ tol | ours |",
        "|---|---|---|---|",
    ]
    for name, problem in problems.items():
        for settings in ({}, {"maxIter": 1000, "tol": 1e-5}):
            cells = []
            for backend in ("pyhessian", "landscape"):
                error, certified = top(problem, backend, **settings)
                cells.append(f"{error:.1e}, {certified} of 5")
            shown = ", ".join(f"{k}={v:g}" for k, v in settings.items()) or "defaults"
            lines.append(f"| {name} | {shown} | {cells[0]} | {cells[1]} |")
    lines += ["", "| trace | exact | PyHessian: samples, estimate | ours |", "|---|---|---|---|"]
    problems["GOE matrix − 0.5"] = gaussian(shift=-0.5)
    for name, problem in problems.items():
        cells = []
        for backend in ("pyhessian", "landscape"):
            n, mean, error, exact = trace(problem, backend)
            cells.append(f"{n}, {mean:.1f} ± {error:.1f}")
        lines.append(f"| {name} | {exact:.1f} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def large():
    """ReLU 784-256-256-10 on 1000 random samples after 100 steps of SGD: 269 322 parameters."""
    torch.manual_seed(0)
    x, y = torch.randn(1000, 784), torch.randint(10, (1000,))
    widths = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    net = nn.Sequential(*widths)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net, nn.functional.cross_entropy, (x, y)


def timed(problem, backend, method, **settings):
    """Return the result of a method of a new object, and its CPU time in seconds."""
    model, criterion, data = problem
    start = time.process_time()
    result = getattr(hessian(model, criterion, data=data, backend=backend), method)(**settings)
    return result, time.process_time() - start


def speed():
    """Return the table of CPU times on one thread; the error is the largest relative one of ten."""
    torch.set_num_threads(1)
    problem = large()
    exact = timed(problem, "landscape", "eigenvalues", maxIter=100, tol=1e-5, top_n=10)[0][0]
    ten, density = {"maxIter": 1000, "top_n": 10}, {"iter": 100, "n_v": 1}
    rows = [
        ("10 eigenvalues, PyHessian at tol=1e-3", "eigenvalues", ten | {"tol": 1e-3}),
        ("10 eigenvalues, PyHessian at tol=1e-5", "eigenvalues", ten | {"tol": 1e-5}),
        ("density, 100 steps", "density", density),
    ]
    lines = ["| 784-256-256-10, 1000 samples | PyHessian | ours | ratio |", "|---|---|---|---|"]
    for name, method, theirs in rows:
        ours = theirs | {"tol": 1e-3} if method == "eigenvalues" else theirs
        cells, seconds = [], []
        for backend, settings in (("pyhessian", theirs), ("landscape", ours)):
            result, spent = timed(problem, backend, method, **settings)
            error = f", error {worst(result[0], exact):.0e}" if method == "eigenvalues" else ""
            cells.append(f"{spent:.2g} s{error}")
            seconds.append(spent)
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {seconds[0] / seconds[1]:.1f} |")
    return "\n".join(lines)


def worst(values, exact):
    """Return the largest relative error by rank."""
    values, exact = (torch.as_tensor(v).abs().sort().values for v in (values, exact))
    return (values / exact - 1).abs().max().item()


if __name__ == "__main__":
    print(main())
    if "--speed" in sys.argv:
        print(speed())
