"""Records of jamming: probes of gaps and of the parts of the Hessian, and studies."""

from lightning_landscape.results.quantities.jamming import critical, gaps, hessian, scan

__all__ = ["critical", "gaps", "hessian", "scan"]
