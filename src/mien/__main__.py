"""``python -m mien``."""

from mien.cli.main import script

if __name__ == "__main__":
    script()
