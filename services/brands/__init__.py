"""Tenants' own brands: kept durably, and part of what names an answer about logos."""
