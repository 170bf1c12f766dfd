"""Offer lists: everyone decided in one clearing house, seats priced, files with a certificate."""
