"""Rows that combine methods, which no paper has: ``mien reproduce compose``."""
