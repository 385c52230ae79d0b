"""Orders of the past, with the totals that were paid."""

import csv
from pathlib import Path

from prices import total


def test_orders_of_the_past():
    for order in csv.DictReader(Path("orders.csv").read_text().splitlines()):
        paid = total([(float(order["price"]), int(order["quantity"]))], discount=float(order["discount"]))
        assert paid == float(order["total"])
