"""`python -m headwater.cli`: the command without its script."""

from headwater.cli import main

main()
