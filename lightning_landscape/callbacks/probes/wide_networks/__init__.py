"""Probes of wide networks: criticality and tangent kernels."""
