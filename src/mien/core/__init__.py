"""Ground floor: errors, limits, safe files and pictures, seeds, config, protocol. Imports no torch."""
