"""The steps from no audit database to today's, one module each below `versions`."""
