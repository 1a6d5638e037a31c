"""Runs protocols, judges claims, measures speed."""
