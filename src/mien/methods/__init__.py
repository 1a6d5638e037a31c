"""The ten systems, each in a folder of its own; none imports another."""
