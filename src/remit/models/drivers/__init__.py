"""One driver for each protocol of a vendor, and what they share."""
