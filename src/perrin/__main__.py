"""`python -m perrin`, and so `torchrun --nproc-per-node 2 -m perrin train digits`."""

import sys

from perrin.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
