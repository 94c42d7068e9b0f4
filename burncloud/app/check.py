"""Would the house start like this?  Asked before a reload, so that what cannot work never replaces what does.

It loads the whole program, reads the settings, looks at the files they name, opens the database and the master key,
and ends: with 0, or with a reason in a file of the run directory.  It changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from burncloud import config, logs
from burncloud.app import control, worker
from burncloud.database.changes import newest_change
from burncloud.database.engine import DatabaseError, open_database
from burncloud.service import secrets

REASON_FILE: Final = "reason"
DATABASE_S_MAX: Final = 5.0
PROGRAM: Final = (control.Control, worker.Worker)
"""What must be there to be started."""


async def look(settings: config.Settings) -> None:
    """Raises what stands in the way of a start."""
    control.check_files(settings)
    db = open_database(settings.database_url)
    try:
        async with asyncio.timeout(DATABASE_S_MAX):
            async with db.read() as conn:
                await newest_change(conn)
            await secrets.open_master_key(db, settings)
    finally:
        await db.close()


def main() -> int:
    """Entry point; the exit status."""
    boot = config.boot()
    try:
        settings = config.load()
        logs.configure(settings.log_level, "check")
        asyncio.run(look(settings))
    except (config.ConfigError, DatabaseError, secrets.KeyMismatch) as error:
        reason = str(error)
    except TimeoutError:
        reason = "the database does not answer"
    except Exception as error:
        reason = f"the database cannot be used: {control.reason_of(error)}"
    else:
        return 0
    with open(os.path.join(boot.run_dir, REASON_FILE), "w", encoding="utf-8") as file:
        file.write(reason)
    return config.EXIT_HOPELESS


if __name__ == "__main__":
    sys.exit(main())
