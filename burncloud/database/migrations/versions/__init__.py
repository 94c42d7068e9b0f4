"""One file a migration, named r<number>_<what>.py; never changed once released."""
