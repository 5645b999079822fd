import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed_and_one_thread():
    """Small tensors gain nothing from threads, and one thread makes sums reproducible."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
