"""Spherical p-spin glasses: closed forms and the Cugliandolo-Kurchan equations."""
