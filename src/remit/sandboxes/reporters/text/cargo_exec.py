#!/opt/remit/bin/python3 -IS
# pyright: basic, reportMissingImports=false
"""Runs a program of tests of cargo: see report.py."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from report import main

main("cargo", sys.argv[1:])
