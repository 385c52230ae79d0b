from prices import total


def test_items_are_added_up():
    assert total([(2.50, 4), (1.25, 2)]) == 12.50


def test_discount_is_a_share():
    assert total([(100.0, 1)], discount=0.1) == 90.0


def test_totals_are_whole_cents():
    assert total([(0.335, 1)]) == 0.34
    assert total([(19.99, 3)], discount=0.15) == 50.97
