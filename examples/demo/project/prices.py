"""Totals of an order."""


def total(items, discount=0.0):
    """The sum of `items` (price, quantity) less `discount` (0.1 is ten per cent), in whole cents."""
    amount = sum(price * quantity for price, quantity in items)
    return amount - discount
