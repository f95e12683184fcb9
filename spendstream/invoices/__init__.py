"""Invoices of providers, held against the ledger line by line."""
