"""Trained models in use with NumPy and the C++ engine alone; needs no torch."""
