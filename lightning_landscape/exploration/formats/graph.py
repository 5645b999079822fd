"""Minima and transition states as a graph of NetworkX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_landscape.exploration.database import Database

if TYPE_CHECKING:
    import networkx

__all__ = ["to_networkx"]


def to_networkx(database: Database) -> networkx.MultiGraph:
    """Return a multigraph: a node for each minimum, an edge for each connected transition state.

    Nodes are the numbers of minima, with ``energy``, ``log_product``, ``order`` and ``seen``; edges
    have the key of the transition state and its ``energy``, ``log_product`` and ``order``. A
    degenerate transition state is a loop.
    """
    import networkx

    graph = networkx.MultiGraph()
    minima, states = database.minima, database.transition_states
    facts = zip(minima.energy, minima.log_product, minima.order, minima.seen, strict=True)
    for i, (energy, log_product, order, seen) in enumerate(facts):
        graph.add_node(
            i,
            energy=float(energy),
            log_product=float(log_product),
            order=int(order),
            seen=int(seen),
        )
    edges = zip(states.ends.tolist(), states.energy, states.log_product, states.order, strict=True)
    for key, ((a, b), energy, log_product, order) in enumerate(edges):
        if min(a, b) >= 0:
            graph.add_edge(
                a,
                b,
                key=key,
                energy=float(energy),
                log_product=float(log_product),
                order=int(order),
            )
    return graph
