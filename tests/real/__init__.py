"""The same scenarios against the vendors' real APIs, for each whose key is given; a recorder of new wire cases."""
