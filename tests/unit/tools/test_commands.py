"""The page of commands."""

from __future__ import annotations

from tests.unit.cli.test_main import commands
from tools.commands import cli_page


def test_every_command_and_option_is_on_the_page() -> None:
    page = cli_page()
    for path, command in commands().items():
        heading = f"# burncloud {' '.join(path)}"
        assert heading in page
        section = page.partition(heading)[2].partition("\n#")[0]
        assert command.help in section
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name not in ("json", "help"):
                assert f"`{parameter.opts[0]}" in section, (path, parameter.opts)
