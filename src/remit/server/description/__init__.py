"""What the API is and what it is not: the document, refusals by name, lists that are empty."""
