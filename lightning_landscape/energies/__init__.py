"""Energies E(x), replica axis first."""
