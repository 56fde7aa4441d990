"""`python -m tests.conformance`: see tools/conformance.py."""

from tools.conformance import main

main()
