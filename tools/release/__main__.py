"""Entry point of `python -m tools.release`."""

import sys

from tools.release.command import main

sys.exit(main(sys.argv[1:]))
