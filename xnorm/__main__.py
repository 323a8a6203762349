"""`python -m xnorm` is the command `xnorm`."""

from xnorm.cli import main

main()
