"""What is exactly known of the simplest networks."""

import numpy as np
import pytest
from scipy.optimize import linprog


@pytest.fixture
def separable():
    """Whether there are w, b with y (w . x + b) >= 1 for some patterns of a data set."""

    def decide(data, rows):
        x, y = data.inputs[rows].double().numpy(), 2.0 * data.targets[rows].numpy() - 1
        A = -y[:, None] * np.column_stack([x, np.ones(len(x))])
        zero = np.zeros(A.shape[1])
        return linprog(zero, A_ub=A, b_ub=-np.ones(len(x)), bounds=(None, None)).status == 0

    return decide
