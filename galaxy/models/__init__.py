"""Encoders, one file each, and the heads that turn their features into vote fractions."""
