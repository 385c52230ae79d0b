"""Lets the tests import the project from its folder."""
