"""Alembic's folder: the schema's history, one file in versions/ for each step, run by database/migrate.py."""
